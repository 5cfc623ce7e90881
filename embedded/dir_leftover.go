package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// settleStore finishes or removes what a killed process has left half done in the server's store. The server writes a
// description of a stream or a consumer, then its checksum, and only then answers. Killed in between, it leaves one that
// no server will load again.
//
//   - Made, but without a checksum: nobody was promised anything about it, so it is removed. (The server would pass over
//     it, and when it is made anew keep the description as it is, so that it is gone again after the next restart.) What
//     holds data all the same is not touched: it is corrupt.
//   - A stream changed, with the checksum of the description before: it gets the right one. The description was put in
//     place as a whole, and is younger than the checksum then; in any other case it is corrupt. (Of consumers the server
//     wants a checksum to be there, no more.)
func settleStore(dir string) error {
	accounts, err := entries(filepath.Join(dir, server.JetStreamStoreDir))
	if err != nil {
		return err
	}
	for _, account := range accounts {
		streams, err := entries(filepath.Join(account, "streams"))
		if err != nil {
			return err
		}
		for _, stream := range streams {
			if err = settleStream(stream); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleStream settles the consumers of a stream, then the stream.
func settleStream(stream string) error {
	consumers, err := entries(filepath.Join(stream, "obs"))
	if err != nil {
		return err
	}
	left := len(consumers)
	for _, consumer := range consumers {
		removed, err := removeIfUnfinished(consumer, consumer)
		if err != nil {
			return err
		}
		if removed {
			left--
		}
	}
	if err = mendChecksum(stream); err != nil || left > 0 {
		return err
	}
	_, err = removeIfUnfinished(stream, filepath.Join(stream, "msgs"))
	return err
}

// removeIfUnfinished removes a directory of the server's that has no checksum and nothing but descriptions; data is
// where other files would be.
func removeIfUnfinished(dir, data string) (removed bool, err error) {
	if _, err = os.Stat(filepath.Join(dir, server.JetStreamMetaFileSum)); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	files, err := entries(data)
	if err != nil {
		return false, err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return false, fmt.Errorf("embedded: look at the store: %w", err)
		}
		switch strings.TrimSuffix(filepath.Base(file), ".tmp") {
		case server.JetStreamMetaFile, server.JetStreamMetaFileSum, server.JetStreamMetaFileKey:
			continue
		}
		if info.IsDir() || info.Size() > 0 {
			return false, nil
		}
	}
	if err = os.RemoveAll(dir); err != nil {
		return false, fmt.Errorf("embedded: remove an unfinished stream or consumer: %w", err)
	}
	return true, nil
}

// mendChecksum writes the checksum of a stream's description that was replaced when its checksum was not yet.
func mendChecksum(stream string) error {
	meta, sum := filepath.Join(stream, server.JetStreamMetaFile), filepath.Join(stream, server.JetStreamMetaFileSum)
	younger, err := isYounger(meta, sum)
	if err != nil || !younger {
		return err
	}
	description, err := os.ReadFile(meta)
	if err != nil {
		return fmt.Errorf("embedded: look at the store: %w", err)
	}
	if !json.Valid(description) {
		return nil
	}
	key := sha256.Sum256([]byte(filepath.Base(stream))) // as the server has it
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return err
	}
	if _, err = hash.Write(description); err != nil {
		return err
	}
	if err = replaceFile(sum, []byte(hex.EncodeToString(hash.Sum(nil))), true); err != nil {
		return fmt.Errorf("embedded: finish the change of a stream: %w", err)
	}
	return nil
}

// isYounger says whether both files are there and a was written after b.
func isYounger(a, b string) (bool, error) {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if err := errors.Join(errA, errB); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("embedded: look at the store: %w", err)
	}
	return infoA.ModTime().After(infoB.ModTime()), nil
}

// entries lists the paths in a directory, none if it is not there or not a directory.
func entries(dir string) ([]string, error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: look at the store: %w", err)
	}
	paths := make([]string, len(list))
	for i, entry := range list {
		paths[i] = filepath.Join(dir, entry.Name())
	}
	return paths, nil
}
