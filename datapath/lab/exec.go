package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// Target is a place in a lab: a guest (a namespace, or a virtual machine by its
// name), or a host if Netns is empty, or the lab's own namespace if Host is "net".
type Target struct {
	Host, Netns string
}

// ParseTarget parses HOST or HOST/NETNS.
func ParseTarget(s string) (Target, error) {
	host, netns, slash := strings.Cut(s, "/")
	if err := checkLabel(host); err != nil {
		return Target{}, fmt.Errorf("%q is not HOST or HOST/NETNS: %w", s, err)
	}
	if slash {
		if err := netdev.CheckNamespaceName(netns); err != nil {
			return Target{}, fmt.Errorf("%q is not HOST or HOST/NETNS: %w", s, err)
		}
	}
	return Target{Host: host, Netns: netns}, nil
}

// String is HOST or HOST/NETNS.
func (t Target) String() string {
	if t.Netns == "" {
		return t.Host
	}
	return t.Host + "/" + t.Netns
}

// Namespace opens the target's namespace, to work on its devices. The caller
// closes it.
func (m *Manager) Namespace(lab string, t Target) (*netdev.Namespace, error) {
	st, err := m.load(lab)
	if err != nil {
		return nil, err
	}
	name := hostNamespace(lab, t.Host)
	if t.Netns != "" {
		name += "." + t.Netns
	}
	var places []string
	for _, n := range st.Namespaces {
		if n == name {
			return netdev.OpenNamespace(name)
		}
		places = append(places, strings.Replace(strings.TrimPrefix(n, lab+"."), ".", "/", 1))
	}
	for _, v := range st.Spec.Machines {
		if at := (Target{Host: v.Host, Netns: v.Name}); at == t {
			return nil, fmt.Errorf("lab %s: %s is a virtual machine and has no namespace; its taps are in that of %s", lab, t, v.Host)
		} else {
			places = append(places, at.String())
		}
	}
	return nil, fmt.Errorf("lab %s: there is no %s; there is %s", lab, t, strings.Join(places, ", "))
}

// Cmd is a program to run in a lab, with its standard streams.
type Cmd struct {
	Argv           []string
	Env            []string // added to this process's
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ErrNotStarted says that a program could not be started at all.
var ErrNotStarted = errors.New("cannot be started")

// Exec runs a program in the target's namespace and returns its exit code; 128
// and the signal's number if a signal ended it. Open vSwitch's programs work on
// the target's host, and in the lab's own namespace on none. When ctx is done the
// program is killed, and the error is that of ctx.
//
// In a virtual machine the guest's agent runs it: what it reads is given to it
// whole, what it writes comes when it has ended, and it is not killed. The agent of a
// guest that has just become ready is waited for.
func (m *Manager) Exec(ctx context.Context, lab string, t Target, c Cmd) (code int, err error) {
	if len(c.Argv) == 0 {
		return -1, fmt.Errorf("lab %s: exec %s: there is no command", lab, t)
	}
	if spec, err := m.Spec(lab); err == nil && spec.IsMachine(t) {
		return m.execInMachine(ctx, lab, t, c)
	}
	ns, err := m.Namespace(lab, t)
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(os.Environ(), m.Env(lab, t.Host)...), c.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	// What it has left running keeps the streams open, not this command.
	cmd.WaitDelay = time.Second
	if err := ns.Start(cmd); err != nil {
		return -1, fmt.Errorf("lab %s: exec %s: %s %w: %w", lab, t, c.Argv[0], ErrNotStarted, err)
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return -1, fmt.Errorf("lab %s: exec %s: %s: %w", lab, t, c.Argv[0], ctx.Err())
	}
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return cmd.ProcessState.ExitCode(), nil
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	default:
		return -1, fmt.Errorf("lab %s: exec %s: %s: %w", lab, t, c.Argv[0], err)
	}
}

