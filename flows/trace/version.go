package trace

import (
	"fmt"
	"regexp"
	"strconv"
)

// Version is a version of Open vSwitch, of which some differ in what they do with a
// packet. The zero Version is V31.
type Version struct{ Major, Minor int }

// The versions that the interpreter is held against, and that of a switch which did not say.
var (
	V31            = Version{3, 1}
	V35            = Version{3, 5}
	VersionUnknown = Version{-1, -1}
)

// ParseVersion reads a version as OVSDB has it (column ovs_version) or a program prints it:
// 3.1.0 or "3.5.0-vendor.1".
func ParseVersion(s string) (Version, error) {
	m := versionText.FindStringSubmatch(s)
	if m == nil {
		return VersionUnknown, fmt.Errorf("%.32q is not a version of Open vSwitch like 3.1.0", s)
	}
	major, _ := strconv.Atoi(m[1]) // at most four digits
	minor, _ := strconv.Atoi(m[2])
	return Version{major, minor}, nil
}

var versionText = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})(\D|$)`)

// String is the version as 3.1, also that of the zero Version.
func (v Version) String() string {
	switch v {
	case Version{}:
		v = V31
	case VersionUnknown:
		return "of an unknown version"
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

func (v Version) before(o Version) bool {
	return v.Major < o.Major || v.Major == o.Major && v.Minor < o.Minor
}

// as35 reports whether the switch does something that has changed as Open vSwitch 3.5 does,
// and not as 3.1 does. Older and newer ones are taken to be like the nearest of the two. For
// one in between nobody has tried, so what depends on it is unknown, by name.
func (r *run) as35(what string) bool {
	switch v := r.sw.version; {
	case v == VersionUnknown:
	case v == Version{} || !V31.before(v):
		return false
	case !v.before(V35):
		return true
	}
	r.unknown("Open vSwitch %s may do %s as 3.1 does, or as 3.5 does, which differ", r.sw.version, what)
	return true
}
