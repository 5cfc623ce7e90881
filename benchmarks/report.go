package benchmarks

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A Cell is one table: the same work, the same place, every contender.
type Cell struct {
	Work     string   `json:"work"` // "echo" or "publish"
	Topology Topology `json:"topology"`
	Sync     bool     `json:"sync"` // of "publish": whether the broker syncs each write
	Size     int      `json:"size"` // of the text, in bytes
	Callers  int      `json:"callers"`
	Names    []string `json:"names"`
	Turns    [][]Turn `json:"turns"` // by contender, then by round
}

// Title says what the cell measures.
func (c Cell) Title() string {
	what := c.Work
	if c.Work == "publish" && c.Sync {
		what += ", every write synced"
	}
	return fmt.Sprintf("%s, %s, %d B, %d callers", what, c.Topology, c.Size, c.Callers)
}

// Spread is the middle and the ends of a set of numbers.
type Spread struct{ Median, Min, Max float64 }

// Ratio compares the rates of two contenders round by round, as their turns in one round are neighbours in time.
func (c Cell) Ratio(of, to string) (Spread, bool) {
	a, b := slices.Index(c.Names, of), slices.Index(c.Names, to)
	if a < 0 || b < 0 {
		return Spread{}, false
	}
	ratios := make([]float64, len(c.Turns[a]))
	for i := range ratios {
		ratios[i] = c.Turns[a][i].PerSecond / c.Turns[b][i].PerSecond
	}
	return spread(ratios), true
}

// Markdown writes the cell as a table: rates as ratios to the baseline, and how many times as fast as each the focus is.
func (c Cell) Markdown(w io.Writer, baseline, focus string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n", c.Title())
	fmt.Fprintf(&b, "| contender | per second | of %s | %s is | p50 µs | p99 µs | allocs | B | CPU µs | failed |\n",
		baseline, focus)
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, name := range c.Names {
		turns := c.Turns[i]
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %.1f | %.1f | %.1f | %.0f | %.1f | %d |\n", name,
			middle(turns, func(t Turn) float64 { return t.PerSecond }), c.ratio(name, baseline), c.ratio(focus, name),
			middle(turns, func(t Turn) float64 { return micros(t.P50) }), middle(turns, func(t Turn) float64 { return micros(t.P99) }),
			middle(turns, func(t Turn) float64 { return t.Allocs }), middle(turns, func(t Turn) float64 { return t.Bytes }),
			middle(turns, func(t Turn) float64 { return micros(t.CPU) }), failed(turns))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Cell) ratio(of, to string) string {
	r, ok := c.Ratio(of, to)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Median, r.Min, r.Max)
}

// Setting describes what was measured on what, in one line of Markdown.
func Setting() string {
	parts := []string{fmt.Sprintf("%s, %s/%s, %d cores", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return parts[0]
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "google.golang.org/grpc",
			"connectrpc.com/connect", "go-micro.dev/v5":
			parts = append(parts, dep.Path+" "+dep.Version)
		}
	}
	return strings.Join(parts, "; ")
}

func middle(turns []Turn, of func(Turn) float64) float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = of(t)
	}
	return spread(values).Median
}

func failed(turns []Turn) (sum int64) {
	for _, t := range turns {
		sum += t.Failed
	}
	return sum
}

func spread(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return Spread{}
	}
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

func micros(d time.Duration) float64 {
	return float64(d) / float64(time.Microsecond)
}
