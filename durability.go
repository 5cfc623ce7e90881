package hocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hocket-go/hocket/embedded"
)

// Durability says what the broker does with a write before it acknowledges it.
type Durability int

const (
	// DurabilityUnknown is a broker that is not ours and does not let us look.
	DurabilityUnknown Durability = iota
	// Synced writes are on the disk when they are acknowledged: they survive the loss of power.
	Synced
	// NotSynced writes survive the end of a process, and may be lost with the power.
	NotSynced
)

// String returns "synced", "not synced" or "unknown".
func (d Durability) String() string {
	switch d {
	case Synced:
		return "synced"
	case NotSynced:
		return "not synced"
	case DurabilityUnknown:
	}
	return "unknown"
}

// ErrNotSynced is returned by [Open] with [Options].RequireSync if the broker does not sync each write before it
// acknowledges it, or is not known to.
var ErrNotSynced = errors.New("hocket: the broker is not known to sync each acknowledged write")

// Durability tells what the broker does with a write before it acknowledges it, as it was known when the service opened;
// of a shared broker inside, as its present owner does it.
func (s *Service) Durability() Durability {
	if d := brokerDurability(s.brokerInside()); d != DurabilityUnknown {
		return d
	}
	return s.durability
}

// brokerInside is the broker whose settings can be looked at.
func (s *Service) brokerInside() Broker {
	if s.broker != nil {
		return s.broker
	}
	return s.opts.Broker
}

func brokerDurability(b Broker) Durability {
	var d embedded.Durability
	known := true
	switch b := b.(type) {
	case interface{ Durability() embedded.Durability }:
		d = b.Durability()
	case interface {
		Durability() (embedded.Durability, bool)
	}:
		d, known = b.Durability()
	default:
		return DurabilityUnknown
	}
	switch {
	case !known:
		return DurabilityUnknown
	case d.Synced():
		return Synced
	}
	return NotSynced
}

func (s *Service) checkDurability(ctx context.Context) error {
	var why error
	s.durability = brokerDurability(s.brokerInside())
	if s.durability == DurabilityUnknown {
		s.durability, why = s.lookAtBroker(ctx)
	}
	if s.durability == Synced {
		return nil
	}
	if s.opts.RequireSync {
		return errors.Join(fmt.Errorf("%w: it is %v", ErrNotSynced, s.durability), why)
	}
	if s.durability == DurabilityUnknown {
		s.log.Info("whether the broker syncs acknowledged writes is unknown", "reason", why)
	}
	return nil
}

// The broker tells its settings to its system account and on its monitoring port, to nobody else.
const (
	probeSubject = "$SYS.REQ.SERVER.PING.JSZ"
	probeTime    = 2 * time.Second
	probeQuiet   = 200 * time.Millisecond // after the last of several answers
)

// isProbe recognises the refusal of the question, which is expected.
func isProbe(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+probeSubject+`"`)
}

// jetStreamSettings is the part of the server's JSInfo that matters here.
type jetStreamSettings struct {
	Disabled bool `json:"disabled"`
	Config   struct {
		SyncAlways bool `json:"sync_always"`
	} `json:"config"`
}

func (s jetStreamSettings) durability() Durability {
	switch {
	case s.Disabled:
		return DurabilityUnknown
	case s.Config.SyncAlways:
		return Synced
	}
	return NotSynced
}

// lookAtBroker asks a broker that is not ours. The error says why the answer is unknown.
func (s *Service) lookAtBroker(ctx context.Context) (Durability, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if s.opts.Monitor != "" {
		return askMonitor(ctx, s.opts.Monitor)
	}
	return askServers(ctx, s.nc)
}

func askMonitor(ctx context.Context, monitor string) (Durability, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(monitor, "/")+"/jsz?config=true", nil)
	if err != nil {
		return DurabilityUnknown, fmt.Errorf("monitor: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return DurabilityUnknown, fmt.Errorf("monitor: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return DurabilityUnknown, fmt.Errorf("monitor: %s answers %s", monitor, resp.Status)
	}
	var settings jetStreamSettings
	if err := json.NewDecoder(resp.Body).Decode(&settings); err != nil {
		return DurabilityUnknown, fmt.Errorf("monitor: %s: %w", monitor, err)
	}
	return settings.durability(), nil
}

// askServers asks all servers of a cluster at once; one that does not sync decides.
func askServers(ctx context.Context, nc *nats.Conn) (Durability, error) {
	inbox, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return DurabilityUnknown, err
	}
	defer inbox.Unsubscribe() //nolint:errcheck // it fails only with the connection
	if err := nc.PublishRequest(probeSubject, inbox.Subject, []byte(`{"config":true}`)); err != nil {
		return DurabilityUnknown, err
	}
	known := DurabilityUnknown
	for {
		// The first answer may take its time; the others come right after it or not at all.
		wait := probeTime
		if known != DurabilityUnknown {
			wait = probeQuiet
		}
		msg, err := nextWithin(ctx, inbox, wait)
		if err == nil && msg.Header.Get("Status") == "503" {
			err = nats.ErrNoResponders
		}
		if err != nil {
			if known != DurabilityUnknown {
				return known, nil
			}
			return DurabilityUnknown, fmt.Errorf("the broker does not answer questions about its settings here (%w); "+
				"Options.Monitor can name its monitoring port", err)
		}
		var answer struct {
			Data jetStreamSettings `json:"data"`
		}
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			continue
		}
		switch answer.Data.durability() {
		case NotSynced:
			return NotSynced, nil
		case Synced:
			known = Synced
		case DurabilityUnknown:
		}
	}
}

func nextWithin(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
