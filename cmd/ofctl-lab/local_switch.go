package main

import (
	"context"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// localSwitch is the integration bridge of this host, as netdev.Attach needs it.
type localSwitch struct {
	ctl    *ovsctl.Client
	ovs    ovsShell
	bridge string
}

func newLocalSwitch(rundir, bridge string) localSwitch {
	return localSwitch{ctl: ovsctl.New(ovsctl.Options{RunDir: rundir}), ovs: ovsShell{rundir: rundir}, bridge: bridge}
}

// IfaceID implements netdev.Switch.
func (s localSwitch) IfaceID(ctx context.Context, dev string) (id string, exists bool, err error) {
	ports, err := s.ctl.Ports(ctx, s.bridge)
	if err != nil || !slices.Contains(ports, dev) {
		return "", false, err
	}
	ids, err := s.ovs.vsctl(ctx, "get", "Interface", dev, "external_ids")
	return parseMap(ids)[ifaceIDKey], true, err
}

// AddPort implements netdev.Switch.
func (s localSwitch) AddPort(ctx context.Context, dev, ifaceID string) error {
	return s.ctl.AddPort(ctx, ovsctl.Port{Bridge: s.bridge, Name: dev, IfaceID: ifaceID})
}

// ClearIfaceID implements netdev.Switch.
func (s localSwitch) ClearIfaceID(ctx context.Context, dev string) error {
	_, err := s.ovs.vsctl(ctx, "--if-exists", "remove", "Interface", dev, "external_ids", ifaceIDKey)
	return err
}

// DeletePort implements netdev.Switch.
func (s localSwitch) DeletePort(ctx context.Context, dev string) error {
	return s.ctl.DeletePort(ctx, s.bridge, dev)
}

// datapath is the datapath type of the bridge.
func (s localSwitch) datapath(ctx context.Context) (string, error) {
	kind, err := s.ovs.vsctl(ctx, "get", "Bridge", s.bridge, "datapath_type")
	if err == nil && kind == "" {
		kind = "system" // Open vSwitch's default
	}
	return kind, err
}
