package main

import (
	"context"
	"slices"
	"strings"
)

// localSwitch is the integration bridge of this host, as netdev.Attach needs it.
type localSwitch struct {
	ovs    ovsShell
	bridge string
}

func newLocalSwitch(rundir, bridge string) localSwitch {
	return localSwitch{ovs: ovsShell{rundir: rundir}, bridge: bridge}
}

// IfaceID implements netdev.Switch.
func (s localSwitch) IfaceID(ctx context.Context, dev string) (id string, exists bool, err error) {
	ports, err := s.ovs.vsctl(ctx, "list-ports", s.bridge)
	if err != nil || !slices.Contains(strings.Fields(ports), dev) {
		return "", false, err
	}
	ids, err := s.ovs.vsctl(ctx, "get", "Interface", dev, "external_ids")
	return parseMap(ids)["iface-id"], true, err
}

// AddPort implements netdev.Switch.
func (s localSwitch) AddPort(ctx context.Context, dev, ifaceID string) error {
	_, err := s.ovs.vsctl(ctx, "--may-exist", "add-port", s.bridge, dev,
		"--", "set", "Interface", dev, "external_ids:iface-id="+atom(ifaceID))
	return err
}

// ClearIfaceID implements netdev.Switch.
func (s localSwitch) ClearIfaceID(ctx context.Context, dev string) error {
	_, err := s.ovs.vsctl(ctx, "--if-exists", "remove", "Interface", dev, "external_ids", "iface-id")
	return err
}

// DeletePort implements netdev.Switch.
func (s localSwitch) DeletePort(ctx context.Context, dev string) error {
	_, err := s.ovs.vsctl(ctx, "--if-exists", "del-port", s.bridge, dev)
	return err
}

// atom writes a string as ovs-vsctl reads it, whatever is in it.
func atom(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
