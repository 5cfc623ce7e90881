// Packages does a real job on real input: it reads the status database of Debian's package manager, or another file of that
// format, has a service validate and enrich each record, publishes an event for each, and lets a durable subscriber build a
// summary, which it prints.
//
//	go run ./examples/packages [-in /var/lib/dpkg/status] [-data DIR]
//
// Run it twice on the same -data and nothing is counted twice. Kill it in the middle, run it again, and nothing is lost.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hocket-go/hocket"
	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/examples/packages/contract"
	"github.com/hocket-go/hocket/rpc"
)

func main() {
	in := flag.String("in", "/var/lib/dpkg/status", "the file of records to read")
	data := flag.String("data", "", "where the broker and the summary keep their data (default: a temporary directory)")
	flag.Parse()
	slog.SetLogLoggerLevel(slog.LevelWarn)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *in, *data, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// workers is how many records are under way at the same time.
const workers = 32

func run(ctx context.Context, in, data string, out io.Writer) (err error) {
	if data == "" {
		if data, err = os.MkdirTemp("", "hocket-packages-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	file, err := os.Open(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	svc, err := hocket.Open(ctx, "catalog", &hocket.Options{Embedded: &embedded.Options{Dir: filepath.Join(data, "broker")}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, svc.Close()) }()
	contract.Examine.Handle(svc, examine)
	if err := svc.Start(ctx); err != nil {
		return err
	}

	sum, err := openSummary(filepath.Join(data, "summary.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sum.journal.Close()) }()
	before := len(sum.counted)
	sub, err := contract.Seen.Subscribe(ctx, svc, "summary", sum.handle)
	if err != nil {
		return err
	}

	began := time.Now()
	published, refused, err := publish(ctx, svc, file)
	if err != nil {
		return err
	}
	if err := sum.await(ctx, published); err != nil {
		return err
	}
	if err := sub.Drain(ctx); err != nil {
		return err
	}
	for _, r := range refused {
		fmt.Fprintln(out, "refused:", r)
	}
	fmt.Fprintf(out, "%d records published in %v, %d refused; %d were new\n",
		len(published), time.Since(began).Round(time.Millisecond), len(refused), len(sum.counted)-before)
	sum.print(out)
	return svc.Drain(ctx)
}

// publish has each record examined and publishes what it means. It returns the events' ids and why records were refused.
func publish(ctx context.Context, svc *hocket.Service, in io.Reader) (published []string, refused []error, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan contract.Record)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards the results
	for range workers {
		wg.Go(func() {
			for record := range queue {
				id, err := publishOne(ctx, svc, record)
				mu.Lock()
				switch {
				case err == nil:
					published = append(published, id)
				case rpc.CodeOf(err) == rpc.InvalidArgument:
					refused = append(refused, err)
				default:
					cancel(fmt.Errorf("line %d: %w", record.Line, err))
				}
				mu.Unlock()
			}
		})
	}
	err = feed(ctx, queue, in)
	close(queue)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return published, refused, err
}

func feed(ctx context.Context, queue chan<- contract.Record, in io.Reader) error {
	for record, err := range records(in) {
		if err != nil {
			return err
		}
		select {
		case queue <- record:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// publishOne is one record's way. The event's id says what was seen, so that the same record is the same event in every run.
func publishOne(ctx context.Context, svc *hocket.Service, record contract.Record) (id string, err error) {
	p, err := contract.Examine.Call(ctx, svc, record)
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(content)
	id = hex.EncodeToString(hash[:16])
	if _, err := contract.Seen.Publish(ctx, svc, p, events.ID(id)); err != nil {
		return "", err
	}
	return id, nil
}
