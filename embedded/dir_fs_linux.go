package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// statFS knows the file systems that matter; any other is a local disk.
//
// 9p and virtiofs are let through although they can be shared: they are the root disk of many virtual machines and
// sandboxes (WSL, gVisor, Kata, Docker Desktop), and within one such machine locks and syncs hold. Two machines must not
// run brokers on one directory of their host.
func statFS(dir string) (fsKind, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fsKind{}, err
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return fsKind{name: "nfs", remote: true}, nil
	case unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return fsKind{name: "smb", remote: true}, nil
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return fsKind{name: "afs", remote: true}, nil
	case unix.CODA_SUPER_MAGIC:
		return fsKind{name: "coda", remote: true}, nil
	case unix.NCP_SUPER_MAGIC:
		return fsKind{name: "ncp", remote: true}, nil
	case unix.CEPH_SUPER_MAGIC:
		return fsKind{name: "ceph", remote: true}, nil
	case unix.OCFS2_SUPER_MAGIC:
		return fsKind{name: "ocfs2", remote: true}, nil
	case 0x01161970: // not in package unix, as the next three
		return fsKind{name: "gfs2", remote: true}, nil
	case 0x0bd00bd0:
		return fsKind{name: "lustre", remote: true}, nil
	case 0x47504653:
		return fsKind{name: "gpfs", remote: true}, nil
	case 0x19830326:
		return fsKind{name: "beegfs", remote: true}, nil
	case unix.FUSE_SUPER_MAGIC:
		return statFuse(dir)
	case unix.TMPFS_MAGIC:
		return fsKind{name: "tmpfs", ephemeral: "it lives in memory and ends with the machine or the container"}, nil
	case unix.RAMFS_MAGIC:
		return fsKind{name: "ramfs", ephemeral: "it lives in memory and ends with the machine or the container"}, nil
	case unix.OVERLAYFS_SUPER_MAGIC, 0x61756673: // aufs
		return fsKind{name: "overlay", ephemeral: "it ends with the container, unless a volume is mounted there"}, nil
	}
	return fsKind{name: "a local disk"}, nil
}

// statFuse tells the programs behind FUSE apart, which share one magic number, by the type in the mount table.
func statFuse(dir string) (fsKind, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, os.ErrNotExist) {
		return fsKind{name: "fuse"}, nil // no /proc, nothing known
	}
	if err != nil {
		return fsKind{}, err
	}
	var st unix.Stat_t
	if err = unix.Stat(dir, &st); err != nil {
		return fsKind{}, err
	}
	device := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))) //nolint:unconvert // 32 bits on some
	return fuseKind(mountType(table, device)), nil
}

// mountType finds the type of the file system of a device ("0:52") in the format of /proc/self/mountinfo.
func mountType(table []byte, device string) string {
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 3 || fields[2] != device {
			continue
		}
		name, _, _ := strings.Cut(after, " ")
		return name
	}
	return ""
}

// fuseKind refuses the FUSE programs that are known to reach over a network; others are local translations.
func fuseKind(mountType string) fsKind {
	kind := fsKind{name: mountType}
	if kind.name == "" {
		kind.name = "fuse"
	}
	switch strings.TrimPrefix(mountType, "fuse.") {
	case "sshfs", "curlftpfs", "davfs", "davfs2", "smbnetfs", "afpfs", "rclone", "s3fs", "s3ql", "goofys", "gcsfuse",
		"mountpoint-s3", "blobfuse", "blobfuse2", "juicefs", "geesefs", "glusterfs", "ceph", "ceph-fuse", "rbd-fuse",
		"seaweedfs", "mfs", "moosefs", "lizardfs", "saunafs", "beegfs", "cvmfs", "cvmfs2", "hdfs", "fuse_dfs",
		"alluxio-fuse", "google-drive-ocamlfuse", "onedriver", "gvfsd-fuse", "kio-fuse":
		kind.remote = true
	case "fuse-overlayfs":
		kind.ephemeral = "it ends with the container, unless a volume is mounted there"
	}
	return kind
}
