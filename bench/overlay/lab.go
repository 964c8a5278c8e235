package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// root holds the labs of benchmarks, apart from those of people.
	root = "/run/ofctl-lab/bench"
	// startTimeout bounds the start of a lab, and stopTimeout its end.
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
)

// Lab is two hosts or three with their guests, each with an Open vSwitch of its own, and no
// controller. Its methods may be called concurrently, except Close.
type Lab struct {
	labs *lab.Manager
	name string
	dir  string // whose name makes the lab's unique; holds the programs that a benchmark builds
	// hosts are set before anything runs.
	hosts []lab.Host
}

// StartLab brings up a lab with these guests attached. Each host has an integration bridge
// with fail_mode=secure, no flows and no tunnel ports: whoever controls it comes later. What fails
// to start is removed again.
func StartLab(ctx context.Context, guests ...lab.Attachment) (*Lab, error) {
	return startLab(ctx, func(l *Lab) error { return l.up(ctx, lab.Spec{Attachments: guests}, lab.UpOptions{}) })
}

// startLab sweeps and prepares a lab, which up then brings up.
func startLab(ctx context.Context, up func(*Lab) error) (*Lab, error) {
	if err := lab.Prerequisites(); err != nil {
		return nil, err
	}
	if err := Sweep(ctx); err != nil {
		return nil, err
	}
	dir, err := bridge.TempDir()
	if err != nil {
		return nil, err
	}
	l := &Lab{labs: lab.New(root), dir: dir, name: labName(dir)}
	if err := up(l); err != nil {
		return nil, errors.Join(fmt.Errorf("start the lab %s: %w", l.name, err), l.Close())
	}
	return l, nil
}

// up brings the lab's hosts, the guests and machines of spec, and the controller up, for
// startTimeout at most.
func (l *Lab) up(ctx context.Context, spec lab.Spec, o lab.UpOptions) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	l.hosts = hostsFor(spec.Attachments)
	spec.Name, spec.Hosts = l.name, l.hosts
	spec.Underlay = lab.Underlay{Subnets: []netip.Prefix{underlay}, MTU: UnderlayMTU}
	return l.labs.Up(ctx, spec, o)
}

// labName is that of the lab's directory, which is unique and tells whose the lab is.
func labName(dir string) string {
	_, owner, _ := strings.Cut(filepath.Base(dir), "-bench-")
	return "bench" + owner
}

var labOfProcess = regexp.MustCompile(`^bench(\d+-\d+)-\d+$`)

// Sweep removes what benchmarks that were killed have left: labs and directories for temporary files.
func Sweep(ctx context.Context) error {
	labs := lab.New(root)
	found, err := labs.List()
	if err != nil {
		return err
	}
	for _, l := range found {
		m := labOfProcess.FindStringSubmatch(l.Name)
		if m == nil {
			continue
		}
		if owner, err := bridge.ParseOwner(m[1]); err != nil || owner.Alive() {
			continue
		}
		if _, err := labs.Down(ctx, l.Name); err != nil {
			return fmt.Errorf("remove the lab %s that an earlier run has left: %w", l.Name, err)
		}
	}
	return bridge.Sweep()
}

// Close removes every trace of the lab, also after the context of its start has ended.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_, err := l.labs.Down(ctx, l.name)
	return errors.Join(err, os.RemoveAll(l.dir))
}

// PlugInternal plugs those of the ports that are on a host in as internal interfaces of its
// integration bridge, in one transaction, and sets them up: ports with link, and no guests.
func (l *Lab) PlugInternal(ctx context.Context, host string, ports []Port) error {
	var args []string
	for _, p := range ports {
		if p.Host == host {
			args = append(args, "--", "add-port", lab.IntegrationBridge, p.Name(),
				"--", "set", "Interface", p.Name(), "type=internal", "external_ids:iface-id="+p.Name())
		}
	}
	if len(args) == 0 {
		return nil
	}
	if _, err := l.Run(ctx, host, append([]string{"ovs-vsctl", "--timeout=60"}, args...)...); err != nil {
		return err
	}
	ns, err := l.labs.Namespace(l.name, lab.Target{Host: host})
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.Host == host && err == nil {
			_, err = ns.Configure(p.Name(), netdev.LinkConfig{State: netdev.Up})
		}
	}
	return errors.Join(err, ns.Close())
}

