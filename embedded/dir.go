package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files that Hocket keeps in a data directory, beside the server's own "jetstream".
const (
	lockFileName   = "hocket.lock"   // empty; its lock is held as long as a broker runs on the directory
	recordFileName = "owner.json"    // who holds the lock; meaningless while the lock is free
	storeFileName  = "store.json"    // which versions wrote the data
	secretFileName = "hocket.secret" // what members prove themselves with
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// errLocked is what tryLock answers when another open file holds the lock.
var errLocked = errors.New("locked")

// prepareDir makes path absolute and a directory of mode 0700 if there is none yet. It refuses network file systems
// ([ErrNetworkFS]).
func prepareDir(path string) (string, error) {
	if path == "" {
		return "", errors.New("embedded: no data directory given")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("embedded: data directory %q: %w", path, err)
	}
	if err = os.MkdirAll(abs, dirMode); err != nil {
		return "", fmt.Errorf("embedded: make data directory %s: %w", abs, err)
	}
	// One spelling per directory, so that every program shows the same path and a symbolic link hides no file system.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", fmt.Errorf("embedded: data directory: %w", err)
	}
	name, remote, err := networkFS(abs)
	if err != nil {
		return "", fmt.Errorf("embedded: file system of data directory %s: %w", abs, err)
	}
	if remote {
		return "", fmt.Errorf("%w: %s is on %s, use a local disk", ErrNetworkFS, abs, name)
	}
	return abs, nil
}

// dataDir is a data directory whose lock this process holds.
type dataDir struct {
	path  string
	lock  *os.File
	owner OwnerInfo // as last announced
}

// openDir prepares the directory and takes its lock for a broker that no other process can reach through it. The
// caller calls close after the server has fully stopped. Errors: [ErrOwned], [ErrNetworkFS], [ErrNewerStore],
// [ErrCorruptDir], or what the operating system says.
func openDir(path string) (*dataDir, error) {
	abs, err := prepareDir(path)
	if err != nil {
		return nil, err
	}
	self := newOwnerInfo()
	self.Exclusive = true
	d, err := lockDir(abs, self)
	if errors.Is(err, errLocked) {
		return nil, ownedError(abs)
	}
	return d, err
}

// ownedError is the ErrOwned that says who holds the lock of dir.
func ownedError(dir string) error {
	owner, err := readOwner(dir)
	if err != nil {
		return fmt.Errorf("%w: %s is locked by a process that has left no readable %s: %w", ErrOwned, dir, recordFileName, err)
	}
	return fmt.Errorf("%w: %s is held by %s", ErrOwned, dir, owner)
}

// lockDir takes the lock of a prepared directory, checks that self may serve what is stored there, and announces it as
// starting. The error is errLocked when another process, or another open file of this one, holds the lock.
func lockDir(path string, self OwnerInfo) (*dataDir, error) {
	lock, err := openLock(filepath.Join(path, lockFileName))
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock}
	if err = d.begin(self); err != nil {
		return nil, errors.Join(err, unlock(lock))
	}
	return d, nil
}

// openLock opens and locks the lock file.
func openLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("embedded: lock data directory: %w", err)
	}
	if err = tryLock(f); err != nil {
		if errors.Is(err, errLocked) {
			return nil, errors.Join(err, f.Close())
		}
		return nil, errors.Join(fmt.Errorf("embedded: lock %s: %w", name, err), f.Close())
	}
	// Whoever removed the directory between open and lock has left this process with the lock of a file that nobody
	// else will ever find.
	mine, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Stat(name); err == nil && !os.SameFile(mine, there) {
			err = errors.New("replaced while it was being locked")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: lock %s: %w", name, err), unlock(f))
	}
	return f, nil
}

// begin runs first thing under the lock, so that the record of the last owner is not taken for this one's.
func (d *dataDir) begin(self OwnerInfo) error {
	if err := checkStore(d.path, self); err != nil {
		return err
	}
	if err := d.announce(self); err != nil {
		return err
	}
	// Before the server touches anything: a newer one may change what an older one could still read.
	if err := writeStore(d.path, self); err != nil {
		return err
	}
	return settleStore(d.path)
}

// announce replaces the owner record.
func (d *dataDir) announce(self OwnerInfo) error {
	if err := writeJSON(filepath.Join(d.path, recordFileName), self, false); err != nil {
		return fmt.Errorf("embedded: announce the owner of data directory %s: %w", d.path, err)
	}
	d.owner = self
	return nil
}

// close removes the record and gives the lock free. The server must have stopped.
func (d *dataDir) close() error {
	err := os.Remove(filepath.Join(d.path, recordFileName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the directory may be gone as a whole
	}
	if err = errors.Join(err, unlock(d.lock)); err != nil {
		return fmt.Errorf("embedded: release data directory %s: %w", d.path, err)
	}
	return nil
}
