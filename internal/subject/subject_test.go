package subject_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/internal/subject"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Orders_v-2": "Orders_v-2",
		"":           "=",
		"=":          "=3D",
		"a.b":        "a=2Eb",
		"*":          "=2A",
		">":          "=3E",
		"a b\r\n":    "a=20b=0D=0A",
		"é":          "=C3=A9",
		"\xff\x00":   "=FF=00",
	} {
		assert.Equal(t, want, subject.Escape(in), "%q", in)
		back, err := subject.Unescape(want)
		require.NoError(t, err)
		assert.Equal(t, in, back)
	}
}

func TestUnescapeRefusesWhatEscapeNeverWrites(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "a.b", "*", ">", "=4", "=4g", "=2e", "=41", "a=", " ", "a=2"} {
		_, err := subject.Unescape(token)
		assert.ErrorIs(t, err, subject.ErrInvalid, "%q", token)
	}
}

func TestPathsKeepSegments(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"shop.order.placed": "shop.order.placed",
		"":                  "=",
		".":                 "=.=",
		"a..b":              "a.=.b",
		"a.*.>":             "a.=2A.=3E",
		"a b.c":             "a=20b.c",
	} {
		assert.Equal(t, want, subject.EscapePath(in), "%q", in)
		back, err := subject.UnescapePath(want)
		require.NoError(t, err)
		assert.Equal(t, in, back)
	}
	_, err := subject.UnescapePath("a..b")
	assert.ErrorIs(t, err, subject.ErrInvalid)
}

func TestErrorsNameTheValueAndTheRule(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		`service "" is empty`:                    subject.CheckName("service", ""),
		`is 300 bytes once escaped, at most 128`: subject.CheckName("service", strings.Repeat("x", 300)),
		`must match ^[a-z0-9][a-z0-9-]{0,62}$`:   subject.CheckIdentity("service", "Bill*"),
		`event type "a..b" has an empty segment`: subject.CheckPath("event type", "a..b"),
		`once escaped, at most 512`:              subject.CheckPath("event type", strings.Repeat("x.", 400)+"x"),
		`namespace "rpc" is reserved`:            second(subject.New("rpc")),
		`namespace "a.b" must match`:             second(subject.New("a.b")),
	} {
		require.ErrorIs(t, err, subject.ErrInvalid)
		assert.ErrorContains(t, err, want)
	}
	_, err := subject.Names{}.Event("shop", "64", "a")
	assert.ErrorContains(t, err, `partition "64" is neither "_" nor a number below 64`)
}

func TestLayout(t *testing.T) {
	t.Parallel()
	staging, err := subject.New("staging")
	require.NoError(t, err)
	for prefix, n := range map[string]subject.Names{"": {}, "staging.": staging} {
		assert.Equal(t, prefix+"rpc.orders.Create", n.PlainCall("orders", "Create"))
		assert.Equal(t, prefix+"rpc.orders.Create.storefront", n.Call("orders", "Create", "storefront"))
		assert.Equal(t, prefix+"rpc.orders.Create.*", n.CallFilter("orders", "Create"))
		assert.Equal(t, prefix+"rpc.orders.Create.i1.storefront", n.InstanceCall("orders", "Create", "i1", "storefront"))
		assert.Equal(t, prefix+"rpc.orders.Create.i1.*", n.InstanceCallFilter("orders", "Create", "i1"))
		assert.Equal(t, prefix+"rpc.a=2Eb.C.=2A", n.Call("a.b", "C", "*"), "a caller cannot be a wildcard")
		assert.Equal(t, prefix+"r.orders.storefront.c1.", n.ReplyPrefix("orders", "storefront", "c1"))
		assert.Equal(t, prefix+"r.*.storefront.c1.>", n.ReplyFilter("storefront", "c1"))
		assert.Equal(t, prefix+"r.orders.>", n.ReplyGrant("orders"))
		assert.Equal(t, prefix+"registry.orders.i1", n.Heartbeat("orders", "i1"))
		assert.Equal(t, prefix+"cancel.orders.storefront.c1.z", n.Cancel("orders", "storefront", "c1", 35))
		assert.Equal(t, prefix+"events.>", n.Events())
		assert.Equal(t, prefix+"events.orders._.shop.order.placed", first(n.Event("orders", "_", "shop.order.placed")))
		assert.Equal(t, prefix+"events.*.*.shop.order.placed", first(n.EventFilter("shop.order.placed")))
		assert.Equal(t, prefix+"signal.orders.shop.ping", first(n.Signal("orders", "shop.ping")))
		assert.Equal(t, prefix+"signal.*.shop.ping", first(n.SignalFilter("shop.ping")))
		assert.Equal(t, prefix+"es.account.a=2E1", first(n.Entity("account", "a.1")))
	}
	assert.Equal(t, "$KV.users.eu.ada", first(subject.Names{}.Key("users", "eu.ada")))
	assert.Equal(t, "$KV.staging-users.eu.ada", first(staging.Key("users", "eu.ada")), "the standard place")
	assert.Equal(t, "staging-billing", staging.Stream("billing"))
}

