package codec

// Codec encodes and decodes values. It is all that a format of one's own needs; [NewFormat] gives it a name.
//
// An implementation must be safe for concurrent use. What Marshal returns belongs to the caller. Unmarshal gets a non-nil
// pointer when called through a [Format]; it must neither keep nor change data, and should refuse bytes left over.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// Appender is what a [Codec] may implement as well, to encode into memory that the caller has: AppendMarshal appends the
// encoding of v to dst and returns the longer slice. On an error the bytes of dst up to its length are as before.
type Appender interface {
	AppendMarshal(dst []byte, v any) ([]byte, error)
}

// DepthLimiter is what a [Codec] may implement as well, so that [Limits.MaxDepth] applies to it. LimitDepth returns a codec
// that does the same but refuses, with an error matching [ErrTooDeep], what is nested in more than levels containers. It
// is called when a [Format] is made, not for each payload; levels is between 1 and 10,000.
type DepthLimiter interface {
	LimitDepth(levels int) Codec
}
