// Package arrows holds the arrows between the packages of this module: which of them may import which, and which may use
// a dependency. It has no code, only this test and its table. It reads the import clauses of every Go file, whatever the
// file's build tags, so that an arrow that exists on one system alone is seen on all.
package arrows_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/hocket-go/hocket"

// file is one Go file: its path from the root of the module, and what it imports.
type file struct {
	path    string
	imports []string
}

func TestPackagesImportOnlyWhatTheirRoomAllows(t *testing.T) {
	t.Parallel()

	files := readFiles(t, filepath.Join("..", ".."))
	require.NotEmpty(t, files)
	seen := make(map[string]bool) // a package without a row is told once, not for each of its files
	for _, f := range files {
		for _, violation := range check(house(), f) {
			if !seen[violation.Error()] {
				t.Error(violation)
			}
			seen[violation.Error()] = true
		}
	}
}

func TestABrokenArrowIsNamed(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		file file
		want string // part of the one violation; "" for none
	}{
		"rpc links a server": {
			file{"rpc/server.go", []string{natsServer + "/server"}}, "rpc/server.go imports " + natsServer + "/server",
		},
		"rpc's test starts a server": {file{"rpc/server_test.go", []string{natsServer + "/server"}}, ""},
		"events imports the broker": {
			file{"events/bus.go", []string{module + "/embedded"}}, "events/bus.go imports embedded: ",
		},
		"events' test imports the broker's kit": {file{"events/bus_test.go", []string{module + "/embedded/embeddedtest"}}, ""},
		"a part imports the root":               {file{"rpc/client.go", []string{module}}, "rpc/client.go imports .: "},
		"a part's test imports the user's kit":  {file{"rpc/client_test.go", []string{module + "/hockettest"}}, "hockettest"},
		"the root's test imports the user's kit": {
			file{"service_test.go", []string{module + "/hockettest", module}}, "",
		},
		"a test kit ships": {
			file{"service.go", []string{module + "/embedded/embeddedtest"}}, "service.go imports embedded/embeddedtest",
		},
		"a shipping package imports testing": {file{"codec/json.go", []string{"testing"}}, "codec/json.go imports testing"},
		"a shipping package imports a part of testing": {
			file{"codec/json.go", []string{"testing/quick"}}, "codec/json.go imports testing/quick",
		},
		"a test kit imports testing": {file{"embedded/embeddedtest/server.go", []string{"testing"}}, ""},
		"a package without a room":   {file{"util/strings.go", nil}, "util has no row"},
		"a dependency nobody gave a reason for": {
			file{"events/bus.go", []string{"example.com/left/pad"}}, "example.com/left/pad",
		},
		"a dependency whose name begins alike": {file{"rpc/client.go", []string{natsClient + "x"}}, natsClient + "x"},
		"an example reaches inside": {
			file{"examples/quickstart/main.go", []string{module + "/internal/subject"}}, "imports internal/subject",
		},
		"an example uses the library": {file{"examples/quickstart/main.go", []string{"fmt", module, module + "/rpc"}}, ""},
		"a leaf imports a leaf":       {file{"internal/subject/names.go", []string{module + "/internal/identity"}}, "names are pure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := check(house(), tc.file)
			if tc.want == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.ErrorContains(t, got[0], tc.want)
		})
	}
}

// check returns an error for each import of the file that the table does not allow.
func check(table []room, f file) []error {
	dir := path.Dir(f.path)
	at := slices.IndexFunc(table, func(r room) bool { return covers(r.path, dir) })
	if at < 0 {
		return []error{fmt.Errorf("package %s has no row in internal/arrows: say what it may import", dir)}
	}

	var violations []error
	for _, imported := range f.imports {
		if err := table[at].allow(imported, dir, strings.HasSuffix(f.path, "_test.go")); err != nil {
			violations = append(violations, fmt.Errorf("%s imports %w", f.path, err))
		}
	}
	return violations
}

// allow returns nil when a file of the package dir, which is in the room, may import what it does.
func (r room) allow(imported, dir string, inTest bool) error {
	own, isOwn := strings.CutPrefix(imported+"/", module+"/")
	switch {
	case isOwn:
		return r.allowOwn(path.Clean(own), dir, inTest)
	case !strings.Contains(strings.Split(imported, "/")[0], "."):
		if within(imported, "testing") && !inTest && !isKit(dir) {
			return fmt.Errorf("%s: only tests and packages named …test may", imported)
		}
		return nil
	case slices.ContainsFunc(r.modules, func(prefix string) bool { return within(imported, prefix) }):
		return nil
	case inTest && slices.ContainsFunc(inTests, func(prefix string) bool { return within(imported, prefix) }):
		return nil
	default:
		return fmt.Errorf("%s: %s may use [%s]; %s", imported, r.path, strings.Join(r.modules, " "), r.why)
	}
}

func (r room) allowOwn(imported, dir string, inTest bool) error {
	named := slices.ContainsFunc(r.own, func(p string) bool { return covers(p, imported) })
	switch {
	case inTest && (imported == dir || named):
		return nil
	case inTest && (imported == "." || imported == "hockettest") && r.path != ".":
		return fmt.Errorf("%s: below the root, tests stand on embedded/embeddedtest", imported)
	case inTest:
		return nil
	case isKit(imported) && !isKit(dir) && !covers("examples/*", dir):
		return fmt.Errorf("%s: no package that ships imports a test kit", imported)
	case named:
		return nil
	default:
		return fmt.Errorf("%s: %s may import [%s]; %s", imported, r.path, strings.Join(r.own, " "), r.why)
	}
}

// isKit tells whether a package is a test kit, by its name.
func isKit(dir string) bool {
	return strings.HasSuffix(path.Base(dir), "test")
}

// covers tells whether a path of the table stands for a directory.
func covers(pattern, dir string) bool {
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, below+"/")
	}
	return pattern == dir
}

// within tells whether an import path is the prefix or lies below it.
func within(imported, prefix string) bool {
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}

// readFiles returns every Go file of the module, but for what the go command leaves out too and for nested modules.
func readFiles(t *testing.T, root string) []file {
	t.Helper()

	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(mod, []byte("module "+module+"\n")), "%s is not the root of %s", root, module)

	var files []file
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root {
			return skip(name)
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		f, err := parse(root, name)
		files = append(files, f)
		return err
	})
	require.NoError(t, err)
	return files
}

// skip returns [fs.SkipDir] for a directory that is no part of the module.
func skip(dir string) error {
	if base := filepath.Base(dir); base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); !errors.Is(err, fs.ErrNotExist) {
		return fs.SkipDir
	}
	return nil
}

func parse(root, name string) (file, error) {
	syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return file{}, err
	}
	relative, err := filepath.Rel(root, name)
	if err != nil {
		return file{}, err
	}
	f := file{path: filepath.ToSlash(relative)}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, fmt.Errorf("%s: %w", name, err)
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}
