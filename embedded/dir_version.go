package embedded

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// version is a semantic version: three numbers and what follows the first hyphen.
type version struct {
	numbers    [3]uint64
	prerelease []string
}

// parseVersion reads "2.15.2", "v2.15.2", "2.16.0-RC.1" or "2.16.0-dev+build"; build metadata has no rank.
func parseVersion(s string) (version, error) {
	var v version
	core, _, _ := strings.Cut(strings.TrimPrefix(s, "v"), "+")
	core, pre, isPre := strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	if len(parts) != len(v.numbers) {
		return version{}, fmt.Errorf("embedded: version %q is not of the form 1.2.3", s)
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return version{}, fmt.Errorf("embedded: version %q is not of the form 1.2.3", s)
		}
		v.numbers[i] = n
	}
	if isPre {
		v.prerelease = strings.Split(pre, ".")
	}
	return v, nil
}

// compareVersions orders as semantic versioning does: -1, 0 or 1.
func compareVersions(a, b string) (int, error) {
	va, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	vb, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	for i := range va.numbers {
		if c := cmp.Compare(va.numbers[i], vb.numbers[i]); c != 0 {
			return c, nil
		}
	}
	switch { // a release follows its pre-releases
	case len(va.prerelease) == 0:
		return cmp.Compare(len(vb.prerelease), 0), nil
	case len(vb.prerelease) == 0:
		return -1, nil
	}
	for i := range min(len(va.prerelease), len(vb.prerelease)) {
		if c := comparePrerelease(va.prerelease[i], vb.prerelease[i]); c != 0 {
			return c, nil
		}
	}
	return cmp.Compare(len(va.prerelease), len(vb.prerelease)), nil
}

// comparePrerelease orders one identifier: numbers by value and before words.
func comparePrerelease(a, b string) int {
	na, errA := strconv.ParseUint(a, 10, 64)
	nb, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(na, nb)
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return strings.Compare(a, b)
}
