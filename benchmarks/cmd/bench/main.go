// Command bench lets Hocket and its peers do the same work in turns and prints tables of ratios. Run it with -h for what
// can be chosen; ../../README.md tells how to read the numbers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hocket-go/hocket/benchmarks"
)

func main() {
	benchmarks.BrokerMain()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings is what the flags say.
type settings struct {
	work       []string
	topologies []string
	contenders []string
	sizes      []int
	callers    []int
	sync       []string
	baseline   string
	focus      string
	jsonFile   string
	dir        string
	pace       benchmarks.Pace
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	work := flags.String("work", "echo,publish", "what to do")
	topologies := flags.String("topologies", "embedded,inproc,tcp,external", "where the broker is (publish: the first of them)")
	contenders := flags.String("contenders", "", "only these, by name (default all)")
	sizes := flags.String("sizes", "128,1024", "bytes of text in a message")
	callers := flags.String("callers", "1,16,64,256", "goroutines at once (publish: those of 1 and 64 among them)")
	syncs := flags.String("sync", "always,interval", "when the broker syncs, for publish")
	flags.StringVar(&s.baseline, "baseline", "", "what rates are ratios of (default raw, and jetstream for publish)")
	flags.StringVar(&s.focus, "focus", "hocket", "what every contender is compared with")
	flags.StringVar(&s.jsonFile, "json", "", "write every turn of every round to this file")
	flags.StringVar(&s.dir, "dir", "", "keep stores below this directory (default the system's temporary one)")
	flags.IntVar(&s.pace.Rounds, "rounds", 9, "turns of each contender")
	flags.DurationVar(&s.pace.Turn, "turn", 700*time.Millisecond, "length of a turn")
	flags.DurationVar(&s.pace.Warmup, "warmup", 300*time.Millisecond, "length of a contender's warm-up")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	s.work, s.topologies, s.contenders, s.sync = list(*work), list(*topologies), list(*contenders), list(*syncs)
	var err, errCallers error
	s.sizes, err = numbers(*sizes)
	s.callers, errCallers = numbers(*callers)
	return s, errors.Join(err, errCallers, known("work", s.work, "echo", "publish"),
		known("topology", s.topologies, "embedded", "inproc", "tcp", "external"), known("sync", s.sync, "always", "interval"))
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s; %d rounds of %v, medians, ratios round by round: median (lowest–highest)\n",
		benchmarks.Setting(), s.pace.Rounds, s.pace.Turn); err != nil {
		return err
	}
	var cells []benchmarks.Cell
	keep := func(cell benchmarks.Cell, baseline string) error {
		cells = append(cells, cell)
		if s.baseline != "" {
			baseline = s.baseline
		}
		return cell.Markdown(out, baseline, s.focus)
	}
	if slices.Contains(s.work, "echo") {
		if err := s.echoes(ctx, keep); err != nil {
			return err
		}
	}
	if slices.Contains(s.work, "publish") {
		if err := s.publishes(ctx, keep); err != nil {
			return err
		}
	}
	if s.jsonFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(cells, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.jsonFile, data, 0o600)
}

type keepFunc func(cell benchmarks.Cell, baseline string) error

func (s settings) echoes(ctx context.Context, keep keepFunc) error {
	contenders := slices.DeleteFunc(benchmarks.Contenders(), func(c benchmarks.Contender) bool { return s.omits(c.Name) })
	for _, topology := range s.topologies {
		for _, size := range s.sizes {
			for _, callers := range s.callers {
				pace := s.pace
				pace.Callers = callers
				cell, err := s.cell(ctx, benchmarks.Topology(topology), false, func(site *benchmarks.Site) (benchmarks.Cell, error) {
					return benchmarks.EchoCell(ctx, site, contenders, size, pace)
				})
				if err != nil {
					return err
				}
				if err := keep(cell, "raw"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s settings) publishes(ctx context.Context, keep keepFunc) error {
	publishers := slices.DeleteFunc(benchmarks.Publishers(), func(p benchmarks.Publisher) bool { return s.omits(p.Name) })
	for _, mode := range s.sync {
		for _, size := range s.sizes {
			for _, callers := range s.callers {
				if callers != 1 && callers != 64 {
					continue
				}
				pace, always := s.pace, mode == "always"
				pace.Callers = callers
				topology := benchmarks.Topology(s.topologies[0])
				cell, err := s.cell(ctx, topology, always, func(site *benchmarks.Site) (benchmarks.Cell, error) {
					return benchmarks.PublishCell(ctx, site, publishers, size, always, pace)
				})
				if err != nil {
					return err
				}
				if err := keep(cell, "jetstream"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cell measures on a broker of its own, so that no cell finds what another one stored.
func (s settings) cell(
	ctx context.Context, topology benchmarks.Topology, always bool, measure func(*benchmarks.Site) (benchmarks.Cell, error),
) (cell benchmarks.Cell, err error) {
	dir, err := os.MkdirTemp(s.dir, "hocket-bench-")
	if err != nil {
		return cell, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	site, err := benchmarks.NewSite(ctx, topology, filepath.Join(dir, "store"), always)
	if err != nil {
		return cell, err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	return measure(site)
}

func (s settings) omits(name string) bool {
	return len(s.contenders) > 0 && !slices.Contains(s.contenders, name)
}

func list(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(part string) bool { return part == "" })
}

func numbers(text string) ([]int, error) {
	var ns []int
	for _, part := range list(text) {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a positive number", part)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func known(what string, given []string, names ...string) error {
	if len(given) == 0 {
		return fmt.Errorf("no %s given", what)
	}
	for _, g := range given {
		if !slices.Contains(names, g) {
			return fmt.Errorf("no %s %q; there are: %s", what, g, strings.Join(names, ", "))
		}
	}
	return nil
}
