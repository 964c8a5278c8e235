package openflow

import (
	"context"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// IsDown reports whether a port is administratively down (OFPPC_PORT_DOWN).
func IsDown(p PortDesc) bool { return p.Config&ofp13.PortConfigDown != 0 }

// HasLink reports whether a port is up and has a link (OFPPS_LINK_DOWN is not set).
func HasLink(p PortDesc) bool { return !IsDown(p) && p.State&ofp13.PortStateLinkDown == 0 }

// SetPortDown takes a port down or brings it up again (OFPPC_PORT_DOWN) and returns
// when the switch has done so. p is the port as Ports gave it: if its number has become
// another port's, the error wraps an *ofp13.Error and nothing is changed.
func (c *Conn) SetPortDown(ctx context.Context, p PortDesc, down bool) error {
	fail := func(err error) error {
		return fmt.Errorf("openflow: %s: port %d (%s): %w", c.peer, p.Number, p.Name, err)
	}
	t := c.startTrack(1)
	defer c.stopTrack(t)
	m := ofp13.PortMod{Number: p.Number, MAC: p.MAC, Mask: ofp13.PortConfigDown}
	if down {
		m.Config = ofp13.PortConfigDown
	}
	b, err := ofp13.AppendPortMod(nil, t.first, m)
	if err != nil {
		return fail(err)
	}
	if err := c.send(ctx, b); err != nil {
		return fail(err)
	}
	if err := c.Barrier(ctx); err != nil {
		return fail(err)
	}
	if e, _ := c.result(t); e != nil {
		return fail(e)
	}
	return nil
}
