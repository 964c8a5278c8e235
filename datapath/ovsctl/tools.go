package ovsctl

import "context"

// Vsctl runs ovs-vsctl and returns what it printed.
func (c *Client) Vsctl(ctx context.Context, args ...string) (string, error) {
	out, err := c.run(ctx, "ovs-vsctl", append([]string{"--db=" + c.o.DB}, args...)...)
	return string(out), err
}

// Ofctl runs ovs-ofctl over OpenFlow 1.3 on a bridge and returns what it printed.
func (c *Client) Ofctl(ctx context.Context, bridge, command string, args ...string) (string, error) {
	if err := checkName("bridge", bridge); err != nil {
		return "", err
	}
	// With the socket's path ovs-ofctl does not have to find it by the bridge's name.
	out, err := c.run(ctx, "ovs-ofctl", append([]string{"--protocols=OpenFlow13", command, "unix:" + c.OpenFlowSocket(bridge)}, args...)...)
	return string(out), err
}

// Appctl gives ovs-vswitchd a command and returns its answer.
func (c *Client) Appctl(ctx context.Context, command ...string) (string, error) {
	out, err := c.appctl(ctx, command...)
	return string(out), err
}
