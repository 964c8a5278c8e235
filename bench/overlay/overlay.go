// Package overlay runs the whole of ofctl-lab for benchmarks: a lab of two hosts, each
// with its own Open vSwitch, and a controller that is a process of its own. Its Lab, without
// the controller, is what other controllers are measured on.
//
// A lab outlives the process that made it, so each is named after that process: Start
// first removes those of processes that are gone.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

// settleTimeout bounds each wait for the switches.
const settleTimeout = time.Minute

// Overlay is a lab with the controller of this project. Its methods may be called
// concurrently, except Close.
type Overlay struct {
	*Lab
	api *api.Client
}

// Start brings up a lab with these guests attached, and its controller, which knows
// the hosts and nothing else. What fails to start is removed again.
func Start(ctx context.Context, guests ...lab.Attachment) (*Overlay, error) {
	return start(ctx, lab.Spec{Attachments: guests})
}

// StartMachine is Start with a virtual machine, which boots when it returns; see
// [Overlay.AwaitMachine].
func StartMachine(ctx context.Context, machine lab.Machine, guests ...lab.Attachment) (*Overlay, error) {
	return start(ctx, lab.Spec{Attachments: guests, Machines: []lab.Machine{machine}})
}

// start brings up a lab with the guests and the machines of spec.
func start(ctx context.Context, spec lab.Spec) (*Overlay, error) {
	o := &Overlay{}
	_, err := startLab(ctx, func(l *Lab) error {
		o.Lab = l
		return o.start(ctx, spec)
	})
	if err != nil {
		o.closeClient()
		return nil, err
	}
	return o, nil
}

func (o *Overlay) start(ctx context.Context, spec lab.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	program, err := build.Controller(ctx, o.dir)
	if err != nil {
		return err
	}
	socket := filepath.Join(o.labs.Dir(o.name), "controller", "api.sock")
	if o.api, err = api.NewClient("unix:" + socket); err != nil {
		return err
	}
	declare := sync.OnceValue(func() error { return o.declare(ctx) })
	return o.up(ctx, spec, lab.UpOptions{
		Supervisor: &lab.Command{Argv: []string{program, "lab", "run-guest"}},
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
	o.closeClient()
	return o.Lab.Close()
}

func (o *Overlay) closeClient() {
	if o.api != nil {
		o.api.Close()
	}
}

// Apply makes t the whole desired state and returns its revision. The switches follow.
func (o *Overlay) Apply(ctx context.Context, t Topology) (revision uint64, err error) {
	p, err := o.api.Apply(ctx, api.TopologyBody{Name: "bench.yaml", Text: t.text(o.hosts)})
	if err != nil {
		return 0, err
	}
	return p.Revision, nil
}

// Confirmed returns when all switches have confirmed, by a barrier each, the flows
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

// Down returns when nobody shows a port any more and all switches have confirmed that.
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
// hosts have its tunnel ports, and all switches have confirmed every flow.
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

// ControlPlane is every process that decides or carries decisions: the controller, and
// the database server of each host. What forwards, ovs-vswitchd, is not among them.
func (o *Overlay) ControlPlane() ([]Process, error) {
	pid, err := readPID(filepath.Join(o.ControlDir(), "controller.pid"))
	if err != nil {
		return nil, err
	}
	databases, err := o.Databases()
	return append([]Process{{Name: "controller", PID: pid}}, databases...), err
}
