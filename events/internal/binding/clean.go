package binding

// clean reports whether s goes into a header and comes out of it as it is: printable ASCII but for space, double quote and
// percent. Such a string is a valid String of the CloudEvents type system as well, so that one look at it answers both
// questions. Most values are clean and all are looked at, so it takes eight bytes at a time: the lowest set bit of an
// expression below is in the first byte that is not clean.
func clean(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, percent, del := w^(ones*'"'), w^(ones*'%'), w^(ones*0x7f)
		below := (w - ones*'!') &^ w
		if (w|below|(quote-ones)&^quote|(percent-ones)&^percent|(del-ones)&^del)&tops != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if mustEscape(s[i]) {
			return false
		}
	}
	return true
}
