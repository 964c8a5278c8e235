package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// attachKey of an Interface's external_ids has what attach made there. It is in the
// switch's own database and not in a file of ours, so that it goes with the port,
// whoever deletes that, and cannot contradict it.
const attachKey = "ofctl-lab-attach"

const ifaceIDKey = "iface-id"

// remember writes down what attach made, for attach --restore.
func (s localSwitch) remember(ctx context.Context, at netdev.Attachment) error {
	record, err := at.Record()
	if err != nil {
		return err
	}
	ids, err := s.ovs.vsctl(ctx, "get", "Interface", at.Device(), "external_ids")
	if err != nil {
		return err
	}
	if parseMap(ids)[attachKey] == record {
		return nil
	}
	if err := s.ctl.SetExternalID(ctx, at.Device(), attachKey, record); err != nil {
		return fmt.Errorf("port %s would not come back after a reboot: %w", at.Port, err)
	}
	return nil
}

// checkRestore refuses flags that say what the switch has written down.
func checkRestore(fl *pflag.FlagSet) error {
	var wrong error
	fl.Visit(func(f *pflag.Flag) {
		if slices.Contains([]string{"network", "port", "netns", "tap", "address", "mac", "interface", "mtu"}, f.Name) {
			wrong = usagef("--restore restores everything as it was attached; leave --%s out", f.Name)
		}
	})
	return wrong
}

// restore attaches again, on this host, all that the switch has written down. One
// that cannot be does not keep the others from it.
func (a *app) restore(ctx context.Context, o attachOptions) error {
	if os.Geteuid() != 0 {
		return errors.New("attach creates interfaces: run it as root")
	}
	sw := newLocalSwitch(o.rundir, o.bridge)
	waiting, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	unlock, err := sw.lock(waiting, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	recorded, err := sw.ctl.Interfaces(ctx, attachKey)
	if err != nil {
		return fmt.Errorf("%w; does Open vSwitch run? See ofctl-lab doctor", err)
	}
	if len(recorded) == 0 {
		a.progress("nothing is attached on this host")
		return nil
	}
	// Guests do not wait for the trial of offloads. Until it is over they are as is most
	// likely right: the kernel's datapath takes all, the userspace one may not.
	first := netdev.OffloadsOff
	if kind, err := sw.datapath(ctx); err == nil && kind == "system" {
		first = netdev.OffloadsAsIs
	}
	restored, err := a.restoreAll(ctx, o, sw, recorded, first)
	if len(restored) == 0 {
		return err
	}
	offloads := a.offloads(ctx, sw)
	ctx, cancel = context.WithTimeout(ctx, o.timeout) // which is not for the trial
	defer cancel()
	errs := []error{err}
	for _, at := range restored {
		at.Offloads = offloads
		_, err := netdev.Restore(ctx, sw, at, false)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// restoreAll makes all devices, and waits until the switch has opened them. It returns
// what is in namespaces, whose offloads are the host's to set.
func (a *app) restoreAll(ctx context.Context, o attachOptions, sw localSwitch, recorded []ovsctl.Interface, offloads netdev.OffloadMode) (restored []netdev.Attachment, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var errs []error
	var opens []string // devices that the switch has to open
	for _, i := range recorded {
		at, err := recordedAttachment(i)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at.Offloads = offloads
		changed, err := netdev.Restore(ctx, sw, at, i.OFPort != 0)
		if err == nil && len(changed) > 0 && i.OFPort != 0 {
			err = sw.remember(ctx, at) // the port may have been plugged anew
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opens = append(opens, i.Name)
		where := "tap " + i.Name
		if at.Namespace != "" {
			where = fmt.Sprintf("%s in namespace %s", at.Interface, at.Namespace)
			restored = append(restored, at)
		}
		if len(changed) == 0 {
			a.progress("port %s: %s is as it was attached", at.Port, where)
		} else {
			a.progress("port %s: %s is attached again", at.Port, where)
		}
	}
	return restored, errors.Join(append(errs, awaitOpened(ctx, sw.ctl, opens))...)
}

// recordedAttachment is what attach has written down at an interface.
func recordedAttachment(i ovsctl.Interface) (netdev.Attachment, error) {
	port, name := i.ExternalIDs[ifaceIDKey], clean(i.Name)
	if port == "" {
		return netdev.Attachment{}, fmt.Errorf("interface %s has no iface-id: detach was interrupted there; run ofctl-lab detach again, or ovs-vsctl del-port %s", name, name)
	}
	at, err := netdev.ParseRecord(port, i.ExternalIDs[attachKey])
	if err == nil && at.Device() != i.Name {
		err = fmt.Errorf("attachment of %.64q: its record is at interface %s, and attach would have written it at %s", port, name, at.Device())
	}
	if err != nil {
		return netdev.Attachment{}, fmt.Errorf("%w; attach the port again, or run ovs-vsctl remove Interface %s external_ids %s", err, name, attachKey)
	}
	return at, nil
}

// awaitOpened waits until the switch has opened the devices, which it does by itself.
func awaitOpened(ctx context.Context, ctl *ovsctl.Client, devices []string) error {
	return poll(ctx, func() (bool, string, error) {
		recorded, err := ctl.Interfaces(ctx, attachKey)
		if err != nil {
			return false, "", err
		}
		for _, i := range recorded {
			if slices.Contains(devices, i.Name) && i.OFPort == 0 {
				why := i.Error
				if why == "" {
					why = "does ovs-vswitchd run?"
				}
				return false, fmt.Sprintf("Open vSwitch has not opened %s (%s)", i.Name, why), nil
			}
		}
		return true, "", nil
	})
}

// restoreCommand runs attach --restore.
func (a *app) restoreCommand(cmd *cobra.Command, o attachOptions) error {
	if err := checkRestore(cmd.Flags()); err != nil {
		return err
	}
	if err := o.checkTimeout(); err != nil {
		return err
	}
	return a.restore(cmd.Context(), o)
}
