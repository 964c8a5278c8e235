package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

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

// lock keeps a restore on this host (syscall.LOCK_EX) from every attach and detach
// (syscall.LOCK_SH): it acts on what it has read before, and would bring back a port that is
// detached meanwhile. What is locked is Open vSwitch's run directory, until unlock is called
// or this process ends.
func (s localSwitch) lock(ctx context.Context, how int) (unlock func(), err error) {
	dir, err := os.Open(cmp.Or(s.ovs.rundir, os.Getenv("OVS_RUNDIR"), "/var/run/openvswitch"))
	if err != nil {
		return nil, fmt.Errorf("%w; does Open vSwitch run? See ofctl-lab doctor", err)
	}
	err = poll(ctx, func() (bool, string, error) {
		err := syscall.Flock(int(dir.Fd()), how|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, "another attach, detach or restore is at work on this host", nil
		}
		return err == nil, "", err
	})
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return func() { dir.Close() }, nil
}
