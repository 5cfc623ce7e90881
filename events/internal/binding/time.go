package binding

import "time"

// FormatTime returns the canonical form of a time: RFC 3339 in UTC.
func FormatTime(t time.Time) string {
	var buf [len(time.RFC3339Nano)]byte
	return string(t.UTC().AppendFormat(buf[:0], time.RFC3339Nano))
}

// parseTime reads an RFC 3339 time. Package time reads more than that, a comma before the fraction and hours of one digit,
// and less: neither lower-case letters nor a leap second, which is the first moment of the next minute here. What is
// smaller than a nanosecond is cut off.
func parseTime(s string) (time.Time, error) {
	t, ok := rfc3339(s)
	if !ok {
		return time.Time{}, invalid("time", "%q is not an RFC 3339 time", bounded(s))
	}
	return t, nil
}

func rfc3339(s string) (time.Time, bool) {
	const shape = "0000-00-00T00:00:00"
	if len(s) <= len(shape) || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	century, ok0 := digits(s[0:2], 99)
	year, ok1 := digits(s[2:4], 99)
	month, ok2 := digits(s[5:7], 12)
	day, ok3 := digits(s[8:10], 31)
	hour, ok4 := digits(s[11:13], 23)
	minute, ok5 := digits(s[14:16], 59)
	second, ok6 := digits(s[17:19], 60)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || month == 0 || day == 0 {
		return time.Time{}, false
	}
	year += century * 100
	nanos, zone, ok := fraction(s[len(shape):])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := zoneOffset(zone)
	if !ok {
		return time.Time{}, false
	}
	if day > 28 && time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second-offset, nanos, time.UTC), true
}

// digits reads a number of two digits that is not greater than most.
func digits(s string, most int) (int, bool) {
	hi, lo := s[0]-'0', s[1]-'0'
	n := int(hi)*10 + int(lo)
	return n, hi <= 9 && lo <= 9 && n <= most
}

func fraction(s string) (nanos int, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	i, unit := 1, int(time.Second)
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		unit /= 10
		nanos += int(s[i]-'0') * unit
	}
	return nanos, s[i:], i > 1
}

// zoneOffset reads Z or an offset from UTC and returns it in seconds.
func zoneOffset(s string) (int, bool) {
	if len(s) == 1 {
		return 0, s[0]|0x20 == 'z'
	}
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	h, ok1 := digits(s[1:3], 23)
	m, ok2 := digits(s[4:6], 59)
	offset := h*3600 + m*60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ok1 && ok2
}
