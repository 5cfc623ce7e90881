package violation_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
	"github.com/hocket-go/hocket/embedded/embeddedtest"
	"github.com/hocket-go/hocket/internal/violation"
)

func TestThePinnedServersWordsAreUnderstood(t *testing.T) {
	t.Parallel()
	broker := embeddedtest.New(t, func(o *embedded.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{">"}},
				Subscribe: &server.SubjectPermission{Deny: []string{">"}},
			}}}
		}
	})
	nc := broker.Connect(t, nats.UserInfo("u", "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	check := func(want violation.Kind, subject string) {
		t.Helper()
		require.NoError(t, nc.Flush())
		kind, refused := violation.Of(fmt.Errorf("wrapped: %w", nc.LastError()))
		assert.Equal(t, want, kind)
		assert.Equal(t, subject, refused)
	}
	require.NoError(t, nc.Publish("a.b", nil))
	check(violation.Publish, "a.b")
	_, err := nc.SubscribeSync("a.*.>")
	require.NoError(t, err)
	check(violation.Subscription, "a.*.>")
	_, err = nc.QueueSubscribeSync("c", "queue")
	require.NoError(t, err)
	check(violation.Subscription, "c")
}

func TestOtherErrorsAreNone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, errors.New(`permissions violation for publish to "a"`), nats.ErrPermissionViolation,
		fmt.Errorf("%w: for publish to nothing", nats.ErrPermissionViolation),
		fmt.Errorf(`%w: for publish to "open`, nats.ErrPermissionViolation),
	} {
		kind, subject := violation.Of(err)
		assert.Equal(t, violation.None, kind, "%v", err)
		assert.Empty(t, subject)
	}
}
