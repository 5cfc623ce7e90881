package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// storeFormat is the version of what Hocket itself keeps in a data directory.
const storeFormat = 1

// OwnerInfo says which process holds a data directory, in that process's own words: [Shared.Owner] returns it and the
// directory's owner.json holds it.
type OwnerInfo struct {
	ID           string        `json:"id"`                  // random, new for every start
	PID          int           `json:"pid"`                 // for people; nothing is decided by it
	Program      string        `json:"program"`             // the executable's name without its path
	Host         string        `json:"host"`                // host name
	Broker       string        `json:"broker"`              // version of the NATS server
	Format       int           `json:"format"`              // version of Hocket's own files
	StartedAt    time.Time     `json:"started_at"`          // when it took the lock
	SyncInterval time.Duration `json:"sync_interval"`       // as in [Options], in nanoseconds
	Exclusive    bool          `json:"exclusive,omitempty"` // made by [Start]: nobody can join
	Address      string        `json:"address,omitempty"`   // host and port, "" until it serves and if exclusive
	ServerID     string        `json:"server_id,omitempty"` // how the server at Address names itself
}

// String is made for errors: `pid 42 (orders on host-1)`.
func (o OwnerInfo) String() string {
	return fmt.Sprintf("pid %d (%s on %s)", o.PID, o.Program, o.Host)
}

// serving says whether members can connect.
func (o OwnerInfo) serving() bool { return o.Address != "" }

// newOwnerInfo describes this process.
func newOwnerInfo() OwnerInfo {
	o := OwnerInfo{
		ID:        rand.Text(),
		PID:       os.Getpid(),
		Program:   "unknown",
		Host:      "unknown",
		Broker:    server.VERSION,
		Format:    storeFormat,
		StartedAt: time.Now().UTC(),
	}
	if exe, err := os.Executable(); err == nil {
		o.Program = filepath.Base(exe)
	}
	if host, err := os.Hostname(); err == nil {
		o.Host = host
	}
	return o
}

// readOwner reads the record. It means something only while the lock is held.
func readOwner(dir string) (OwnerInfo, error) {
	var o OwnerInfo
	if err := readJSON(filepath.Join(dir, recordFileName), &o); err != nil {
		return OwnerInfo{}, err
	}
	if o.ID == "" || o.PID <= 0 {
		return OwnerInfo{}, fmt.Errorf("%w: %s names no owner", ErrCorruptDir, filepath.Join(dir, recordFileName))
	}
	return o, nil
}

// storeInfo is what store.json holds: the newest versions that ever served the data.
type storeInfo struct {
	Broker string `json:"broker"`
	Format int    `json:"format"`
}

// readStore answers nil without an error for a directory that holds none: a new one.
func readStore(dir string) (*storeInfo, error) {
	var s storeInfo
	err := readJSON(filepath.Join(dir, storeFileName), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // absence is an answer here, not a failure
	}
	if err != nil {
		return nil, err
	}
	if _, err = parseVersion(s.Broker); err != nil || s.Format <= 0 {
		return nil, fmt.Errorf("%w: %s holds broker version %q and format %d, neither may be empty",
			ErrCorruptDir, filepath.Join(dir, storeFileName), s.Broker, s.Format)
	}
	return &s, nil
}

// checkStore refuses ([ErrNewerStore]) that self serves what a newer version wrote.
func checkStore(dir string, self OwnerInfo) error {
	s, err := readStore(dir)
	if err != nil || s == nil {
		return err
	}
	if s.Format > self.Format {
		return fmt.Errorf("%w: %s has format %d, this program knows %d", ErrNewerStore, dir, s.Format, self.Format)
	}
	c, err := compareVersions(s.Broker, self.Broker)
	if err != nil {
		return err
	}
	if c > 0 {
		return fmt.Errorf("%w: %s was served by broker %s, this program has %s", ErrNewerStore, dir, s.Broker, self.Broker)
	}
	return nil
}

// writeStore records the versions of self, which checkStore has passed.
func writeStore(dir string, self OwnerInfo) error {
	want := storeInfo{Broker: self.Broker, Format: self.Format}
	have, err := readStore(dir)
	if err != nil {
		return err
	}
	if have != nil && *have == want {
		return nil
	}
	if err = writeJSON(filepath.Join(dir, storeFileName), want, true); err != nil {
		return fmt.Errorf("embedded: record the broker's version in data directory %s: %w", dir, err)
	}
	return nil
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorruptDir, name, err)
	}
	return nil
}

func writeJSON(name string, v any, durable bool) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(name, append(b, '\n'), durable)
}

// replaceFile writes a file of mode 0600 that readers see either as it was or complete. With durable, also after a loss
// of power.
func replaceFile(name string, content []byte, durable bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp") // CreateTemp's mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	if !durable || runtime.GOOS == "windows" { // Windows cannot sync a directory
		return nil
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