// Run runs a program on a host, where Open vSwitch's programs work on the host's switch,
// and returns its standard output.
func (l *Lab) Run(ctx context.Context, host string, argv ...string) (string, error) {
	return l.labs.Output(ctx, l.name, lab.Target{Host: host}, argv...)
}

// guestInterface is the name of a guest's interface.
const guestInterface = "eth0"

// Guest is the namespace of an attached port. The caller closes it.
func (l *Lab) Guest(p Port) (*netdev.Namespace, error) {
	return l.labs.Namespace(l.name, lab.Target{Host: p.Host, Netns: p.Name()})
}

// Wire opens the wire of a guest's interface. The caller closes it. While it is
// open, the kernel copies every frame of the guest.
func Wire(guest *netdev.Namespace) (*netdev.PacketConn, error) {
	return guest.OpenPacket(guestInterface)
}

// CaptureUnderlay captures what a host sends to (Received) and gets from (Sent) the underlay. The
// caller closes it.
func (l *Lab) CaptureUnderlay(host string) (*netdev.PacketConn, error) {
	return l.labs.CaptureUnderlay(l.name, host)
}

// FixNeighbour tells a guest for good at which Ethernet address another is.
func (l *Lab) FixNeighbour(ctx context.Context, of, other Port) error {
	_, err := l.labs.Output(ctx, l.name, lab.Target{Host: of.Host, Netns: of.Name()},
		"ip", "neighbour", "replace", other.Addr().String(), "lladdr", other.MAC().String(), "dev", guestInterface, "nud", "permanent")
	return err
}

var flowCount = regexp.MustCompile(`flow_count=(\d+)`)

// FlowCount is the number of flows in a host's integration bridge, as the switch counts them.
func (l *Lab) FlowCount(ctx context.Context, host string) (int, error) {
	out, err := l.Run(ctx, host, "ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", lab.IntegrationBridge)
	if err != nil {
		return 0, err
	}
	m := flowCount.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ovs-ofctl dump-aggregate: no flow_count in %q", out)
	}
	return strconv.Atoi(m[1])
}

// CPU is the user and system time that the ovs-vswitchd of all hosts have used, in
// steps of 10 ms.
func (l *Lab) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, h := range l.hosts {
		pid, err := readPID(l.hostFile(h.Name, "ovs-vswitchd.pid"))
		if err != nil {
			return 0, err
		}
		used, err := bridge.CPUTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// Process is a program that runs for the lab.
type Process struct {
	Name string
	PID  int
}

// Databases are the ovsdb-servers of the hosts.
func (l *Lab) Databases() ([]Process, error) {
	var found []Process
	for _, h := range l.hosts {
		pid, err := readPID(l.hostFile(h.Name, "ovsdb-server.pid"))
		if err != nil {
			return nil, err
		}
		found = append(found, Process{Name: h.Name + "/ovsdb-server", PID: pid})
	}
	return found, nil
}

// Hosts are the names of the hosts.
func (l *Lab) Hosts() []string {
	var names []string
	for _, h := range l.hosts {
		names = append(names, h.Name)
	}
	return names
}

// ControlDir is the directory for the files of whoever controls the lab. It exists only if that
// has made it, and goes with the lab.
func (l *Lab) ControlDir() string { return filepath.Join(l.labs.Dir(l.name), "controller") }

// Control is where whoever controls the lab runs: the namespace, which the caller closes, and its
// address on the management network of the hosts. What runs there ends with the lab.
func (l *Lab) Control(ctx context.Context) (*netdev.Namespace, netip.Addr, error) {
	st, err := l.labs.Status(ctx, l.name)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	ns, err := l.labs.Namespace(l.name, lab.Target{Host: "net"})
	return ns, st.Controller.Addr, err
}

// Host is the namespace of a host, which the caller closes, and the environment in which Open
// vSwitch's programs work on the host's switch. What runs there ends with the lab.
func (l *Lab) Host(host string) (ns *netdev.Namespace, env []string, err error) {
	ns, err = l.labs.Namespace(l.name, lab.Target{Host: host})
	return ns, l.labs.Env(l.name, host), err
}

// hostFile is the path of a file in the directory of a host's Open vSwitch.
func (l *Lab) hostFile(host, name string) string {
	return filepath.Join(filepath.Dir(l.labs.DatabaseSocket(l.name, host)), name)
}

func readPID(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return pid, nil
}
