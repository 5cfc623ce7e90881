package hocket_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the README shows is a program that is built and run with the examples.
func TestTheProgramOfTheReadmeIsTheExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("examples/hello/main.go")
	require.NoError(t, err)
	_, body, found := strings.Cut(string(program), "package main")
	require.True(t, found)
	assert.Contains(t, string(readme), "```go\npackage main"+body+"```\n")
}
