package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

func newGuestUndefine(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "undefine NAME",
		Short: "Make libvirt forget a guest",
		Long: `Make libvirt forget a guest that is stopped, and with the last one on it the network
that guests are on. Its images stay, and so do its ports, which are the topology's.

A domain that guest define has not made is refused, and so is a guest with saved
memory, firmware variables, snapshots or checkpoints, unless --force removes these.`,
		Example: "  ofctl-lab guest undefine vm1",
		Args:    args(1, 1, "NAME"),
		RunE: a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
			what := libvirt.DefinitionOnly
			if force {
				what = libvirt.WithState
			}
			removed, err := undefineGuest(ctx, c, name, what)
			if errors.Is(err, libvirt.ErrHasState) {
				return fmt.Errorf("%w; --force removes them too", err)
			}
			if err != nil {
				return err
			}
			gone := "guest " + name
			if removed {
				gone += " and network " + guestNetwork
			}
			a.progress("%s: undefined", gone)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove its saved memory, firmware variables, and what is known of its snapshots too")
	addConnectFlag(cmd)
	return cmd
}

// undefineGuest undefines a domain that is a guest of ours: one on the network of guests, or
// with the UUID that a guest of its name gets. The network goes with the last one that was
// on it; a host that has it for guests yet to come keeps it.
func undefineGuest(ctx context.Context, c *libvirt.Conn, name string, what libvirt.Forgetting) (removed bool, err error) {
	d, err := c.Domain(ctx, name)
	if err != nil {
		return false, err
	}
	onNetwork := slices.ContainsFunc(d.Interfaces, func(i libvirt.Interface) bool { return i.Source == guestNetwork })
	derived := (&file.File{}).Resolve(file.Guest{Name: name}).UUID
	if !onNetwork && d.UUID != derived {
		return false, fmt.Errorf("domain %s was not defined by ofctl-lab: it is not on network %s, and its UUID %s is not a guest's; if it may go, `virsh undefine %[1]s`", name, guestNetwork, d.UUID)
	}
	if err := c.Undefine(ctx, name, what); err != nil || !onNetwork {
		return false, err
	}
	return c.RemoveUnusedNetwork(ctx, guestNetwork)
}
