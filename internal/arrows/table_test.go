package arrows_test

// A room is a package of this module and what its files may import. The table below is DESIGN.md's house table with the
// outside world added: a package that is not in it, an import that its room does not name, and a new dependency all fail
// until someone writes them down here.
type room struct {
	// path is the package's directory, "." for the root; a trailing "/*" stands for the directories below.
	path string
	// own lists the packages of this module that the room may import, in the same notation. Being listed is not
	// inherited: what a room gets through another one is held by that one's own row.
	own []string
	// modules lists the dependencies that the room may import, each by a prefix of import paths.
	modules []string
	// why is printed with a violation.
	why string
}

const (
	natsClient = "github.com/nats-io/nats.go"
	natsServer = "github.com/nats-io/nats-server/v2"
	nkeys      = "github.com/nats-io/nkeys"
	nuid       = "github.com/nats-io/nuid"
	cloudEvent = "github.com/cloudevents/sdk-go/v2"
	protobuf   = "google.golang.org/protobuf"
	xsys       = "golang.org/x/sys"
	testify    = "github.com/stretchr/testify"
	goleak     = "go.uber.org/goleak"
)

// wire is what every part that talks on subjects stands on.
var wire = []string{"internal/subject", "internal/identity", "internal/outcome", "internal/violation"}

func house() []room {
	return []room{
		{
			path: ".", own: append([]string{"embedded", "events", "rpc", "codec", "internal/loglevel"}, wire...),
			// natscontext reads the files of the nats command: their format is not ours to follow by hand.
			modules: []string{natsClient, nuid, "github.com/synadia-io/orbit.go/natscontext"},
			why:     "the root wires the parts together and is imported by none of them",
		},
		{
			// highwayhash is what the server signs the files of its store with; see embedded/dir_leftover.go.
			path: "embedded", own: []string{"internal/loglevel"}, modules: []string{natsServer, natsClient, nkeys, nuid, xsys, "github.com/minio/highwayhash"},
			why: "the broker knows nothing of what runs on it",
		},
		{
			path: "events", own: append([]string{"codec", "events/internal/*"}, wire...), modules: []string{natsClient, nuid, cloudEvent},
			why: "events stands alone on a connection: no server, no rpc, no root",
		},
		{
			path: "events/internal/binding", modules: []string{natsClient, cloudEvent},
			why: "the binding of CloudEvents to NATS messages knows neither streams nor codecs",
		},
		{
			path: "rpc", own: append([]string{"codec"}, wire...), modules: []string{natsClient, nuid},
			why: "rpc stands alone on a connection: no server, no events, no root",
		},
		{
			path: "codec", modules: []string{protobuf, "github.com/vmihailenco/msgpack/v5", "github.com/fxamacker/cbor/v2"},
			why: "codec is pure: encoders and nothing else",
		},
		{
			path: "codec/bson", own: []string{"codec"}, modules: []string{"go.mongodb.org/mongo-driver/v2/bson"},
			why: "heavy encoders live apart so that only those who import them pay",
		},
		{
			path: "codec/codectest", own: []string{"codec"},
			why: "what every codec has to keep, for ours and for a user's",
		},
		{path: "internal/subject", why: "names are pure: the standard library is enough"},
		{path: "internal/identity", why: "a value in a context needs nothing"},
		{path: "internal/outcome", why: "a sentinel needs nothing"},
		{
			path: "internal/violation", modules: []string{natsClient},
			why: "it reads what the client's errors say",
		},
		{path: "internal/loglevel", why: "a filter of log records needs nothing"},
		{path: "internal/arrows", why: "only tests live here"},
		{
			path: "embedded/embeddedtest", own: []string{"embedded"}, modules: []string{natsServer, natsClient},
			why: "the test kit that stands lowest: everything above embedded is tested with it",
		},
		{
			path: "hockettest", own: []string{".", "embedded", "embedded/embeddedtest", "events", "rpc", "codec"},
			modules: []string{natsServer, natsClient},
			why:     "the test kit for users: above all, imported by nothing that ships",
		},
		{
			path: "examples/*", own: []string{".", "embedded", "events", "rpc", "codec", "codec/bson", "hockettest", "examples/*"},
			modules: []string{natsClient},
			why:     "an example imports what a user can",
		},
	}
}

// inTests is what test files may import on top of their room's row. They may import any package of this module but
// the root and hockettest, which only rooms whose row names them, the root and its tests may: a room below is tested on its
// own, with embedded/embeddedtest.
var inTests = []string{testify, goleak, natsClient, natsServer, nkeys, nuid, cloudEvent, protobuf}
