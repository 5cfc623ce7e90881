package events

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

const uuidLength = 36

// appendID appends a new id, a UUID of version 7 (RFC 9562): the time in milliseconds, so that ids sort roughly by age, and
// 74 random bits, so that nobody can guess one. crypto/rand never fails; it ends the program instead.
func appendID(dst []byte, now time.Time) []byte {
	var u [16]byte
	_, _ = rand.Read(u[6:])
	ms := uint64(max(now.UnixMilli(), 0))
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	u[6] = u[6]&0x0f | 0x70 // version 7
	u[8] = u[8]&0x3f | 0x80 // the variant of RFC 9562
	var b [uuidLength]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return append(dst, b[:]...)
}
