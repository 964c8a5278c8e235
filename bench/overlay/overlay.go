// Package overlay runs the whole of ofctl-lab for benchmarks: a lab of two hosts, each
// with its own Open vSwitch, and a controller that is a process of its own.
//
// A lab outlives the process that made it, so each is named after that process: Start
// first removes those of processes that are gone.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

const (
	// root holds the labs of benchmarks, apart from those of people.
	root = "/run/ofctl-lab/bench"
	// startTimeout bounds Start, and settleTimeout each wait for the switches.
	startTimeout  = 2 * time.Minute
	settleTimeout = time.Minute
	stopTimeout   = time.Minute
)

// Overlay is a running lab. Its methods may be called concurrently, except Close.
type Overlay struct {
	labs *lab.Manager
	name string
	dir  string // holds the controller's program
	api  *api.Client
}

// Start brings up a lab with these guests attached, and its controller, which knows
// the two hosts and nothing else. What fails to start is removed again.
func Start(ctx context.Context, guests ...lab.Attachment) (*Overlay, error) {
	if err := lab.Prerequisites(); err != nil {
		return nil, err
	}
	labs := lab.New(root)
	if err := sweep(ctx, labs); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ofctl-lab-bench-")
	if err != nil {
		return nil, err
	}
	o := &Overlay{labs: labs, dir: dir, name: labName(os.Getpid(), dir)}
	if err := o.start(ctx, guests); err != nil {
		return nil, errors.Join(fmt.Errorf("start the lab %s: %w", o.name, err), o.Close())
	}
	return o, nil
}

// labName is unique: the process tells who removes the lab, and no two
// directories have the same name.
func labName(pid int, dir string) string {
	return fmt.Sprintf("bench%d%s", pid, dir[strings.LastIndexByte(dir, '-'):])
}

var labOfProcess = regexp.MustCompile(`^bench(\d+)-`)

// sweep removes the labs of benchmarks that were killed.
func sweep(ctx context.Context, labs *lab.Manager) error {
	found, err := labs.List()
	if err != nil {
		return err
	}
	for _, l := range found {
		m := labOfProcess.FindStringSubmatch(l.Name)
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		if _, err := labs.Down(ctx, l.Name); err != nil {
			return fmt.Errorf("remove the lab %s that an earlier run has left: %w", l.Name, err)
		}
	}
	return nil
}

func (o *Overlay) start(ctx context.Context, guests []lab.Attachment) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	program := filepath.Join(o.dir, "ofctl-lab")
	if err := build.Program(ctx, "cmd/ofctl-lab", program); err != nil {
		return err
	}
	socket := filepath.Join(o.labs.Dir(o.name), "controller", "api.sock")
	var err error
	if o.api, err = api.NewClient("unix:" + socket); err != nil {
		return err
	}
	declare := sync.OnceValue(func() error { return o.declare(ctx) })
	spec := lab.Spec{
		Name:        o.name,
		Underlay:    lab.Underlay{Subnets: []netip.Prefix{underlay}, MTU: UnderlayMTU},
		Hosts:       hosts,
		Attachments: guests,
	}
	return o.labs.Up(ctx, spec, lab.UpOptions{
		Controller: func(i lab.ControllerInfo) (lab.Command, error) { return controllerCommand(program, socket, i) },
		Join: func(j lab.JoinInfo) (string, error) {
			// Hosts join a controller that knows them.
			if err := declare(); err != nil {
				return "", err
			}
			at := func(port uint16) ovsdb.Target {
				return ovsdb.Target{Proto: "tcp", Host: j.Controller.String(), Port: port}
			}
			return ovsdb.JoinScript(ovsdb.JoinSpec{Host: j.Host.Name, TEP: j.Host.TEP, Manager: at(lab.OVSDBPort), Controller: at(lab.OpenFlowPort)})
		},
	})
}

// controllerCommand is the controller with every setting as its default, but where
// it listens and keeps its files.
func controllerCommand(program, socket string, i lab.ControllerInfo) (lab.Command, error) {
	conf := filepath.Join(i.Dir, "controller.yaml")
	if err := os.WriteFile(conf, []byte("log:\n  level: info\n"), 0o600); err != nil {
		return lab.Command{}, err
	}
	listen := func(port int) string { return net.JoinHostPort(i.Addr.String(), strconv.Itoa(port)) }
	return lab.Command{Argv: []string{
		program, "controller", "--config", conf,
		"--state-dir", filepath.Join(i.Dir, "store"),
		"--api-socket", socket, "--api-listen", "",
		"--openflow-listen", listen(lab.OpenFlowPort), "--ovsdb-listen", listen(lab.OVSDBPort),
		"--bridge-name", lab.IntegrationBridge,
	}}, nil
}

// declare declares the hosts as soon as the controller answers.
func (o *Overlay) declare(ctx context.Context) error {
	return poll(ctx, func() (string, error) {
		_, err := o.Apply(ctx, Topology{})
		var refused *api.Problem
		if err == nil || errors.As(err, &refused) {
			return "", err
		}
		return err.Error(), nil // it does not listen yet
	})
}

// poll asks until there is nothing left to wait for, for settleTimeout at most.
func poll(ctx context.Context, ask func() (missing string, err error)) error {
	deadline := time.NewTimer(settleTimeout)
	defer deadline.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		missing, err := ask()
		if err != nil || missing == "" {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("after %s: %s", settleTimeout, missing)
		}
	}
}

