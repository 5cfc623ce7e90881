package embedded

import "golang.org/x/sys/unix"

// statFS asks the kernel, which marks what is not on a local disk.
func statFS(dir string) (fsKind, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fsKind{}, err
	}
	kind := fsKind{name: unix.ByteSliceToString(st.Fstypename[:]), remote: st.Flags&unix.MNT_LOCAL == 0}
	if kind.name == "tmpfs" {
		kind.ephemeral = "it lives in memory and ends with the machine"
	}
	return kind, nil
}
