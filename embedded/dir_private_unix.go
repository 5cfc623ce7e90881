//go:build unix

package embedded

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// tooOpen says in words why others than this user may do with the file what mask forbids them, "" if they may not. Root
// may do anything anyway, so what belongs to root is as good as what belongs to this user.
func tooOpen(info fs.FileInfo, mask fs.FileMode) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to user %d, this is user %d", st.Uid, os.Geteuid())
	}
	if perm := info.Mode().Perm(); perm&mask != 0 {
		return fmt.Sprintf("has mode %#o", perm)
	}
	return ""
}
