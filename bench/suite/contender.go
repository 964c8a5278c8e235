package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

// peerOurs is this project where a benchmark has it once.
const peerOurs = "ofctl-lab"

// controlled is a lab of two hosts with somebody's controller.
type controlled interface {
	Up(ctx context.Context, t overlay.Topology) error
	ControlPlane() ([]overlay.Process, error)
	CPU() (time.Duration, error)
	Hosts() []string
	FlowCount(ctx context.Context, host string) (int, error)
	PlugInternal(ctx context.Context, host string, ports []overlay.Port) error
	Close() error
}

// contender is a controller, on a lab of its own, that a benchmark puts to work.
type contender struct {
	controlled
	name  string
	role  harness.Role
	apply func(context.Context, overlay.Topology) error
	// missing says why it cannot run here; then there is no lab. Version is a peer's own.
	missing, version string
}

type contending []*contender

// contenders are this project and OVN, each with a lab without guests.
func contenders(ctx context.Context) (_ contending, err error) {
	ours, err := overlay.Start(ctx)
	if err != nil {
		return nil, err
	}
	all := contending{{controlled: ours, name: peerOurs, role: harness.Ours, apply: func(ctx context.Context, t overlay.Topology) error {
		_, err := ours.Apply(ctx, t)
		return err
	}}}
	if missing := ovn.Missing(); missing != "" {
		return append(all, &contender{name: peerOVN, role: harness.Rival, missing: missing}), nil
	}
	theirs, err := ovn.Start(ctx)
	if err != nil {
		return nil, errors.Join(err, all.Close())
	}
	return append(all, &contender{controlled: theirs, name: peerOVN, role: harness.Rival, apply: theirs.Apply, version: ovn.Version(ctx)}), nil
}

// Close removes the labs.
func (all contending) Close() error {
	var err error
	for _, c := range slices.Backward(all) {
		if c.missing == "" {
			err = errors.Join(err, c.controlled.Close())
		}
	}
	return err
}

// configure returns when the switches have all that t asks for, and nothing else.
func (c *contender) configure(ctx context.Context, t overlay.Topology) error {
	if err := c.apply(ctx, t); err != nil {
		return err
	}
	return c.Up(ctx, t)
}

// prepare plugs the ports of t in on their hosts. Two of them are configured in the end, so
// that a network is there with the tunnel ports that it needs.
func (c *contender) prepare(ctx context.Context, t overlay.Topology) error {
	if c.missing != "" {
		return nil
	}
	for _, host := range c.Hosts() {
		if err := c.PlugInternal(ctx, host, t.Ports); err != nil {
			return err
		}
	}
	t.Ports = t.Ports[:2]
	return c.configure(ctx, t)
}

// flows is the number of flows in each host's switch.
func (c *contender) flows(ctx context.Context) ([]int, error) {
	var counts []int
	for _, host := range c.Hosts() {
		n, err := c.FlowCount(ctx, host)
		if err != nil {
			return nil, err
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// usage is what a contender has used until now.
type usage struct {
	control, forwarding time.Duration // processor time of the control plane, and of ovs-vswitchd
	memory              uint64        // proportional set size of the control plane, in bytes
}

func (c *contender) used() (usage, error) {
	var u usage
	processes, err := c.ControlPlane()
	if err != nil {
		return u, err
	}
	for _, p := range processes {
		cpu, err := proc.CPUTime(p.PID)
		if err != nil {
			return u, fmt.Errorf("%s: %w", p.Name, err)
		}
		memory, err := proc.PSS(p.PID)
		if err != nil {
			return u, fmt.Errorf("%s: %w", p.Name, err)
		}
		u.control, u.memory = u.control+cpu, u.memory+memory
	}
	u.forwarding, err = c.CPU()
	return u, err
}
