package embedded

import "golang.org/x/sys/windows"

// diskSize is the size in bytes of the volume that holds dir.
func diskSize(dir string) (int64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var available, total, free uint64
	if err = windows.GetDiskFreeSpaceEx(path, &available, &total, &free); err != nil {
		return 0, err
	}
	return int64(total), nil //nolint:gosec // no volume has 8 EiB
}
