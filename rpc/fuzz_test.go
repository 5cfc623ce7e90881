package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/rpc"
)

// Whatever a client sends, the server neither panics nor stops serving.
func FuzzRequest(f *testing.F) {
	f.Add("rpc.echo.Echo", "_INBOX.a", "application/json", []byte(`{"text":"a"}`))
	f.Add("rpc.echo.Echo.tester", "r.echo.tester.c.1.0.1json", "", []byte(`{}`))
	f.Add("rpc.echo.Echo.i.tester", "r.echo.tester.c.zz.99.1msgpack", "text/plain", []byte{0x81, 0xa1, 'a'})
	f.Add("rpc.echo.Echo.=.x", "r.echo.=.c.1.0.=", "a/b; =", []byte{0xff})
	b := setup(f, rpc.ServerOptions{Instance: "i"}, nil)
	f.Fuzz(func(t *testing.T, subject, reply, contentType string, data []byte) {
		_ = b.caller.PublishMsg(&nats.Msg{
			Subject: subject, Reply: reply, Header: nats.Header{"Content-Type": {contentType}}, Data: data,
		}) // nats.go refuses some
		_, err := echo.Call(t.Context(), b.client, ping{}, rpc.Timeout(10*time.Second))
		require.NoError(t, err)
	})
}

// Whatever a service answers, the caller gets a reply or an error.
func FuzzReply(f *testing.F) {
	f.Add("failed", "404", []byte(`{"message":"m","details":[{"type":"a","value":1}]}`))
	f.Add("", "", []byte(`{"text":"a"}`))
	f.Add("\r\nX: y", "é", []byte(`{"details":[{}]}`))
	b := setup(f, rpc.ServerOptions{}, nil)
	answers := make(chan *nats.Msg, 1)
	_, err := b.nc.Subscribe("rpc.odd.Odd.*", func(m *nats.Msg) {
		answer := <-answers
		answer.Subject = m.Reply
		if err := b.nc.PublishMsg(answer); err != nil {
			_ = m.Respond(nil)
		}
	})
	require.NoError(f, err)
	require.NoError(f, b.nc.Flush())
	odd := rpc.NewMethod[ping, ping]("odd.Odd")
	f.Fuzz(func(t *testing.T, text, code string, data []byte) {
		answers <- &nats.Msg{Header: nats.Header{"Nats-Service-Error": {text}, "Nats-Service-Error-Code": {code}}, Data: data}
		_, err := odd.Call(context.Background(), b.client, ping{})
		require.NotErrorIs(t, err, rpc.ErrUnknown)
	})
}
