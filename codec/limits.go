package codec

const (
	defaultMaxBytes = 64 << 20
	defaultMaxDepth = 100
	depthCeiling    = 10_000
)

// Limits bounds what a [Format] decodes. The zero value means the defaults.
type Limits struct {
	// MaxBytes is the longest payload accepted, in bytes; -1 means no limit. The broker's own max_payload (1 MiB unless
	// configured, more than 8 MiB draws a warning) bounds what comes in one message: this one is for what is put together
	// from several or comes another way. Defaults to 64 MiB.
	MaxBytes int

	// MaxDepth is the deepest nesting accepted, in containers within each other: `{"a":[1]}` has two. Protobuf counts
	// messages and CBOR cannot be held to fewer than 4. It is what protobuf in other languages and MongoDB accept, so
	// that nothing deeper would be portable. At most 10,000, which -1 means too: that is what encoding/json and protobuf
	// have built in, and each level takes stack. Defaults to 100.
	MaxDepth int
}

func (l Limits) withDefaults() Limits {
	switch {
	case l.MaxBytes == 0:
		l.MaxBytes = defaultMaxBytes
	case l.MaxBytes < 0:
		l.MaxBytes = -1
	}
	switch {
	case l.MaxDepth == 0:
		l.MaxDepth = defaultMaxDepth
	case l.MaxDepth < 0 || l.MaxDepth > depthCeiling:
		l.MaxDepth = depthCeiling
	}
	return l
}
