package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// formatKey is where streams and consumers say which version of the stored format they hold.
	formatKey     = "hocket-format"
	formatVersion = "1"

	clusterReplicas = 3
)

// stream is a stream of the options, made on first use.
type stream struct {
	bus      *Bus
	opts     Stream
	name     string // with the namespace
	subjects []string
	turn     chan struct{} // held by the one who provisions; a channel, so that waiting can end with a context
	ready    atomic.Pointer[provisioned]
}

// provisioned is what is known of a stream that exists.
type provisioned struct {
	handle jetstream.Stream
	window time.Duration // for which the broker remembers message ids
	most   int32         // largest message, 0 for the broker's limit
	ack    string        // what an acknowledgement of the stream starts with
}

func newStream(b *Bus, opts Stream) (*stream, error) {
	subjects, err := opts.subjects(b.names)
	if err != nil {
		return nil, err
	}
	return &stream{
		bus: b, opts: opts, name: b.names.Stream(opts.Name), subjects: subjects, turn: make(chan struct{}, 1),
	}, nil
}

// streamFor returns the stream that captures a type.
func (b *Bus) streamFor(typ string) (*stream, error) {
	for _, s := range b.streams {
		if s.opts.captures(typ) {
			return s, nil
		}
	}
	var known []string
	for _, s := range b.streams {
		known = append(known, fmt.Sprintf("%s (stream %s)", strings.Join(s.opts.Types, ", "), s.opts.Name))
	}
	return nil, fmt.Errorf("%w: type %s; known are the types below %s", ErrNoStream, typ, strings.Join(known, "; "))
}

// ensure returns the stream, making it first if it was not there.
func (s *stream) ensure(ctx context.Context) (*provisioned, error) {
	if p := s.ready.Load(); p != nil {
		return p, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("stream %s: %w", s.name, ended(ctx))
	}
	defer func() { <-s.turn }()
	if p := s.ready.Load(); p != nil {
		return p, nil
	}
	handle, err := s.provision(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.name, err)
	}
	cfg := handle.CachedInfo().Config
	p := &provisioned{
		handle: handle, window: cfg.Duplicates, most: max(cfg.MaxMsgSize, 0), ack: fmt.Sprintf(`{"stream":%q,"seq":`, s.name),
	}
	s.ready.Store(p)
	return p, nil
}

// forget makes the next ensure look again, unless someone looked since p.
func (s *stream) forget(p *provisioned) { s.ready.CompareAndSwap(p, nil) }

