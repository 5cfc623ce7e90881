package embedded

import "errors"

// What can be wrong with a data directory. Every error that matches one of these names the directory and, where there
// is one, the process that owns it.
var (
	// ErrOwned says that another broker holds the data directory: [Start] finds any owner there, [Join] finds one that
	// does not share.
	ErrOwned = errors.New("embedded: data directory has another owner")

	// ErrOwnerUnresponsive says that the owner of a shared directory holds its lock but does not answer, because it
	// was stopped or hangs, or has not come as far as serving. Nobody can take over before that process goes on or
	// ends. Returned by [Join], [Shared.Connect] and [Shared.InProcessConn].
	ErrOwnerUnresponsive = errors.New("embedded: owner of the data directory does not respond")

	// ErrNewerStore says that a newer broker or a newer Hocket wrote the directory, so that this program must not
	// serve it. It may still be a member while a newer program owns it.
	ErrNewerStore = errors.New("embedded: data directory was written by a newer version")

	// ErrNetworkFS says that the data directory lies on a network file system, where neither the lock nor a sync can
	// be relied on.
	ErrNetworkFS = errors.New("embedded: data directory is on a network file system")

	// ErrInsecureDir says that others than the user of this process can read the directory's secret or replace it.
	ErrInsecureDir = errors.New("embedded: data directory is open to other users")

	// ErrCorruptDir says that a file which Hocket keeps in the directory cannot be understood. It is never repaired
	// silently: the error names the file.
	ErrCorruptDir = errors.New("embedded: data directory is corrupt")
)
