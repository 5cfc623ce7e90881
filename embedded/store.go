package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// checkStreams returns an error if a stream or a consumer is on disk but not in the server. A server that cannot read
// one logs a warning and starts without it, and the next to create it anew would delete the data.
func checkStreams(srv *server.Server, store string) error {
	missing, err := missingAssets(srv, store)
	if err != nil || len(missing) == 0 {
		return err
	}
	// In a cluster, or through an open port, one may be deleted at this very moment: it leaves the server first and the
	// disk after that.
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	<-timer.C
	if missing, err = missingAssets(srv, store); err != nil || len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w: the server cannot read %s; restore it from a backup, or remove it to go on without",
		ErrCorruptDir, strings.Join(missing, ", "))
}

// settleTime is how long a deletion may take. It is spent only on the way to an error.
const settleTime = 250 * time.Millisecond

// missingAssets lists the directories of streams and consumers that the server has not loaded.
func missingAssets(srv *server.Server, store string) ([]string, error) {
	js, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true, Limit: maxAccounts})
	if err != nil {
		return nil, fmt.Errorf("%w: ask for the streams: %w", ErrStart, err)
	}
	var missing []string
	for _, account := range js.AccountDetails {
		loaded := make(map[string]server.StreamDetail, len(account.Streams))
		for _, stream := range account.Streams {
			loaded[stream.Name] = stream
		}
		streams := filepath.Join(store, account.Id, "streams")
		names, err := assets(streams)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			stream, ok := loaded[name]
			if !ok {
				missing = append(missing, filepath.Join(streams, name))
				continue
			}
			gone, err := missingConsumers(stream, filepath.Join(streams, name, "obs"))
			if err != nil {
				return nil, err
			}
			missing = append(missing, gone...)
		}
	}
	return missing, nil
}

// maxAccounts is the most accounts that are looked at.
const maxAccounts = 1 << 16

func missingConsumers(stream server.StreamDetail, dir string) ([]string, error) {
	names, err := assets(dir)
	if err != nil {
		return nil, err
	}
	loaded := make(map[string]bool, len(stream.Consumer))
	for _, consumer := range stream.Consumer {
		loaded[consumer.Name] = true
	}
	var missing []string
	for _, name := range names {
		if !loaded[name] {
			missing = append(missing, filepath.Join(dir, name))
		}
	}
	return missing, nil
}

// assets lists the directories in dir that hold a stream or a consumer, or what is left of one.
func assets(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptDir, err)
	}
	var names []string
	for _, entry := range entries {
		// A deletion begins with giving the directory a name that starts with a dot.
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
