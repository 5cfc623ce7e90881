package embedded

import "golang.org/x/sys/windows"

// statFS tells network drives and shares from local ones.
func statFS(dir string) (fsKind, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return fsKind{}, err
	}
	volume := make([]uint16, windows.MAX_LONG_PATH)
	if err = windows.GetVolumePathName(path, &volume[0], uint32(len(volume))); err != nil {
		return fsKind{}, err
	}
	if windows.GetDriveType(&volume[0]) == windows.DRIVE_REMOTE {
		return fsKind{name: "a network drive", remote: true}, nil
	}
	return fsKind{name: "a local disk"}, nil
}
