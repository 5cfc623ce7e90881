package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/rpc"
)

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for want, err := range map[rpc.Code]error{
		rpc.OK:               nil,
		rpc.Unknown:          io.EOF,
		rpc.Canceled:         fmt.Errorf("x: %w", context.Canceled),
		rpc.DeadlineExceeded: context.DeadlineExceeded,
		rpc.Aborted:          fmt.Errorf("x: %w", errors.Join(io.EOF, rpc.Errorf(rpc.Aborted, "a"))),
	} {
		assert.Equal(t, want, rpc.CodeOf(err), "%v", err)
	}
	assert.Equal(t, "Code(99)", rpc.Code(99).String())
	assert.Equal(t, "NotFound", rpc.NotFound.String())
}

func TestErrorfKeepsWhatItWraps(t *testing.T) {
	t.Parallel()
	err := rpc.Errorf(rpc.DataLoss, "read %s: %w", "f", io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.EqualError(t, err, "DataLoss: read f: unexpected EOF")
	assert.False(t, err.Remote())
	err = err.WithDetail("bad", func() {})
	var why string
	found, derr := err.Detail("bad", &why)
	require.NoError(t, derr)
	assert.True(t, found)
	assert.Contains(t, why, "not encodable")
	found, derr = err.Detail("bad", new(int))
	assert.True(t, found)
	require.ErrorContains(t, derr, `detail "bad"`)
	found, _ = err.Detail("other", &why)
	assert.False(t, found)
}

// Services written with another NATS library answer with codes of their own.
func TestErrorsOfForeignServicesHaveTheNearestCode(t *testing.T) {
	t.Parallel()
	b := setup(t, rpc.ServerOptions{}, nil)
	method := rpc.NewMethod[string, string]("foreign.Do")
	_, err := b.nc.Subscribe("rpc.foreign.Do.*", func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		code := string(m.Data[1 : len(m.Data)-1])
		reply.Header.Set("Nats-Service-Error", "it failed")
		if code != "" {
			reply.Header.Set("Nats-Service-Error-Code", code)
		}
		reply.Data = []byte("not JSON")
		_ = m.RespondMsg(reply)
	})
	require.NoError(t, err)
	require.NoError(t, b.nc.Flush())
	for code, want := range map[string]rpc.Code{
		"400": rpc.InvalidArgument, "401": rpc.Unauthenticated, "403": rpc.PermissionDenied, "404": rpc.NotFound,
		"408": rpc.DeadlineExceeded, "409": rpc.AlreadyExists, "412": rpc.FailedPrecondition, "418": rpc.FailedPrecondition,
		"429": rpc.ResourceExhausted, "499": rpc.Canceled, "500": rpc.Internal, "501": rpc.Unimplemented,
		"503": rpc.Unavailable, "NOT_FOUND": rpc.NotFound, "5": rpc.NotFound, "notfound": rpc.NotFound, "": rpc.Unknown,
		"OK": rpc.Unknown, "0": rpc.Unknown, "Fehler": rpc.Unknown, "-5": rpc.Unknown, "99999999999999999999": rpc.Unknown,
	} {
		_, err := method.Call(t.Context(), b.client, code, rpc.Timeout(5*time.Second))
		assert.Equal(t, want, rpc.CodeOf(err), "%q", code)
		assert.ErrorContains(t, err, "it failed")
	}
}
