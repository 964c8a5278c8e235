package libvirt

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// target is where a daemon is to be found, and what it is asked for.
type target struct {
	sockets []string // tried in turn until one is there
	driver  string   // "qemu:///system"
}

// The drivers that are spoken to.
const (
	driverSystem  = "qemu:///system"
	driverSession = "qemu:///session"
)

// The daemon of the whole machine: libvirtd, or virtqemud where the drivers are
// daemons of their own (libvirt.org/daemons.html).
var systemSockets = [...]string{"/var/run/libvirt/libvirt-sock", "/var/run/libvirt/virtqemud-sock"}

// parseURI understands the part of libvirt's URIs (libvirt.org/uri.html) that
// stays on this machine, and unix:///SOCKET for short.
func parseURI(s string) (target, error) {
	fail := func(why string) (target, error) {
		return target{}, fmt.Errorf("libvirt URI %q: %s; use qemu:///system, qemu:///session, qemu+unix:///system?socket=PATH or unix:///PATH", s, why)
	}
	if s == "" {
		return target{systemSockets[:], driverSystem}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return fail("it is no URI")
	}
	if u.Host != "" || u.User != nil {
		return fail(fmt.Sprintf("it names the host %q, and only the libvirt of this machine is spoken to: run ofctl-lab there", u.Host))
	}
	if u.Scheme == "unix" {
		if u.Path == "" || strings.HasSuffix(u.Path, "/") || u.RawQuery != "" || u.Fragment != "" {
			return fail("unix:// takes the absolute path of a socket, and nothing after it")
		}
		return target{[]string{u.Path}, driverSystem}, nil
	}
	if u.Scheme != "qemu" && u.Scheme != "qemu+unix" {
		return fail(fmt.Sprintf("the scheme %q is not known", u.Scheme))
	}
	t := target{driver: "qemu://" + u.Path}
	switch t.driver {
	case driverSystem:
		t.sockets = systemSockets[:]
	case driverSession:
		run := os.Getenv("XDG_RUNTIME_DIR")
		if run == "" {
			run = fmt.Sprintf("/run/user/%d", os.Getuid())
		}
		t.sockets = []string{filepath.Join(run, "libvirt/libvirt-sock"), filepath.Join(run, "libvirt/virtqemud-sock")}
	default:
		return fail(fmt.Sprintf("the path %q is neither /system nor /session", u.Path))
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("what is after the ? cannot be read")
	}
	for key, values := range q {
		if key != "socket" || len(values) != 1 || !filepath.IsAbs(values[0]) {
			return fail(fmt.Sprintf("of parameters it takes one socket=PATH, absolute, not %s", key))
		}
		t.sockets = values
	}
	return t, nil
}
