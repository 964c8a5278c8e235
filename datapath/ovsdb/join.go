package ovsdb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Target is a connection target of Open vSwitch: tcp:ADDRESS:PORT or
// ssl:ADDRESS:PORT (ovsdb(7), Active Connections). An IPv6 address is written in
// brackets.
type Target struct {
	Proto string // tcp or ssl
	Host  string // an address, without brackets
	Port  uint16
}

// String is the target as Open vSwitch reads it.
func (t Target) String() string {
	return t.Proto + ":" + net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// ParseTarget reads a target. Open vSwitch resolves no names by default,
// so only addresses are accepted.
func ParseTarget(s string) (Target, error) {
	proto, rest, _ := strings.Cut(s, ":")
	if proto != "tcp" && proto != "ssl" {
		return Target{}, fmt.Errorf("target %.64q: it must be tcp:ADDRESS:PORT or ssl:ADDRESS:PORT", s)
	}
	a, err := netip.ParseAddrPort(rest)
	if err != nil || a.Port() == 0 {
		return Target{}, fmt.Errorf("target %.64q: %.64q is no ADDRESS:PORT (IPv6 as [ADDRESS]:PORT)", s, rest)
	}
	return Target{Proto: proto, Host: a.Addr().String(), Port: a.Port()}, nil
}

// JoinSpec is what a host needs to know to join.
type JoinSpec struct {
	Host string     // the host's name
	TEP  netip.Addr // the host's tunnel endpoint address
	// Manager is where the controller listens for OVSDB, usually port 6640, and
	// Controller where it listens for OpenFlow, usually 6653.
	Manager, Controller Target
}

// maxHostName is that of a DNS name.
const maxHostName = 253

func (j JoinSpec) validate() error {
	switch {
	case j.Host == "" || len(j.Host) > maxHostName:
		return fmt.Errorf("host name %.64q: it must have 1 to %d bytes", j.Host, maxHostName)
	case strings.ContainsFunc(j.Host, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("host name %.64q: only printable ASCII without spaces", j.Host)
	case !j.TEP.IsValid() || j.TEP.IsUnspecified() || j.TEP.IsMulticast() || j.TEP.Zone() != "":
		return fmt.Errorf("tunnel endpoint %v of host %s: it must be a unicast address", j.TEP, j.Host)
	}
	if _, err := ParseTarget(j.Manager.String()); err != nil {
		return fmt.Errorf("OVSDB %w", err)
	}
	if _, err := ParseTarget(j.Controller.String()); err != nil {
		return fmt.Errorf("OpenFlow %w", err)
	}
	return nil
}

// managerSettings are the columns of our Manager row: as with the bridge's controller.
// For a manager that is not out-of-band ovs-vswitchd puts hidden flows on every bridge
// without other_config:disable-in-band, so that the connection may pass through it.
const managerSettings = "max_backoff=1000 inactivity_probe=5000 " + managerOutOfBand

const managerOutOfBand = "connection_mode=" + outOfBand

// JoinCommand is the join as one ovs-vsctl command, program first, for a host
// whose Open vSwitch has no manager yet, such as a lab's. On a host that
// has joined before it fails and changes nothing; JoinScript does not.
func JoinCommand(j JoinSpec) ([]string, error) {
	if err := j.validate(); err != nil {
		return nil, err
	}
	command := append([]string{"ovs-vsctl"}, j.identity()...)
	command = append(command, "--")
	return append(command, j.manager()...), nil
}

// identity sets the external_ids.
func (j JoinSpec) identity() []string {
	return []string{
		"set", tableOpenVSwitch, ".",
		"external_ids:" + externalIDHost + "=" + atom(j.Host),
		"external_ids:" + externalIDTEP + "=" + atom(j.TEP.Unmap().String()),
		"external_ids:" + externalIDController + "=" + atom(j.Controller.String()),
	}
}

// manager adds the controller to the managers.
func (j JoinSpec) manager() []string {
	command := []string{"--id=@m", "create", "Manager", "target=" + atom(j.Manager.String())}
	command = append(command, strings.Fields(managerSettings)...)
	return append(command, "external_ids:"+externalIDOwner+"="+ownsManager,
		"--", "add", tableOpenVSwitch, ".", "manager_options", "@m")
}

// forgetManagers removes the managers of ours that satisfy the further condition.
func forgetManagers(condition ...string) string {
	find := append([]string{"ovs-vsctl", "--bare", "--columns=_uuid", "find", "Manager", "external_ids:" + externalIDOwner + "=" + ownsManager}, condition...)
	return "for m in $(" + quote(find) + "); do ovs-vsctl remove " + tableOpenVSwitch + " . manager_options $m; done"
}

// JoinScript is the join as lines for a POSIX shell, ovs-vsctl calls only. It may
// be run any number of times, and again with other addresses. It does not use
// set-manager, which would throw out the managers of others and, run twice,
// break the session that is there: a Manager row of our own is added if there is
// none for the target, and one of ours for another target is removed. The connection is
// made out-of-band also where an older join command was run.
func JoinScript(j JoinSpec) (string, error) {
	if err := j.validate(); err != nil {
		return "", err
	}
	target := j.Manager.String()
	exists := []string{"ovs-vsctl", "get", "Manager", target, "_uuid"}
	return strings.Join([]string{
		quote(append([]string{"ovs-vsctl"}, j.identity()...)),
		forgetManagers("target!=" + atom(target)),
		quote(exists) + " >/dev/null 2>&1 || " + quote(append([]string{"ovs-vsctl", "--"}, j.manager()...)),
		quote([]string{"ovs-vsctl", "set", "Manager", target, managerOutOfBand}),
	}, "\n") + "\n", nil
}

// LeaveScript undoes JoinScript and removes the integration bridge with all that
// is plugged into it; what the controller held down is brought up before. It may be
// run any number of times.
func LeaveScript(bridge string) (string, error) {
	if bridge == "" || len(bridge) > maxInterfaceName {
		return "", errors.New("a bridge's name has 1 to 15 bytes")
	}
	return strings.Join([]string{
		forgetManagers(), // first, since who cannot note it holds nothing
		"for d in $(" + quote([]string{"ovs-vsctl", "--if-exists", "get", tableOpenVSwitch, ".", "external_ids:" + externalIDHeld}) + " | tr -d '\"'); do " +
			quote([]string{"ovs-ofctl", "-O", "OpenFlow13", "mod-port", bridge}) + ` "$d" up || true; done`,
		quote([]string{
			"ovs-vsctl", "--if-exists", "del-br", bridge, "--", "remove", tableOpenVSwitch, ".", "external_ids",
			externalIDHost, "--", "remove", tableOpenVSwitch, ".", "external_ids", externalIDTEP,
			"--", "remove", tableOpenVSwitch, ".", "external_ids", externalIDController,
			"--", "remove", tableOpenVSwitch, ".", "external_ids", externalIDHeld,
		}),
	}, "\n") + "\n", nil
}

// atom writes a string as ovs-vsctl reads it whatever is in it.
func atom(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// quote writes a command for a POSIX shell.
func quote(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		words[i] = w
		if w == "" || strings.ContainsFunc(w, needsQuote) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func needsQuote(r rune) bool {
	plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=@,%+", r)
	return !plain
}
