package ovsctl

import (
	"context"
	"fmt"
	"strings"
)

// Trace is what ofproto/trace says of one packet.
type Trace struct {
	Text string // all of it
	// Actions are the datapath actions, one for each pass through the
	// pipeline: the first, and one more after each recirculation.
	Actions []string
}

// Trace asks the switch itself what a bridge does with a packet, given as a flow
// in ovs-ofctl syntax (in_port=1,icmp,…). It needs no packet and leaves no trace in
// counters. args are further arguments of ofproto/trace, such as "-generate" or
// "--ct-next" and its value.
func (c *Client) Trace(ctx context.Context, bridge, flow string, args ...string) (Trace, error) {
	if err := checkName("bridge", bridge); err != nil {
		return Trace{}, err
	}
	if flow == "" || flow[0] == '-' {
		return Trace{}, fmt.Errorf("trace on bridge %s: %.64q is no flow", bridge, flow)
	}
	out, err := c.appctl(ctx, append([]string{"ofproto/trace", bridge, flow}, args...)...)
	if err != nil {
		return Trace{}, err
	}
	trace := Trace{Text: string(out)}
	for line := range strings.Lines(trace.Text) {
		if actions, ok := strings.CutPrefix(line, "Datapath actions: "); ok {
			trace.Actions = append(trace.Actions, strings.TrimSpace(actions))
		}
	}
	if len(trace.Actions) == 0 {
		return trace, fmt.Errorf("trace on bridge %s: the switch gave no datapath actions; it said: %.200q", bridge, trace.Text)
	}
	return trace, nil
}

// appctl gives ovs-vswitchd a command.
func (c *Client) appctl(ctx context.Context, command ...string) ([]byte, error) {
	target := c.o.Control
	if target == "" {
		target = "ovs-vswitchd"
	}
	return c.run(ctx, "ovs-appctl", append([]string{"--target=" + target}, command...)...)
}

// DumpFlowsText is a bridge's flows as ovs-ofctl writes them, over OpenFlow 1.3.
func (c *Client) DumpFlowsText(ctx context.Context, bridge string) (string, error) {
	return c.dump(ctx, "dump-flows", bridge)
}

// DumpGroupsText is a bridge's groups as ovs-ofctl writes them, over OpenFlow 1.3.
func (c *Client) DumpGroupsText(ctx context.Context, bridge string) (string, error) {
	return c.dump(ctx, "dump-groups", bridge)
}

func (c *Client) dump(ctx context.Context, command, bridge string) (string, error) {
	if err := checkName("bridge", bridge); err != nil {
		return "", err
	}
	// With the socket's path ovs-ofctl does not have to find it by the bridge's name.
	out, err := c.run(ctx, "ovs-ofctl", "--protocols=OpenFlow13", "--no-names", command, "unix:"+c.OpenFlowSocket(bridge))
	return string(out), err
}
