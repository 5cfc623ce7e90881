package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test binary is the program, too, where it has to be killed.
func TestMain(m *testing.M) {
	if in := os.Getenv("PACKAGES_IN"); in != "" {
		if err := run(context.Background(), in, os.Getenv("PACKAGES_DATA"), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// input writes a status file of n packages and, among them, three records that are wrong.
func input(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Package: pkg%d\nStatus: install ok installed\nSection: non-free/sec%d\nInstalled-Size: 1024\n"+
			"Architecture: all\nVersion: 1:%d.0-1\nDepends: a, b (>= 1)\nDescription: one\n two\n .\n three\n\n", i, i%3, i)
	}
	b.WriteString("Package: Bad_Name\nVersion: 1\n\nPackage: bad-version\nStatus: install ok installed\nVersion: 1 2\n\n" +
		"Package: bad-size\nStatus: install ok installed\nVersion: 1\nInstalled-Size: large\n\n\n\n")
	file := filepath.Join(t.TempDir(), "status")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

func TestRunTwiceAndNothingIsCountedTwice(t *testing.T) {
	t.Parallel()
	in, data := input(t, 200), t.TempDir()
	for i, fresh := range []int{200, 0} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), in, data, &out))
		assert.Contains(t, out.String(), fmt.Sprintf("3 refused; %d were new", fresh), "run %d", i)
		assert.Contains(t, out.String(), "sec0                   67       67.0  pkg99")
		assert.Contains(t, out.String(), "all                   200      200.0  pkg99")
		assert.Contains(t, out.String(), `package name "Bad_Name" does not match`)
		assert.Contains(t, out.String(), `bad-version: version "1 2" does not match`)
		assert.Contains(t, out.String(), `bad-size: installed size "large" is no number of KiB`)
	}
}

func TestKilledInTheMiddleAndRunAgainNothingIsLost(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for what the killed program had in its hands to be delivered again, up to 15 s")
	}
	const packages = 1000
	in, data := input(t, packages), t.TempDir()
	journal := filepath.Join(data, "summary.jsonl")
	counted := func() int {
		content, _ := os.ReadFile(journal) // not there yet at first
		return bytes.Count(content, []byte("\n"))
	}
	for _, enough := range []int{50, 300} {
		program := exec.CommandContext(t.Context(), os.Args[0])
		program.Env = append(os.Environ(), "PACKAGES_IN="+in, "PACKAGES_DATA="+data)
		require.NoError(t, program.Start())
		require.Eventually(t, func() bool { return counted() >= enough }, 20*time.Second, time.Millisecond)
		require.NoError(t, program.Process.Kill())
		require.Error(t, program.Wait())
		require.Less(t, counted(), packages, "it was killed too late to show anything")
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), in, data, &out))
	assert.Contains(t, out.String(), fmt.Sprintf("all                  %d     %d.0  pkg999", packages, packages))
	assert.Equal(t, packages, counted(), "each once")
}

func TestWhatIsWrongWithTheInputIsSaid(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), "/no/such/file", t.TempDir(), nil), "/no/such/file")
	long := filepath.Join(t.TempDir(), "long")
	require.NoError(t, os.WriteFile(long, append([]byte("A: b\n\n"), bytes.Repeat([]byte("x"), maxLine+1)...), 0o600))
	require.ErrorContains(t, run(t.Context(), long, t.TempDir(), nil), "line 3: ")
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "summary.jsonl"), []byte("not JSON\n"), 0o600))
	require.ErrorContains(t, run(t.Context(), input(t, 1), data, nil), "summary.jsonl: byte 0")
}
