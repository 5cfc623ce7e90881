// Package contract holds what the two services of the example share.
package contract

import (
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/rpc"
)

// Record is a package as the status database has it.
type Record struct {
	// Line is where the record begins.
	Line   int               `json:"line"`
	Fields map[string]string `json:"fields"`
}

// Package is a record that was found to be valid, with what it means.
type Package struct {
	Name         string `json:"name"`
	Architecture string `json:"architecture"`
	Version      string `json:"version"`
	Section      string `json:"section"`
	Area         string `json:"area"` // main, contrib or non-free
	Installed    bool   `json:"installed"`
	KiB          int64  `json:"kib"`
	Depends      int    `json:"depends"` // how many other packages it needs
	Line         int    `json:"line"`
}

// Key names a package whatever its version.
func (p Package) Key() string { return p.Name + ":" + p.Architecture }

var (
	// Examine validates a record and says what it means.
	Examine = rpc.NewMethod[Record, Package]("catalog.Examine")
	// Seen says that a package was found. Events of one package are in order.
	Seen = events.NewType[Package]("catalog.package.seen").KeyedBy(Package.Key)
)
