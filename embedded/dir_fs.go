package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fsKind is what matters here about a file system.
type fsKind struct {
	name      string // "nfs"
	remote    bool   // other machines may write to it: neither lock nor sync can be relied on
	ephemeral string // why what it stores ends with the container or the boot, "" if it does not
}

// Ephemeral tells whether what is stored below dir ends with the container or the boot however well it is synced, and
// why, in words for a log. dir need not exist yet. A file system that cannot be looked at counts as lasting.
//
// On Linux that is tmpfs and ramfs, which live in memory, and overlay and aufs, which are the writable layer of a
// container (a volume that is mounted into it is none of these). On macOS it is tmpfs, elsewhere nothing is known.
func Ephemeral(dir string) (bool, string) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return false, ""
	}
	for {
		_, err = os.Stat(abs)
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(abs) == abs {
			break
		}
		abs = filepath.Dir(abs)
	}
	kind, err := statFS(abs)
	if err != nil || kind.ephemeral == "" {
		return false, ""
	}
	return true, fmt.Sprintf("%s is on %s: %s", dir, kind.name, kind.ephemeral)
}

// networkFS names the file system that dir lies on and says whether it is a network file system.
func networkFS(dir string) (name string, remote bool, err error) {
	kind, err := statFS(dir)
	return kind.name, kind.remote, err
}
