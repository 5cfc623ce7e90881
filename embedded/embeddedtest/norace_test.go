//go:build !race

package embeddedtest_test

const raceEnabled = false
