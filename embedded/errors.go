package embedded

import "errors"

// Why a broker does not start or does not answer. Every error names the option, file, directory or address that it is
// about; what can be wrong with a data directory has sentinels of its own, from [ErrOwned] to [ErrCorruptDir].
var (
	// ErrOptions says that an option, or a combination of options, cannot work. [Start] and [Join] return it before
	// they touch the data directory.
	ErrOptions = errors.New("embedded: invalid options")

	// ErrNoDir says that there is no data directory to default to: neither HOCKET_DATA nor the user's home is known.
	// Returned by [DefaultDir], [Start] and [Join].
	ErrNoDir = errors.New("embedded: no data directory")

	// ErrUnwritable says that the data directory, or one that it needs inside, cannot be made or written.
	ErrUnwritable = errors.New("embedded: data directory is not writable")

	// ErrTLS says that certificate, key or CA files cannot be read or do not belong together.
	ErrTLS = errors.New("embedded: bad TLS files")

	// ErrPortInUse says that another process, or another broker of this one, listens on the port.
	ErrPortInUse = errors.New("embedded: port is in use")

	// ErrStart says that the broker did not come up for a reason that has no sentinel of its own, or not in time. The
	// error holds what the server logged.
	ErrStart = errors.New("embedded: broker did not start")

	// ErrClosed says that the broker was shut down. Returned by [Broker.Connect] and [Broker.InProcessConn].
	ErrClosed = errors.New("embedded: broker is closed")
)
