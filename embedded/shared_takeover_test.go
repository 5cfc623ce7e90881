package embedded_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/hocket-go/hocket/embedded"
)

func TestFiveProgramsRacingForAnEmptyDirectoryGetOneOwner(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	programs := make([]*program, 5)
	for i := range programs {
		programs[i] = startProgram(t, dir)
	}
	owners := 0
	seen := make(map[string]int)
	for _, p := range programs {
		line := p.hear(t, "owner", "member", "failed")
		word, pid, _ := strings.Cut(line, " ")
		require.NotEqual(t, "failed", word, line)
		if word == "owner" {
			owners++
			require.Equal(t, strconv.Itoa(p.pid()), pid)
		}
		seen[pid]++
	}
	require.Equal(t, 1, owners)
	require.Len(t, seen, 1, "all name the same owner")
}

func TestNothingAcknowledgedIsLostWhenOwnersAreKilledUnderLoad(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	programs := make(map[int]*program)
	all := make([]*program, 4)
	for i := range all {
		p := startProgram(t, dir)
		line := p.hear(t, "owner", "member", "failed")
		require.False(t, strings.HasPrefix(line, "failed"), line)
		all[i], programs[p.pid()] = p, p
	}
	observer := join(t, dir)
	require.Equal(t, all[0].pid(), observer.Owner().PID)
	_, js := connectShared(t, observer)
	stream := loadStream(t, js)
	for i, p := range all {
		p.tell(t, "publish p"+strconv.Itoa(i))
	}
	for killed := range 3 {
		owner := observer.Owner()
		if programs[owner.PID] == nil {
			break // this process is the owner: nobody kills it
		}
		before := len(programs[owner.PID].acks())
		require.Eventually(t, func() bool { return len(programs[owner.PID].acks()) > before+50 }, patient, time.Millisecond)
		begin := time.Now()
		programs[owner.PID].kill(t)
		delete(programs, owner.PID)
		next := awaitStatus(t, observer, func(st embedded.Status) bool {
			return st.Err == nil && st.Owner.Address != "" && st.Owner.ID != owner.ID
		})
		t.Logf("takeover %d by pid %d (%v) after %v", killed+1, next.Owner.PID, next.State, time.Since(begin))
		for pid, p := range programs { // those that are left go on with the same client
			before = len(p.acks())
			require.Eventually(t, func() bool { return len(p.acks()) > before+10 }, patient, time.Millisecond, "pid %d", pid)
		}
	}
	for _, p := range all {
		p.kill(t)
	}
	awaitStatus(t, observer, func(st embedded.Status) bool { return st.State == embedded.StateOwner })

	stored := readAll(t, js, stream)
	total := 0
	for _, p := range all {
		for range p.said {
		}
		for _, id := range p.acks() {
			require.Equal(t, 1, stored[id], "acknowledged message %s", id)
			total++
		}
	}
	t.Logf("%d messages acknowledged, %d stored", total, len(stored))
	require.Positive(t, total)
}

// readAll counts each message in the stream.
func readAll(t *testing.T, js jetstream.JetStream, stream jetstream.Stream) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var info *jetstream.StreamInfo
	require.Eventually(t, func() (ok bool) { // the client may still be on its way to the new owner
		var err error
		info, err = stream.Info(ctx)
		return err == nil
	}, patient, 10*time.Millisecond)
	consumer, err := js.OrderedConsumer(ctx, "LOAD", jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	stored := make(map[string]int)
	for n := uint64(0); n < info.State.Msgs; {
		batch, err := consumer.Fetch(1000, jetstream.FetchMaxWait(time.Second))
		require.NoError(t, err)
		for msg := range batch.Messages() {
			stored[string(msg.Data())]++
			n++
		}
		require.NoError(t, ctx.Err())
	}
	return stored
}

func TestOwnerKilledWhileStreamsAndConsumersComeAndGoIsSucceeded(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for round := range 6 {
		owner := startProgram(t, dir)
		owner.hear(t, "owner")
		member := join(t, dir)
		owner.tell(t, "churn r"+strconv.Itoa(round))
		require.Eventually(t, func() bool { return len(owner.acks()) > 5 }, patient, time.Millisecond)
		owner.kill(t)
		awaitStatus(t, member, isState(embedded.StateOwner))

		for range owner.said {
		}
		_, js := connectShared(t, member)
		acks := owner.acks()
		for _, name := range acks[:len(acks)-1] { // the last may have been deleted
			n, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
			require.NoError(t, err)
			_, err = js.Stream(t.Context(), name)
			if n%2 == 0 {
				require.ErrorIs(t, err, jetstream.ErrStreamNotFound, name)
				continue
			}
			require.NoError(t, err)
			_, err = js.Consumer(t.Context(), name, "c4")
			require.NoError(t, err)
		}
		require.NoError(t, member.Close())
	}
}

func TestTakeoverOfAHundredMegabytesIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	t.Parallel()
	const size = 1000
	dir := dataDir(t)
	owner := startProgram(t, dir, syncEnv+"=1m") // only to fill it in reasonable time
	owner.hear(t, "owner")
	member := join(t, dir)
	_, js := connectShared(t, member)
	stream := loadStream(t, js)
	owner.tell(t, "fill "+strconv.Itoa(100_000_000/size)+" "+strconv.Itoa(size))
	owner.hear(t, "filled")
	before, err := stream.Info(t.Context())
	require.NoError(t, err)

	begin := time.Now()
	owner.kill(t)
	awaitStatus(t, member, isState(embedded.StateOwner))
	took := time.Since(begin)
	var ack *jetstream.PubAck
	require.Eventually(t, func() bool {
		attempt, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ack, err = js.Publish(attempt, "load.after", nil)
		return err == nil
	}, patient, time.Millisecond)
	t.Logf("%d MB in %d messages: new owner after %v, first acknowledgement after %v",
		before.State.Bytes>>20, before.State.Msgs, took, time.Since(begin))
	require.Equal(t, before.State.LastSeq+1, ack.Sequence)
	require.Less(t, took, 10*time.Second, "2 s are promised for a machine that does nothing else")
}

func TestOrderlyExitHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	owner := startProgram(t, dir)
	owner.hear(t, "owner")
	member := join(t, dir)
	_, js := connectShared(t, member)
	loadStream(t, js)
	owner.tell(t, "publish a")
	require.Eventually(t, func() bool { return len(owner.acks()) > 100 }, patient, time.Millisecond)

	begin := time.Now()
	owner.tell(t, "exit")
	awaitStatus(t, member, isState(embedded.StateOwner))
	took := time.Since(begin)
	require.Eventually(t, func() bool {
		attempt, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(attempt, "load.after", nil)
		return err == nil
	}, patient, time.Millisecond)
	t.Logf("new owner after %v, first acknowledgement after %v; %s", took, time.Since(begin), owner.hear(t, "closed"))
	require.Less(t, took, 5*time.Second, "half a second is promised for a machine that does nothing else")
}
