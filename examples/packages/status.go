package main

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/hocket-go/hocket/examples/packages/contract"
)

// maxLine is the longest line that is read; descriptions and checksums are far below.
const maxLine = 1 << 20

// records reads a file in the format of /var/lib/dpkg/status: paragraphs of "Field: value" lines, a value going on in lines
// that begin with a space (deb-control(5)). What is no such line is kept as it is, under its own text, for the service to
// refuse; only reading can fail.
func records(in io.Reader) iter.Seq2[contract.Record, error] {
	return func(yield func(contract.Record, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, maxLine)
		record := contract.Record{Fields: map[string]string{}}
		field, n := "", 0
		for lines.Scan() {
			n++
			line := lines.Text()
			switch {
			case strings.TrimSpace(line) == "":
				if len(record.Fields) > 0 && !yield(record, nil) {
					return
				}
				record, field = contract.Record{Fields: map[string]string{}}, ""
				continue
			case (line[0] == ' ' || line[0] == '\t') && field != "":
				record.Fields[field] += "\n" + line[1:]
				continue
			case len(record.Fields) == 0:
				record.Line = n
			}
			name, value, _ := strings.Cut(line, ":")
			field = strings.TrimSpace(name)
			record.Fields[field] = strings.TrimSpace(value)
		}
		if err := lines.Err(); err != nil {
			yield(contract.Record{}, fmt.Errorf("line %d: %w", n+1, err))
			return
		}
		if len(record.Fields) > 0 {
			yield(record, nil)
		}
	}
}
