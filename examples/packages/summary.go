package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/examples/packages/contract"
)

// summary counts packages, each once, however often its event comes: delivery is at least once, and a second run publishes
// everything again. What it has counted is in a journal, a line an event, synced before the event is acknowledged; so a
// process that is killed loses nothing, and the next one goes on where it stopped.
type summary struct {
	mu       sync.Mutex // guards what follows
	journal  *os.File
	counted  map[string]bool // by event id
	packages map[string]contract.Package
	again    int           // events that were counted before
	changed  chan struct{} // closed and replaced with each event
}

// entry is a line of the journal.
type entry struct {
	ID      string           `json:"id"`
	Package contract.Package `json:"package"`
}

func openSummary(path string) (*summary, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &summary{
		journal: file, counted: map[string]bool{}, packages: map[string]contract.Package{}, changed: make(chan struct{}),
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return s, nil
}

// load reads the journal, and cuts off a last line that a kill left half written: its event was not acknowledged.
func (s *summary) load() error {
	var whole int64
	for in := bufio.NewReader(s.journal); ; {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("byte %d: %w", whole, err)
		}
		s.counted[e.ID], s.packages[e.Package.Key()] = true, e.Package
		whole += int64(len(line))
	}
	if err := s.journal.Truncate(whole); err != nil {
		return err
	}
	_, err := s.journal.Seek(whole, io.SeekStart)
	return err
}

// handle is the subscriber.
func (s *summary) handle(_ context.Context, e events.Event[contract.Package]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counted[e.ID] {
		s.again++
	} else {
		line, err := json.Marshal(entry{ID: e.ID, Package: e.Data})
		if err != nil {
			return err
		}
		if _, err := s.journal.Write(append(line, '\n')); err != nil {
			return err
		}
		if err := s.journal.Sync(); err != nil {
			return err
		}
		s.counted[e.ID], s.packages[e.Data.Key()] = true, e.Data
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// await waits until all these events are counted.
func (s *summary) await(ctx context.Context, ids []string) error {
	for _, id := range ids {
		for {
			s.mu.Lock()
			counted, changed := s.counted[id], s.changed
			s.mu.Unlock()
			if counted {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("event %s was not heard: %w", id, context.Cause(ctx))
			}
		}
	}
	return nil
}

// print writes what is known about all packages that were ever seen.
func (s *summary) print(out io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	type total struct {
		name  string
		n     int
		kib   int64
		large contract.Package
	}
	totals := map[string]*total{}
	var all total
	for _, p := range s.packages {
		t := totals[p.Section]
		if t == nil {
			t = &total{name: p.Section}
			totals[p.Section] = t
		}
		for _, t := range []*total{t, &all} {
			t.n++
			t.kib += p.KiB
			if p.KiB > t.large.KiB || p.KiB == t.large.KiB && p.Name > t.large.Name {
				t.large = p
			}
		}
	}
	sections := slices.SortedFunc(maps.Values(totals), func(a, b *total) int {
		return cmp.Or(cmp.Compare(b.kib, a.kib), strings.Compare(a.name, b.name))
	})
	fmt.Fprintf(out, "%-16s %8s %10s  %s\n", "section", "packages", "MiB", "largest")
	for _, t := range sections {
		fmt.Fprintf(out, "%-16s %8d %10.1f  %s\n", t.name, t.n, float64(t.kib)/1024, t.large.Name)
	}
	fmt.Fprintf(out, "%-16s %8d %10.1f  %s\n", "all", all.n, float64(all.kib)/1024, all.large.Name)
}
