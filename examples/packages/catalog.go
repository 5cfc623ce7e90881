package main

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/hocket-go/hocket/examples/packages/contract"
	"github.com/hocket-go/hocket/rpc"
)

// The forms that Debian's policy prescribes, in 5.6.1 and 5.6.12.
var (
	validName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	validVersion = regexp.MustCompile(`^([0-9]+:)?[0-9A-Za-z.+~:-]+$`)
)

// examine is the service: it validates one record and says what it means.
func examine(_ context.Context, r contract.Record) (contract.Package, error) {
	var none contract.Package
	p := contract.Package{
		Name: r.Fields["Package"], Architecture: r.Fields["Architecture"], Version: r.Fields["Version"], Line: r.Line,
	}
	if !validName.MatchString(p.Name) {
		return none, rpc.Errorf(rpc.InvalidArgument, "line %d: package name %q does not match %v", r.Line, p.Name, validName)
	}
	p.Installed = strings.HasSuffix(r.Fields["Status"], " installed")
	if !p.Installed && p.Version == "" {
		p.Version = "none" // removed, with its configuration left behind or not
	}
	if !validVersion.MatchString(p.Version) {
		return none, rpc.Errorf(rpc.InvalidArgument, "line %d: %s: version %q does not match %v",
			r.Line, p.Name, p.Version, validVersion)
	}
	if size := r.Fields["Installed-Size"]; size != "" {
		kib, err := strconv.ParseInt(size, 10, 64)
		if err != nil || kib < 0 {
			return none, rpc.Errorf(rpc.InvalidArgument, "line %d: %s: installed size %q is no number of KiB", r.Line, p.Name, size)
		}
		p.KiB = kib
	}
	p.Area, p.Section = "main", r.Fields["Section"]
	if area, section, ok := strings.Cut(p.Section, "/"); ok {
		p.Area, p.Section = area, section
	}
	if p.Section == "" {
		p.Section = "unknown"
	}
	for _, field := range []string{"Depends", "Pre-Depends"} {
		if list := r.Fields[field]; list != "" {
			p.Depends += strings.Count(list, ",") + 1
		}
	}
	return p, nil
}
