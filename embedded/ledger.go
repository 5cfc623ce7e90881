package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ledgerFileName is in the data directory and says how far each stream had come when somebody last looked. The server
// cuts a stream off at the first damaged message that it meets, one flipped bit is enough, and goes on from there without
// a word: what was acknowledged is gone and its sequences are given to others. So a broker looks when it starts and when
// it stops, and refuses to start with a stream that went backwards. Damage inside a file that the server does not read as
// it starts is found after that, at the first start after it was read.
const ledgerFileName = "sequences.json"

// ledger holds streams by account and name.
type ledger map[string]map[string]ledgerEntry

type ledgerEntry struct {
	Created time.Time `json:"created"` // a stream that was made anew begins anew
	LastSeq uint64    `json:"last_seq"`
}

// keepsLedger says whether a stream that goes backwards is a fault. It is not for a broker that may lose what it has
// acknowledged, nor for a node of a cluster, which gets from the others what it lacks.
func (o *Options) keepsLedger() bool { return o.SyncInterval == 0 && o.Cluster == nil }

// readLedger is empty if there is none yet.
func readLedger(dir string) (ledger, error) {
	var l ledger
	err := readJSON(filepath.Join(dir, ledgerFileName), &l)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger{}, nil
	}
	return l, err
}

// takeLedger asks the server. Streams in memory begin anew with each start.
func takeLedger(srv *server.Server) (ledger, error) {
	js, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Config: true, Limit: maxAccounts})
	if err != nil {
		return nil, fmt.Errorf("embedded: ask for the streams: %w", err)
	}
	l := make(ledger)
	for _, account := range js.AccountDetails {
		streams := make(map[string]ledgerEntry)
		for _, s := range account.Streams {
			if s.Config != nil && s.Config.Storage == server.FileStorage {
				streams[s.Name] = ledgerEntry{Created: s.Created, LastSeq: s.State.LastSeq}
			}
		}
		l[account.Id] = streams
	}
	return l, nil
}

// checkLedger compares what the server has with the last ledger, and writes the next one.
func checkLedger(srv *server.Server, dir string) error {
	before, err := readLedger(dir)
	if err != nil {
		return err
	}
	now, err := takeLedger(srv)
	if err != nil {
		return err
	}
	for account, streams := range now {
		for name, s := range streams {
			if was, ok := before[account][name]; ok && was.Created.Equal(s.Created) && s.LastSeq < was.LastSeq {
				return fmt.Errorf("%w: stream %s had come to sequence %d and now ends at %d: its files in %s are damaged; "+
					"restore them from a backup, or remove %s to accept the loss", ErrCorruptDir, name, was.LastSeq, s.LastSeq,
					filepath.Join(dir, server.JetStreamStoreDir, account, "streams", name), filepath.Join(dir, ledgerFileName))
			}
		}
	}
	return now.write(dir)
}

// close writes the ledger of a broker that has stopped. A stream that went backwards while it ran keeps its old entry,
// for the next start to find.
func (l ledger) close(dir string) error {
	before, err := readLedger(dir)
	if err != nil {
		return err
	}
	for account, streams := range l {
		for name, s := range streams {
			if was, ok := before[account][name]; ok && was.Created.Equal(s.Created) {
				s.LastSeq = max(s.LastSeq, was.LastSeq)
				streams[name] = s
			}
		}
	}
	return l.write(dir)
}

func (l ledger) write(dir string) error {
	if err := writeJSON(filepath.Join(dir, ledgerFileName), l, true); err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return nil
}

// forgetLedger is for a broker that keeps none: the next one that does must not trust an old one.
func forgetLedger(dir string) error {
	if err := os.Remove(filepath.Join(dir, ledgerFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return nil
}
