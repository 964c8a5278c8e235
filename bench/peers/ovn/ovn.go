// Package ovn runs OVN (Debian's ovn-central and ovn-host) on a lab of two hosts, so that
// benchmarks can put it to the same work as this project: the same switches, the same ports
// with the same iface-id, the same topology. README.md says how it is set up and why; the settings
// themselves are in config.go.
package ovn

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

const (
	// startTimeout bounds the start of OVN on a lab that is up.
	startTimeout = time.Minute
	// settleTimeout bounds each wait for the switches. OVN takes seconds per thousand ports.
	settleTimeout = 2 * time.Minute
)

// Missing says what this machine lacks to run OVN and how to install it; empty if nothing.
func Missing() string {
	for _, program := range []string{"ovn-northd", "ovn-controller", "ovsdb-server", "ovsdb-tool"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("there is no %s in $PATH: install OVN with `apt-get install ovn-central ovn-host` (make bench-deps does), and have /usr/sbin in $PATH", program)
		}
	}
	return ""
}

// Version is what OVN says of itself, such as "ovn-northd 23.03.1"; empty if it is missing.
func Version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "ovn-northd", "--version").Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}

// Overlay is a running lab with OVN. Its methods may be called concurrently, except Close.
type Overlay struct {
	*overlay.Lab
	nb, sb  database
	daemons []*daemon

	mu      sync.Mutex // guards what follows, and keeps transactions of topologies apart
	current contents
	syncing sync.Mutex // keeps waits for a sequence number apart
}

// Start brings up a lab with these guests attached, and OVN with both hosts as its chassis
// and no logical switch. It returns when the hosts have their tunnels to each other. What fails to
// start is removed again.
func Start(ctx context.Context, guests ...lab.Attachment) (*Overlay, error) {
	if missing := Missing(); missing != "" {
		return nil, errors.New(missing)
	}
	l, err := overlay.StartLab(ctx, guests...)
	if err != nil {
		return nil, err
	}
	o := &Overlay{Lab: l}
	if err := o.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start OVN: %w", err), o.Close())
	}
	return o, nil
}

func (o *Overlay) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	remote, err := o.startCentral(ctx)
	if err != nil {
		return err
	}
	for _, host := range o.Hosts() {
		if err := o.startHost(ctx, host, remote); err != nil {
			return fmt.Errorf("host %s: %w", host, err)
		}
	}
	for _, host := range o.Hosts() {
		// A tunnel that ovs-vswitchd has set up has a number.
		for _, other := range o.Hosts() {
			if other == host {
				continue
			}
			if _, err := o.Run(ctx, host, "ovs-vsctl", "--timeout=30", "wait-until", "Interface", tunnelTo(other), "ofport>=1"); err != nil {
				return fmt.Errorf("the tunnel of %s to %s: %w%s", host, other, err, o.complaints())
			}
		}
	}
	return o.Sync(ctx)
}

// Close ends OVN and removes every trace of the lab, also after the context of Start has
// ended.
func (o *Overlay) Close() error {
	// The last started first: ovn-controller takes its chassis out of the southbound
	// database, and northd its lock.
	for i := len(o.daemons) - 1; i >= 0; i-- {
		o.daemons[i].stop()
	}
	return o.Lab.Close()
}

// ControlPlane is every process that decides or carries decisions: OVN's own, and the
// database server of each host. What forwards, ovs-vswitchd, is not among them.
func (o *Overlay) ControlPlane() ([]overlay.Process, error) {
	var all []overlay.Process
	for _, d := range o.daemons {
		all = append(all, overlay.Process{Name: d.name, PID: d.cmd.Process.Pid})
	}
	databases, err := o.Databases()
	return append(all, databases...), err
}
