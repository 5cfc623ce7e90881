package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const mountTable = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:31 / /mnt/far rw,nosuid - fuse.sshfs user@host:/ rw,user_id=0
37 22 0:32 / /mnt/win rw - fuseblk /dev/sdb1 rw
38 22 0:33 / /mnt/host rw - virtiofs host rw
39 22 0:34 /x /mnt/odd\040name rw - fuse.fuse-overlayfs fuse-overlayfs rw
broken line
`

func TestFuseProgramsThatReachOverANetworkAreRefused(t *testing.T) {
	t.Parallel()
	for device, want := range map[string]fsKind{
		"0:31": {name: "fuse.sshfs", remote: true},
		"0:32": {name: "fuseblk"},
		"0:33": {name: "virtiofs"},
		"0:34": {name: "fuse.fuse-overlayfs", ephemeral: "it ends with the container, unless a volume is mounted there"},
		"0:99": {name: "fuse"},
	} {
		require.Equal(t, want, fuseKind(mountType([]byte(mountTable), device)), device)
	}
}

func TestEphemeralIsToldOfMemoryAlsoBeforeTheDirectoryExists(t *testing.T) {
	t.Parallel()
	const shm = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(shm, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs here")
	}
	dir := filepath.Join(shm, "hocket-never-made", "below")
	yes, why := Ephemeral(dir)
	require.True(t, yes)
	require.Contains(t, why, dir)
	require.Contains(t, why, "memory")
	require.NoDirExists(t, dir)
	proc, _ := Ephemeral("/proc")
	require.False(t, proc)
}

func TestStoppedIsNotSaidOfARunningProcess(t *testing.T) {
	t.Parallel()
	require.False(t, stopped(os.Getpid()))
	require.False(t, stopped(1<<30))
}
