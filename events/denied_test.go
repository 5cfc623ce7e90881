package events_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/events"
)

// guarded returns a connection that may not do what is listed, and a function that says which bus gets its errors.
func guarded(t *testing.T, denyPublish, denySubscribe []string) (guest *nats.Conn, handle func(*events.Bus)) {
	t.Helper()
	broker := setupBroker(t, func(o *embedded.Options) {
		unsynced(o)
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{
				{Username: "guest", Password: "guest", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: []string{">"}, Deny: denyPublish},
					Subscribe: &server.SubjectPermission{Allow: []string{">"}, Deny: denySubscribe},
				}},
			}
		}
	})
	buses := make(chan *events.Bus, 1)
	guest = broker.Connect(t, nats.UserInfo("guest", "guest"),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			select {
			case b := <-buses:
				b.HandleError(sub, err)
				buses <- b
			default:
			}
		}))
	return guest, func(b *events.Bus) { buses <- b }
}

func TestADeniedPublishIsToldAtOnce(t *testing.T) {
	t.Parallel()
	nc, handle := guarded(t, []string{"events.orders.>"}, nil)
	b := busOn(t, nc, "orders", &events.Options{AttemptTimeout: patience, PublishTimeout: patience})
	handle(b)
	start := time.Now()
	_, err := placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrDenied)
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	require.NotErrorIs(t, err, events.ErrUnknown)
	require.Less(t, time.Since(start), patience/2)
}

// Where nobody passes on the connection's errors the denial is found after the first attempt.
func TestADeniedPublishIsToldWithoutAnErrorHandler(t *testing.T) {
	t.Parallel()
	nc, _ := guarded(t, []string{"events.orders.>"}, nil)
	b := busOn(t, nc, "orders", &events.Options{AttemptTimeout: 200 * time.Millisecond, PublishTimeout: patience})
	_, err := placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrDenied)
}

func TestADeniedProvisioningIsToldAtOnce(t *testing.T) {
	t.Parallel()
	nc, handle := guarded(t, []string{"$JS.API.STREAM.CREATE.>"}, nil)
	b := busOn(t, nc, "orders", &events.Options{AttemptTimeout: patience, PublishTimeout: patience})
	handle(b)
	_, err := placed.Publish(t.Context(), b, order{})
	require.ErrorIs(t, err, events.ErrDenied)
	_, err = placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
	require.ErrorIs(t, err, events.ErrDenied)
}

func TestADeniedSubscriptionEnds(t *testing.T) {
	t.Parallel()
	nc, handle := guarded(t, []string{"$JS.API.CONSUMER.MSG.NEXT.events.billing"}, nil)
	b := busOn(t, nc, "orders", nil)
	handle(b)
	sub, err := placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
	require.NoError(t, err)
	receive(t, sub.Done())
	require.ErrorIs(t, sub.Err(), events.ErrDenied)
}

func TestADeniedListenIsToldAtOnce(t *testing.T) {
	t.Parallel()
	nc, handle := guarded(t, nil, []string{"signal.>"})
	b := busOn(t, nc, "orders", nil)
	_, err := placed.Listen(t.Context(), b, newRecorder().handle)
	require.ErrorIs(t, err, events.ErrDenied)
	handle(b)
	_, err = placed.Listen(t.Context(), b, newRecorder().handle)
	require.ErrorIs(t, err, events.ErrDenied)
}

// The broker complains again when a client comes back and its role has lost a permission.
func TestAWithdrawnPermissionEndsWhatItWasFor(t *testing.T) {
	t.Parallel()
	r := setup(t)
	b := r.bus("orders", nil)
	listener, err := placed.Listen(t.Context(), b, newRecorder().handle)
	require.NoError(t, err)
	sub, err := placed.Subscribe(t.Context(), b, "billing", newRecorder().handle)
	require.NoError(t, err)
	violation := func(what string) error {
		return fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, what)
	}
	for _, other := range []error{
		nil, errHandler, nats.ErrSlowConsumer, nats.ErrPermissionViolation, violation(`Publish to "elsewhere"`), violation("x"),
		violation(`Subscription to "elsewhere"`), violation(`Publish to "signal.*.shop.order.placed"`), violation(`Publish to "`),
	} {
		require.False(t, b.HandleError(nil, other), "%v", other)
	}
	require.True(t, b.HandleError(nil, violation(`Subscription to "signal.*.shop.order.placed"`)))
	receive(t, listener.Done())
	require.ErrorIs(t, listener.Err(), events.ErrDenied)
	require.True(t, b.HandleError(nil, violation(`Publish to "$JS.API.CONSUMER.MSG.NEXT.events.billing"`)))
	receive(t, sub.Done())
	require.ErrorIs(t, sub.Err(), events.ErrDenied)
}

// A duplicate that this connection may not read is taken for what the broker says it is.
func TestADuplicateThatCannotBeReadIsADuplicate(t *testing.T) {
	t.Parallel()
	nc, handle := guarded(t, []string{"$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>"}, nil)
	b := busOn(t, nc, "orders", nil)
	handle(b)
	_, err := placed.Publish(t.Context(), b, order{}, events.ID("1"))
	require.NoError(t, err)
	receipt, err := placed.Publish(t.Context(), b, order{}, events.ID("1"))
	require.NoError(t, err)
	require.True(t, receipt.Duplicate)
}
