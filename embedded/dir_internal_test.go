package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionsAreOrderedAsSemanticVersioningHasThem(t *testing.T) {
	t.Parallel()
	ascending := []string{
		"1.99.99", "2.0.0-alpha", "2.0.0-alpha.1", "2.0.0-alpha.beta", "2.0.0-beta", "2.0.0-beta.2", "2.0.0-beta.11",
		"2.0.0-rc.1", "2.0.0", "2.0.1", "2.9.25", "2.10.0", "2.15.2", "2.16.0-dev", "2.16.0", "10.0.0",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			c, err := compareVersions(a, "v"+b+"+build.7")
			require.NoError(t, err)
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			require.Equal(t, want, c, "%s against %s", a, b)
		}
	}
	for _, bad := range []string{"", "2", "2.15", "2.15.x", "2.15.2.1", "-1.0.0", "two"} {
		_, err := parseVersion(bad)
		require.ErrorContains(t, err, "1.2.3", bad)
		require.ErrorContains(t, err, bad)
	}
}

func TestLockIsExclusiveAlsoWithinOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := lockDir(dir, newOwnerInfo())
	require.NoError(t, err)
	_, err = lockDir(dir, newOwnerInfo())
	require.ErrorIs(t, err, errLocked)
	require.NoError(t, first.close())
	second, err := lockDir(dir, newOwnerInfo())
	require.NoError(t, err)
	require.NoError(t, second.close())
	require.NoFileExists(t, filepath.Join(dir, recordFileName))
}

func TestReplacedFileIsNeverSeenHalfWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	require.NoError(t, replaceFile(name, []byte("one"), true))
	require.NoError(t, replaceFile(name, []byte("two"), false))
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
	require.Error(t, replaceFile(filepath.Join(dir, "missing", "file"), nil, true))
}

func TestDirectoryThatIsAFileIsAClearError(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	_, err := prepareDir(name)
	require.ErrorContains(t, err, name)
	_, err = prepareDir(filepath.Join(name, "below"))
	require.ErrorContains(t, err, name)
}
