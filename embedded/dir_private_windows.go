package embedded

import "io/fs"

// tooOpen finds nothing on Windows, where the mode says nothing: the directory's access control list decides, which
// keeps other users out of the per-user default directory.
func tooOpen(fs.FileInfo, fs.FileMode) string { return "" }