// provision finds the stream or makes it. Processes race for it safely: the broker takes one of two that create a stream,
// and the other finds what was made and compares.
func (s *stream) provision(ctx context.Context) (jetstream.Stream, error) {
	const rounds = 3 // a stream can be deleted between two questions, but hardly thrice
	var err error
	for range rounds {
		var found jetstream.Stream
		err = s.bus.api(ctx, s.name, func(ctx context.Context) (err error) {
			found, err = s.bus.js.Stream(ctx, s.name)
			return err //nolint:wrapcheck // ensure wraps it
		})
		if err == nil {
			return found, s.compare(found.CachedInfo().Config)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		var made jetstream.Stream
		if made, err = s.create(ctx); err == nil {
			return made, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, err
		}
	}
	return nil, err
}

func (s *stream) create(ctx context.Context) (jetstream.Stream, error) {
	cfg := s.config()
	try := func() (made jetstream.Stream, err error) {
		err = s.bus.api(ctx, s.name, func(ctx context.Context) (err error) {
			made, err = s.bus.js.CreateStream(ctx, cfg)
			return err //nolint:wrapcheck // ensure wraps it
		})
		return made, err
	}
	made, err := try()
	// How many servers a cluster has is not for clients to see, so three replicas are tried. A server without a cluster says
	// so; a cluster that cannot place three may be one that lost a server just now, which the log should tell.
	if s.opts.Replicas == 0 && (hasCode(err, codeReplicasNotSupported) || hasCode(err, codeNoPeers)) {
		if hasCode(err, codeNoPeers) {
			s.bus.log.Warn("events: the cluster cannot place three replicas, the stream gets one",
				slog.String("stream", s.name), slog.Any("error", err))
		}
		cfg.Replicas = 1
		made, err = try()
	}
	if hasCode(err, codeSubjectOverlap) {
		return nil, fmt.Errorf("%w: %w: %s; are all processes given the same streams?", ErrMismatch, err, s.overlapping(ctx))
	}
	if err != nil {
		return nil, err
	}
	s.bus.log.Info("events: stream made", slog.String("stream", s.name), slog.Any("subjects", s.subjects),
		slog.Int("replicas", made.CachedInfo().Config.Replicas))
	return made, nil
}

func hasCode(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}

// overlapping names the streams that have subjects of this one.
func (s *stream) overlapping(ctx context.Context) string {
	var names []string
	for _, subj := range s.subjects {
		list := s.bus.js.StreamNames(ctx, jetstream.WithStreamListSubject(subj))
		for name := range list.Name() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return "by a stream that this connection may not see"
	}
	return "by " + strings.Join(names, ", ")
}

// config is the stream as it is made.
func (s *stream) config() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:        s.name,
		Description: "Events, CloudEvents 1.0 in binary mode",
		Subjects:    s.subjects,
		Retention:   jetstream.LimitsPolicy,
		MaxBytes:    orUnlimited(s.opts.MaxBytes),
		MaxMsgs:     orUnlimited(s.opts.MaxEvents),
		MaxAge:      s.opts.MaxAge,
		MaxMsgSize:  int32(orUnlimited(int64(s.opts.MaxEventBytes))),
		Discard:     jetstream.DiscardNew,
		Storage:     jetstream.FileStorage,
		Replicas:    s.opts.Replicas,
		Duplicates:  s.opts.DuplicateWindow,
		AllowDirect: true,
		// Both only widen what a publisher may do with its own event, and a stream that was made without them would have to
		// be changed by hand once events expire one by one or are committed in groups.
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{formatKey: formatVersion},
	}
	if s.opts.DropOld {
		cfg.Discard = jetstream.DiscardOld
	}
	if s.opts.Memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = clusterReplicas
	}
	if cfg.Duplicates == 0 {
		cfg.Duplicates = defaultDuplicateWindow
		if cfg.MaxAge > 0 {
			cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
		}
	}
	return cfg
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// differences collects what differs between a thing that exists and what was asked for.
type differences []string

func (d *differences) add(field string, is, asked any) {
	*d = append(*d, fmt.Sprintf("%s is %v, asked for %v", field, is, asked))
}

// unless adds a difference if the two are not equal.
func (d *differences) unless(field string, is, asked any) {
	if is != asked {
		d.add(field, is, asked)
	}
}

// asked does the same for what is asked for only if it is not zero.
func (d *differences) asked(field string, is, asked int64) {
	if asked != 0 && is != asked {
		d.add(field, is, asked)
	}
}

func (d *differences) err() error {
	if len(*d) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMismatch, strings.Join(*d, "; "))
}

// compare returns an error if the stream that exists is not what was asked for.
func (s *stream) compare(is jetstream.StreamConfig) error {
	var d differences
	want := s.config()
	for _, subj := range s.subjects {
		if !slices.Contains(is.Subjects, subj) {
			d.add("subjects", strings.Join(is.Subjects, ", "), subj+" too")
			break
		}
	}
	d.unless("retention", is.Retention, want.Retention)
	d.unless("discard", is.Discard, want.Discard)
	d.unless("storage", is.Storage, want.Storage)
	d.unless("no_ack", is.NoAck, false)
	d.unless("sealed", is.Sealed, false)
	d.unless("mirror", is.Mirror != nil, false)
	d.unless("allow_rollup_hdrs", is.AllowRollup, false)
	d.unless("allow_msg_schedules", is.AllowMsgSchedules, false)
	d.unless("persist_mode", is.PersistMode, want.PersistMode)
	d.asked("max_bytes", is.MaxBytes, s.opts.MaxBytes)
	d.asked("max_msgs", is.MaxMsgs, s.opts.MaxEvents)
	d.asked("max_msg_size", int64(is.MaxMsgSize), int64(s.opts.MaxEventBytes))
	d.asked("num_replicas", int64(is.Replicas), int64(s.opts.Replicas))
	if s.opts.MaxAge != 0 {
		d.unless("max_age", is.MaxAge, s.opts.MaxAge)
	}
	if s.opts.DuplicateWindow != 0 {
		d.unless("duplicate_window", is.Duplicates, s.opts.DuplicateWindow)
	}
	if v, ok := is.Metadata[formatKey]; ok {
		d.unless("metadata "+formatKey, v, formatVersion)
	}
	return d.err()
}
