package hocket

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// Hook is a function that runs at a turn of a service's life. Its context is bounded by what it runs within.
type Hook func(ctx context.Context) error

type hooks struct {
	beforeStart, afterStart, beforeStop, afterStop []Hook
}

// BeforeStart adds a hook that runs before the first call is taken. An error of it ends Start or Run. Hooks run in the
// order in which they were added.
func (s *Service) BeforeStart(h Hook) { s.addHook(&s.hooks.beforeStart, h) }

// AfterStart adds a hook that runs when calls are taken. An error of it ends Start or Run, which drains again.
func (s *Service) AfterStart(h Hook) { s.addHook(&s.hooks.afterStart, h) }

// BeforeStop adds a hook that runs before the intake stops. Hooks of the end run in the opposite order, last added first,
// all of them whatever they return.
func (s *Service) BeforeStop(h Hook) { s.addHook(&s.hooks.beforeStop, h) }

// AfterStop adds a hook that runs when everything is closed.
func (s *Service) AfterStop(h Hook) { s.addHook(&s.hooks.afterStop, h) }

func (s *Service) addHook(list *[]Hook, h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, h)
}

func (s *Service) hooksOf(list *[]Hook) []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*list)
}

// Start goes live: it runs the hooks, and once it returns nil the broker routes calls here. An error names what the broker
// refused; the service must be closed then. Most programs call Run instead.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.phase != opened {
		started := s.phase == running
		s.mu.Unlock()
		if started {
			return fmt.Errorf("start %s: %w", s.name, errors.New("started already"))
		}
		return fmt.Errorf("start %s: %w", s.name, ErrClosed)
	}
	s.phase = running
	s.mu.Unlock()
	for _, h := range s.hooksOf(&s.hooks.beforeStart) {
		if err := h(ctx); err != nil {
			return fmt.Errorf("before start of %s: %w", s.name, err)
		}
	}
	if err := s.server.Start(ctx); err != nil {
		return err
	}
	for _, h := range s.hooksOf(&s.hooks.afterStart) {
		if err := h(ctx); err != nil {
			return fmt.Errorf("after start of %s: %w", s.name, err)
		}
	}
	s.log.Info("started", "version", s.opts.Version, "durability", s.durability.String())
	return nil
}

// Run starts the service and serves until ctx ends, the process gets one of [Options].Signals, or the service is drained or
// closed elsewhere; then it drains, for [Options].DrainTimeout at most, and closes. It returns nil after a clean end; else
// what failed to start, what was left undone, or that the connection was lost for good. A second signal ends the process.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(s.opts.Signals) > 0 {
		var release context.CancelFunc
		ctx, release = signal.NotifyContext(ctx, s.opts.Signals...)
		defer release()
		context.AfterFunc(ctx, release) // the next signal has its usual effect
	}
	if err := s.Start(ctx); err != nil {
		return errors.Join(err, s.drainAfter(ctx))
	}
	select {
	case <-ctx.Done():
		s.log.Info("draining", "reason", context.Cause(ctx))
		return s.drainAfter(ctx)
	case <-s.done:
		return s.err
	case <-s.ended:
		if s.isStopping() {
			<-s.done
			return s.err
		}
		return errors.Join(fmt.Errorf("run %s: %w", s.name, s.connectionLost()), s.Close())
	}
}

func (s *Service) connectionLost() error {
	if err := s.nc.LastError(); err != nil {
		return fmt.Errorf("%w: %w", nats.ErrConnectionClosed, err)
	}
	return nats.ErrConnectionClosed
}

// drainAfter drains when the context has ended that the service ran in.
func (s *Service) drainAfter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.DrainTimeout)
	defer cancel()
	return s.Drain(ctx)
}

// Drain ends the service in good order: hooks run, the intake of calls and events stops, what was accepted is finished, what
// was sent is flushed, and the connection and the broker inside close. When the context ends first, what still runs is
// canceled and the error says what that was. Everything is closed in any case. It is idempotent, as is Close; the first of
// them decides how the service ends, and the others wait for it and return the same. Neither may be called from a hook of the
// end or from a handler, which they wait for.
func (s *Service) Drain(ctx context.Context) error {
	s.shut(func() error {
		ctx, cancel := bounded(ctx, s.opts.DrainTimeout)
		defer cancel()
		return errors.Join(s.runStopHooks(ctx, &s.hooks.beforeStop, "before stop"), s.drainParts(ctx), s.closeAll())
	})
	return s.err
}

// Close ends the service at once: the contexts of handlers are canceled, and what was accepted and not finished is
// redelivered to other instances (events) or answered with an error (calls). The connection and the broker inside close.
func (s *Service) Close() error {
	s.shut(s.closeAll)
	return s.err
}

func (s *Service) shut(end func() error) {
	s.stop.Do(func() {
		s.mu.Lock()
		s.phase = stopping
		s.mu.Unlock()
		err := end()
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.DrainTimeout)
		defer cancel()
		s.err = errors.Join(err, s.runStopHooks(ctx, &s.hooks.afterStop, "after stop"))
		close(s.done)
	})
}

func (s *Service) runStopHooks(ctx context.Context, list *[]Hook, when string) error {
	var errs []error
	for _, h := range slices.Backward(s.hooksOf(list)) {
		if err := h(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s of %s: %w", when, s.name, err))
		}
	}
	return errors.Join(errs...)
}

// drainParts finishes what was accepted. Calls and events stop at the same moment, and their handlers can still make calls
// and publish until both are done.
func (s *Service) drainParts(ctx context.Context) error {
	var wg sync.WaitGroup
	var calls, events, flush error
	if s.server != nil {
		wg.Go(func() { calls = s.server.Drain(ctx) })
	}
	if s.bus != nil {
		wg.Go(func() { events = s.bus.Drain(ctx) })
	}
	wg.Wait()
	if s.nc != nil && s.nc.IsConnected() {
		flush = s.nc.FlushWithContext(ctx)
	}
	return errors.Join(calls, events, flush)
}

// closeAll closes what there is, in the opposite order of its making.
func (s *Service) closeAll() error {
	var errs []error
	if s.bus != nil {
		errs = append(errs, s.bus.Close())
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	if s.client != nil {
		errs = append(errs, s.client.Close())
	}
	if s.nc != nil {
		s.nc.Close()
		<-s.ended
	}
	if s.broker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.DrainTimeout)
		defer cancel()
		errs = append(errs, s.broker.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

func (s *Service) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == stopping
}

// Health tells whether the service can work: nil, or why not. It asks nobody, and is what a liveness probe wants: an error
// that matches [ErrClosed] never goes away, others may.
func (s *Service) Health() error {
	switch {
	case s.isStopping():
		return ErrClosed
	case s.nc.IsClosed():
		return fmt.Errorf("%w: %w", ErrClosed, s.connectionLost())
	case !s.nc.IsConnected():
		return fmt.Errorf("hocket: not connected to the broker: %w", s.disconnection())
	}
	return nil
}

// disconnection says why there is no connection, as far as it is known.
func (s *Service) disconnection() error {
	if shared, ok := s.broker.(*embedded.Shared); ok {
		if err := shared.Status().Err; err != nil {
			return err
		}
	}
	if err := s.nc.LastError(); err != nil {
		return err
	}
	return nats.ErrDisconnected
}

// Ready tells whether calls should come here: nil, or why not. It is what a readiness probe wants.
func (s *Service) Ready() error {
	if err := s.Health(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != running {
		return fmt.Errorf("hocket: %s has not started", s.name)
	}
	return nil
}
