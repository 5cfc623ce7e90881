package subject_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/internal/subject"
)

// The layout must be grantable with plain subject permissions: one line for each thing that a rule says. This is what the
// compiler of access rules will write, by hand: "storefront" calls orders.Create and signals, "orders" serves it, publishes
// events, keeps accounts and writes users, "billing" hears events. Both sides are always present, since an empty one means
// everything.
func TestOneLineOfPermissionsForEachKindOfSubject(t *testing.T) {
	t.Parallel()
	grants := map[string]struct{ publish, subscribe []string }{
		"storefront": {
			publish: []string{
				"rpc.orders.Create.storefront",   // call any instance
				"rpc.orders.Create.*.storefront", // call one instance
				"cancel.orders.storefront.>",     // give up waiting
				"signal.storefront.shop.visit",   // an event that is not stored
				"registry.storefront.>",          // heartbeats
			},
			subscribe: []string{
				"r.*.storefront.>",  // its own replies
				"registry.orders.*", // who serves
			},
		},
		"orders": {
			publish: []string{
				"r.orders.>",                         // answer its callers
				"events.orders.*.shop.order.placed",  // publish an event
				"es.account.*",                       // own the accounts
				"$KV.users.eu.>",                     // write some keys
				"registry.orders.>",                  // heartbeats
				"$JS.API.STREAM.MSG.GET.KV_settings", // read another bucket
			},
			subscribe: []string{
				"rpc.orders.Create.*",   // serve a method
				"rpc.orders.Create.*.*", // serve it as one instance
				"cancel.orders.>",       // callers that give up
				"$SRV.>",                // discovery
				"_INBOX.orders.>",       // answers of the broker
			},
		},
		"billing": {
			publish:   []string{"$JS.API.CONSUMER.MSG.NEXT.events.billing", "$JS.ACK.events.billing.>"},
			subscribe: []string{"signal.*.shop.visit", "_INBOX.billing.>"},
		},
	}
	broker := embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			for name, g := range grants {
				so.Users = append(so.Users, &server.User{Username: name, Password: "p", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: g.publish},
					Subscribe: &server.SubjectPermission{Allow: g.subscribe},
				}})
			}
		}
	})
	connections := map[string]*nats.Conn{}
	for name := range grants {
		connections[name] = broker.Connect(t, nats.UserInfo(name, "p"), nats.CustomInboxPrefix("_INBOX."+name),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	}
	n := subject.Names{}
	event := func(source, typ string) string { return first(n.Event(source, subject.Partition("o-1"), typ)) }
	const can, cannot = true, false
	for _, c := range []struct {
		who, verb, subject string
		want               bool
	}{
		{"storefront", "publish", n.Call("orders", "Create", "storefront"), can},
		{"storefront", "publish", n.InstanceCall("orders", "Create", "i1", "storefront"), can},
		{"storefront", "publish", n.Call("orders", "Create", "billing"), cannot},
		{"storefront", "publish", n.InstanceCall("orders", "Create", "i1", "billing"), cannot},
		{"storefront", "publish", n.InstanceCall("orders", "Create", "storefront", "billing"), cannot},
		{"storefront", "publish", n.Call("orders", "Create", "*"), cannot},
		{"storefront", "publish", n.Call("orders", "Create", "x.storefront"), cannot},
		{"storefront", "publish", n.PlainCall("orders", "Create"), cannot},
		{"storefront", "publish", n.Call("orders", "Cancel", "storefront"), cannot},
		{"storefront", "subscribe", n.CallFilter("orders", "Create"), cannot},
		{"storefront", "subscribe", n.ReplyFilter("storefront", "c1"), can},
		{"storefront", "subscribe", n.ReplyFilter("billing", "c1"), cannot},
		{"storefront", "publish", n.ReplyPrefix("orders", "billing", "c1") + "1.0.1json", cannot},
		{"storefront", "publish", n.Cancel("orders", "storefront", "c1", 7), can},
		{"storefront", "publish", n.Cancel("orders", "billing", "c1", 7), cannot},
		{"storefront", "subscribe", n.CancelFilter("orders"), cannot},
		{"storefront", "publish", first(n.Signal("storefront", "shop.visit")), can},
		{"storefront", "publish", first(n.Signal("orders", "shop.visit")), cannot},
		{"storefront", "publish", n.Heartbeat("storefront", "i1"), can},
		{"storefront", "publish", n.Heartbeat("orders", "i1"), cannot},
		{"storefront", "subscribe", "registry.orders.*", can},
		{"storefront", "publish", event("orders", "shop.order.placed"), cannot},

		{"orders", "subscribe", n.CallFilter("orders", "Create"), can},
		{"orders", "subscribe", n.InstanceCallFilter("orders", "Create", "i1"), can},
		{"orders", "subscribe", n.CallFilter("billing", "Charge"), cannot},
		{"orders", "subscribe", n.PlainCall("orders", "Create"), cannot},
		{"orders", "subscribe", n.CancelFilter("orders"), can},
		{"orders", "publish", n.ReplyPrefix("orders", "anyone", "c1") + "1.0.1json", can},
		{"orders", "publish", n.ReplyPrefix("billing", "anyone", "c1") + "1.0.1json", cannot},
		{"orders", "publish", event("orders", "shop.order.placed"), can},
		{"orders", "publish", event("orders", "shop.order.paid"), cannot},
		{"orders", "publish", event("billing", "shop.order.placed"), cannot},
		{"orders", "publish", first(n.Entity("account", "acc.*.1")), can},
		{"orders", "publish", first(n.Entity("ledger", "1")), cannot},
		{"orders", "publish", first(n.Key("users", "eu.ada")), can},
		{"orders", "publish", first(n.Key("users", "us.ada")), cannot},
		{"orders", "publish", first(n.Key("secrets", "eu.ada")), cannot},
		{"orders", "subscribe", "$SRV.PING", can},
		{"orders", "subscribe", "events.>", cannot},

		{"billing", "publish", "$JS.API.CONSUMER.MSG.NEXT.events.billing", can},
		{"billing", "publish", "$JS.API.CONSUMER.MSG.NEXT.events.audit", cannot},
		{"billing", "publish", "$JS.API.CONSUMER.CREATE.events.billing", cannot},
		{"billing", "subscribe", first(n.SignalFilter("shop.visit")), can},
		{"billing", "subscribe", first(n.SignalFilter("shop.order")), cannot},
		{"billing", "subscribe", first(n.EventFilter("shop.order.placed")), cannot},
	} {
		assert.Equal(t, c.want, allowed(t, connections[c.who], c.verb, c.subject), "%s %s %s", c.who, c.verb, c.subject)
	}
}

// allowed asks the broker.
func allowed(t *testing.T, nc *nats.Conn, verb, subject string) bool {
	t.Helper()
	before := nc.LastError()
	switch verb {
	case "publish":
		require.NoError(t, nc.Publish(subject, nil))
	case "subscribe":
		sub, err := nc.SubscribeSync(subject)
		require.NoError(t, err)
		defer func() { _ = sub.Unsubscribe() }()
	}
	require.NoError(t, nc.Flush())
	last := nc.LastError()
	if errors.Is(last, before) {
		return true
	}
	require.ErrorIs(t, last, nats.ErrPermissionViolation)
	return false
}
