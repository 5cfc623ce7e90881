package embedded

import (
	"bytes"
	"fmt"
	"os"
)

// stopped says whether the process is seen to be stopped, by a signal or a debugger.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// "42 (name) T ...": the name may hold anything, so the state follows the last parenthesis.
	_, after, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	return ok && len(after) > 0 && (after[0] == 'T' || after[0] == 't')
}