// Close removes every trace of the lab, also after the context of Start has ended.
func (o *Overlay) Close() error {
	if o.api != nil {
		o.api.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_, err := o.labs.Down(ctx, o.name)
	return errors.Join(err, os.RemoveAll(o.dir))
}

// Apply makes t the whole desired state and returns its revision. The switches follow.
func (o *Overlay) Apply(ctx context.Context, t Topology) (revision uint64, err error) {
	p, err := o.api.Apply(ctx, api.TopologyBody{Name: "bench.yaml", Text: t.text()})
	if err != nil {
		return 0, err
	}
	return p.Revision, nil
}

// Confirmed returns when both switches have confirmed, by a barrier each, the flows
// of a revision; 0 is the newest.
func (o *Overlay) Confirmed(ctx context.Context, revision uint64) error {
	w, err := o.api.Wait(ctx, revision, settleTimeout)
	if err != nil {
		return err
	}
	if !w.Done {
		return fmt.Errorf("revision %d is not in the switches after %s: %+v", w.Revision, settleTimeout, w.Pending)
	}
	return nil
}

// Down returns when nobody shows a port any more and both switches have confirmed that.
func (o *Overlay) Down(ctx context.Context, p Port) error {
	err := poll(ctx, func() (string, error) {
		got, err := o.api.Port(ctx, p.Name())
		if err != nil || got.Status.State == api.StateDown {
			return "", err
		}
		return fmt.Sprintf("port %s is %s: %s", p.Name(), got.Status.State, got.Status.Message), nil
	})
	if err != nil {
		return err
	}
	return o.Confirmed(ctx, 0)
}

// Up returns when all is in the switches that t, which was applied, needs: its ports are up, the
// hosts have its tunnel ports, and both switches have confirmed every flow.
func (o *Overlay) Up(ctx context.Context, t Topology) error {
	err := poll(ctx, func() (string, error) {
		st, err := o.api.Status(ctx)
		if err != nil || st.PortsUp == len(t.Ports) {
			return "", err
		}
		return fmt.Sprintf("%d ports are up instead of %d", st.PortsUp, len(t.Ports)), nil
	})
	if err != nil {
		return err
	}
	err = poll(ctx, func() (string, error) {
		found, err := o.api.Hosts(ctx)
		if err != nil {
			return "", err
		}
		return untunnelled(found, t), nil
	})
	if err != nil {
		return err
	}
	return o.Confirmed(ctx, 0)
}

// untunnelled names a tunnel port that is missing, if one is.
func untunnelled(hosts []api.Host, t Topology) string {
	for _, h := range hosts {
		for _, n := range t.Networks {
			if h.Status.Bridge == nil || h.Status.Bridge.Tunnels[n.Encap] == 0 {
				return fmt.Sprintf("host %s has no tunnel port for %s", h.Name, n.Encap)
			}
		}
	}
	return ""
}

// PlugInternal plugs those of the ports that are on a host in as internal interfaces of its
// integration bridge, in one transaction, and sets them up: ports with link, and no guests.
func (o *Overlay) PlugInternal(ctx context.Context, host string, ports []Port) error {
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
	if _, err := o.Run(ctx, host, append([]string{"ovs-vsctl", "--timeout=60"}, args...)...); err != nil {
		return err
	}
	ns, err := o.labs.Namespace(o.name, lab.Target{Host: host})
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
func (o *Overlay) Run(ctx context.Context, host string, argv ...string) (string, error) {
	return o.labs.Output(ctx, o.name, lab.Target{Host: host}, argv...)
}

// guestInterface is the name of a guest's interface.
const guestInterface = "eth0"

// Guest is the namespace of an attached port. The caller closes it.
func (o *Overlay) Guest(p Port) (*netdev.Namespace, error) {
	return o.labs.Namespace(o.name, lab.Target{Host: p.Host, Netns: p.Name()})
}

// Wire opens the wire of a guest's interface. The caller closes it. While it is
// open, the kernel copies every frame of the guest.
func Wire(guest *netdev.Namespace) (*netdev.PacketConn, error) {
	return guest.OpenPacket(guestInterface)
}

// FixNeighbour tells a guest for good at which Ethernet address another is.
func (o *Overlay) FixNeighbour(ctx context.Context, of, other Port) error {
	_, err := o.labs.Output(ctx, o.name, lab.Target{Host: of.Host, Netns: of.Name()},
		"ip", "neighbour", "replace", other.Addr().String(), "lladdr", other.MAC().String(), "dev", guestInterface, "nud", "permanent")
	return err
}

var flowCount = regexp.MustCompile(`flow_count=(\d+)`)

// FlowCount is the number of flows in a host's integration bridge, as the switch counts them.
func (o *Overlay) FlowCount(ctx context.Context, host string) (int, error) {
	out, err := o.Run(ctx, host, "ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", lab.IntegrationBridge)
	if err != nil {
		return 0, err
	}
	m := flowCount.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ovs-ofctl dump-aggregate: no flow_count in %q", out)
	}
	return strconv.Atoi(m[1])
}

// CPU is the user and system time that the ovs-vswitchd of both hosts have used, in
// steps of 10 ms.
func (o *Overlay) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, h := range hosts {
		file := filepath.Join(filepath.Dir(o.labs.DatabaseSocket(o.name, h.Name)), "ovs-vswitchd.pid")
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		used, err := bridge.CPUTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