func TestReplyRoundTrip(t *testing.T) {
	t.Parallel()
	n := subject.Names{}
	reply := string(subject.AppendReply([]byte(n.ReplyPrefix("a.b", "storefront", "c1")), 35, 2500, "1json"))
	assert.Equal(t, "r.a=2Eb.storefront.c1.z.2500.1json", reply)
	r, ok := n.ParseReply(reply)
	require.True(t, ok)
	assert.Equal(t, subject.Reply{
		Service: "a=2Eb", Caller: "storefront", Connection: "c1", Sequence: "z", TimeLeft: 2500, Codec: "1json",
		Key: "storefront.c1.z",
	}, r)
	key, ok := n.CancelKey("a.b", n.Cancel("a.b", "storefront", "c1", 35))
	require.True(t, ok)
	assert.Equal(t, r.Key, key, "a cancellation finds its call")

	for _, bad := range []string{
		"", "r", "r.", "_INBOX.x.y", "r.a.b.c.d.e", "r.a.b.c.d.-1.1json", "r.a.b.c.d.5", "r.a.b.c.d.5.", "r.a.b.c.d.5.x.y",
		"r..b.c.d.5.x", "r.a..c.d.5.x", "r.a.b..d.5.x", "r.a.b.c..5.x", "r.a.b.c.d.99999999999999999999.x", "x.a.b.c.d.5.x",
	} {
		_, ok := n.ParseReply(bad)
		assert.False(t, ok, "%q", bad)
	}
}

func TestParseEvent(t *testing.T) {
	t.Parallel()
	n, err := subject.New("staging")
	require.NoError(t, err)
	e, ok := n.ParseEvent("staging.events.my=2Eshop.7.a=20b.c")
	require.True(t, ok)
	assert.Equal(t, subject.Event{Source: "my.shop", Partition: "7", Type: "a b.c"}, e)
	for _, bad := range []string{
		"events.shop._.a", "staging.events.shop", "staging.events.shop._", "staging.events.shop._.", "staging.events.shop.64.a",
		"staging.events.shop.07.a", "staging.events.=._.a", "staging.events.shop._.=", "staging.events.s=2e._.a",
	} {
		_, ok := n.ParseEvent(bad)
		assert.False(t, ok, "%q", bad)
	}
	s, ok := n.ParseSignal("staging.signal.shop.a.b")
	require.True(t, ok)
	assert.Equal(t, subject.Event{Source: "shop", Type: "a.b"}, s)
}

// The partition of a key is stored: these values never change.
func TestPartitionIsFixedForEver(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "_", subject.Partition(""))
	for key, want := range map[string]string{"a": "12", "o-1": "40", "order.42": "61", "日本": "17"} {
		assert.Equal(t, want, subject.Partition(key), "%q", key)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"orders", "a.b", "*", ">", "", "=2A", "a..b", "é\x00 \t", "rpc.x.y"} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		n := subject.Names{}
		token := subject.Escape(a)
		require.Empty(t, strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-="))
		back, err := subject.Unescape(token)
		require.NoError(t, err)
		require.Equal(t, a, back)

		path := subject.EscapePath(a)
		require.Equal(t, strings.Count(a, "."), strings.Count(path, "."), "no token is added")
		back, err = subject.UnescapePath(path)
		require.NoError(t, err)
		require.Equal(t, a, back)

		call, err := n.ParseCall(n.InstanceCall(a, b, c, a))
		require.NoError(t, err)
		require.Equal(t, subject.Call{Service: a, Method: b, Instance: c, Caller: a}, call)
		call, err = n.ParseCall(n.Call(a, b, c))
		require.NoError(t, err)
		require.Equal(t, subject.Call{Service: a, Method: b, Caller: c}, call)

		if s, err := n.Event(a, subject.Partition(b), c); err == nil {
			e, ok := n.ParseEvent(s)
			require.True(t, ok)
			require.Equal(t, subject.Event{Source: a, Partition: subject.Partition(b), Type: c}, e)
			require.LessOrEqual(t, len(s), subject.MaxSubject)
		}
		reply := string(subject.AppendReply([]byte(n.ReplyPrefix(a, b, c)), 7, 8, "1json"))
		r, ok := n.ParseReply(reply)
		require.True(t, ok)
		require.Equal(t, subject.Escape(b), r.Caller)
		key, ok := n.CancelKey(a, n.Cancel(a, b, c, 7))
		require.True(t, ok)
		require.Equal(t, r.Key, key)
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"rpc.a.b.c", "r.a.b.c.d.5.1json", "events.a._.b", "signal.a.b", "cancel.a.b.c.d", "a=2Eb", "..."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := subject.Names{}
		if e, ok := n.ParseEvent(s); ok {
			again, err := n.Event(e.Source, e.Partition, e.Type)
			require.NoError(t, err)
			require.Equal(t, s, again, "one event has one subject")
		}
		if r, ok := n.ParseReply(s); ok {
			require.True(t, strings.HasPrefix(s, "r."+r.Service+"."+r.Key+"."))
		}
		_, _ = n.ParseCall(s)
		_, _ = n.ParseSignal(s)
		_, _ = n.CancelKey("a", s)
	})
}

func BenchmarkParseReply(b *testing.B) {
	n := subject.Names{}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := n.ParseReply("r.orders.storefront.x7Gh2.1z.2500.1json"); !ok {
			b.Fatal("refused")
		}
	}
}

func first(s string, _ error) string          { return s }
func second(_ subject.Names, err error) error { return err }
