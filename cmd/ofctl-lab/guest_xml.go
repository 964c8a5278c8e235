package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

func newGuestXML(a *app) *cobra.Command {
	var o struct {
		file, accel, bridge string
		network             bool
	}
	cmd := &cobra.Command{
		Use:   "xml NAME -f FILE | --network",
		Short: "Write the libvirt XML of a guest or of its network",
		Long: `Write the libvirt domain XML of a guest, or with --network that of the libvirt
network that guests are on. Speaks to no controller and no libvirt, and does not
look whether the images are there.

Each network card carries the UUID of its port as interfaceid, by which the port
is bound whenever the guest starts. There is no VLAN in either XML: what a frame
belongs to is for the flows of the bridge.`,
		Example: `  ofctl-lab guest xml veos1 -f configs/topologies/veos.yaml
  ofctl-lab guest xml --network
  ofctl-lab guest xml vm1 -f configs/topologies/veos.yaml --accel tcg`,
		Args: args(0, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := []byte(nil), error(nil)
			switch {
			case o.network && len(args) > 0:
				return usagef("--network is the same for all guests; leave %q out", args[0])
			case o.network:
				text, err = guest.NetworkXML(libvirtNetwork(o.bridge))
			case len(args) == 0:
				return usagef("%s needs the NAME of a guest, or --network", cmd.CommandPath())
			default:
				text, err = a.domainXML(cmd, args[0], o.file, o.accel)
			}
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	addFileFlag(cmd, &o.file)
	addAccelFlag(cmd, &o.accel)
	cmd.Flags().BoolVar(&o.network, "network", false, "write the network instead of a domain")
	cmd.Flags().StringVar(&o.bridge, "bridge", config.Default().BridgeName, "the integration bridge that the network stands for")
	return cmd
}

// accelAuto is the value of --accel that tries what works.
const accelAuto = "auto"

// accels are the values of --accel.
var accels = []string{accelAuto, string(guest.AccelKVM), string(guest.AccelTCG)}

func addAccelFlag(cmd *cobra.Command, accel *string) {
	cmd.Flags().StringVar(accel, "accel", accelAuto, "what runs the guest: kvm, tcg (slow, works everywhere), or auto, which takes KVM where it works on this machine")
	// The error is for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("accel", cobra.FixedCompletions(accels, cobra.ShellCompDirectiveNoFileComp))
}

// accel is what --accel asks for. KVM is found to work by trying it; on a machine
// without qemu, where that is not possible, it is taken to.
func (a *app) accel(ctx context.Context, s string) (guest.Accel, error) {
	switch s {
	case string(guest.AccelKVM), string(guest.AccelTCG):
		return guest.Accel(s), nil
	case accelAuto:
	default:
		return "", usagef("--accel %q is none of %s", s, strings.Join(accels, ", "))
	}
	if err := qemu.Prerequisites(); err != nil {
		a.progress("note: KVM was not tried (%v); write --accel tcg for a machine where it does not work", err)
		return guest.AccelKVM, nil
	}
	found, note, err := qemu.FindAccel(ctx)
	if err != nil {
		return "", err
	}
	if note != "" {
		a.progress("note: %s", note)
	}
	return guest.Accel(found), nil
}

// domainXML is the libvirt domain of a guest of a topology file.
func (a *app) domainXML(cmd *cobra.Command, name, path, accel string) ([]byte, error) {
	t, err := a.guestFile(cmd, path)
	if err != nil {
		return nil, err
	}
	m, err := t.machine(name)
	if err != nil {
		return nil, err
	}
	with, err := a.accel(cmd.Context(), accel)
	if err != nil {
		return nil, err
	}
	return guest.DomainXML(m, guest.Libvirt{Accel: with, Network: guestNetwork})
}