func (m *Manager) execInMachine(ctx context.Context, lab string, t Target, c Cmd) (code int, err error) {
	where := fmt.Sprintf("lab %s: exec %s", lab, t)
	dir := m.machineDir(lab, t.Host, t.Netns)
	dctx, cancel := context.WithTimeout(ctx, patienceWithAgent(dir))
	defer cancel()
	agent, err := qemu.DialAgent(dctx, dir)
	if err != nil {
		return -1, fmt.Errorf("%s: %w; see `lab status` and `lab console %s`", where, err, t.Netns)
	}
	defer agent.Close()
	code, err = agent.Exec(ctx, qemu.GuestCommand{Argv: c.Argv, Env: c.Env, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr})
	if errors.Is(err, qemu.ErrNotStarted) {
		err = fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	if err != nil {
		return -1, fmt.Errorf("%s: %w", where, err)
	}
	return code, nil
}

// Output runs a program as Exec does and returns what it printed; an exit code
// but 0 is an error with what it complained.
func (m *Manager) Output(ctx context.Context, lab string, t Target, argv ...string) (string, error) {
	var out, errOut strings.Builder
	code, err := m.Exec(ctx, lab, t, Cmd{Argv: argv, Stdout: &out, Stderr: &errOut})
	if err != nil {
		return out.String(), err
	}
	if code != 0 {
		return out.String(), fmt.Errorf("lab %s: %s on %s: exit code %d: %s", lab, strings.Join(argv, " "), t, code, lastLines(errOut.String()+out.String()))
	}
	return out.String(), nil
}

// Env is the environment that makes Open vSwitch's programs work on the lab's
// host; for "net", which has no switch, on none, rather than on the machine's.
func (m *Manager) Env(lab, host string) []string { return ovsEnv(m.hostDir(lab, host)) }

// DatabaseSocket is the socket of the host's ovsdb-server; beside it are the
// bridges' <bridge>.mgmt sockets for OpenFlow.
func (m *Manager) DatabaseSocket(lab, host string) string {
	return filepath.Join(m.hostDir(lab, host), "db.sock")
}

// CaptureUnderlay captures what the host sends to (Received) and gets from
// (Sent) the underlay, at the underlay's end of its uplink.
func (m *Manager) CaptureUnderlay(lab, host string) (*netdev.PacketConn, error) {
	return m.capture(lab, Target{Host: infrastructure}, uplinkPeer(host))
}

// CaptureGuest opens the guest's interface of the attachment port (or, with a
// VLAN ID, its sub-interface), to capture and to send frames. Of a machine's NIC it
// is the tap, and there is no VLAN: Received is what the guest sends, and what is
// sent goes to the guest.
func (m *Manager) CaptureGuest(lab, port string, vid uint16) (*netdev.PacketConn, error) {
	spec, err := m.Spec(lab)
	if err != nil {
		return nil, err
	}
	if v, is := spec.machinePort(port); is {
		i := slices.IndexFunc(v.NICs, func(n guest.NIC) bool { return n.Port == port })
		if vid != 0 {
			return nil, fmt.Errorf("lab %s: capture: port %s is a NIC of guest %s, whose sub-interfaces are inside; capture without a VLAN", lab, port, v.Name)
		}
		return m.capture(lab, Target{Host: v.Host}, v.NICs[i].Tap)
	}
	a, ok := spec.attachment(port)
	if !ok {
		return nil, fmt.Errorf("lab %s: capture: there is no port %s; `lab status` lists them", lab, port)
	}
	dev := a.guestInterface()
	if vid != 0 {
		dev = a.subInterface(VLAN{ID: vid})
	}
	return m.capture(lab, Target{Host: a.Host, Netns: a.netns()}, dev)
}

func (m *Manager) capture(lab string, t Target, dev string) (*netdev.PacketConn, error) {
	ns, err := m.Namespace(lab, t)
	if err != nil {
		return nil, err
	}
	c, err := ns.OpenPacket(dev)
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("lab %s: capture: %w", lab, err)
	}
	return c, ns.Close()
}

// SetLink cuts the host off the underlay (netdev.Down), or connects it again
// (netdev.Up). Its management network stays.
func (m *Manager) SetLink(ctx context.Context, lab, host string, to netdev.LinkState) error {
	return m.edit(ctx, lab, "set the link of "+host, func(l *instance) error {
		if _, ok := l.st.Spec.host(host); !ok {
			return errors.New("the lab has no such host")
		}
		ns, err := netdev.OpenNamespace(hostNamespace(lab, infrastructure))
		if err != nil {
			return err
		}
		defer ns.Close()
		_, err = ns.Configure(uplinkPeer(host), netdev.LinkConfig{State: to})
		return err
	})
}
