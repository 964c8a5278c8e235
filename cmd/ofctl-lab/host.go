package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

func newHost(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Print the commands with which a host joins and leaves",
	}
	group(cmd)
	cmd.AddCommand(newHostJoin(a), newHostLeave(a))
	return cmd
}

func newHostJoin(a *app) *cobra.Command {
	var tep, controller string
	cmd := &cobra.Command{
		Use:   "join-command NAME --tep ADDRESS [--controller ADDRESS]",
		Short: "Print the shell commands that make a host join",
		Long: `Print the shell commands that make a host join: ovs-vsctl calls only, to be run on
the host as root, any number of times. They set the host's name and tunnel
endpoint and let its Open vSwitch connect out to the controller, for OVSDB and
for OpenFlow; the controller does the rest.

Without --controller, the address is the one from which this machine reaches the
tunnel endpoint. Ports are those on which the running controller listens, or the
usual ones (6640 and 6653) when none answers.`,
		Example: `  ofctl-lab host join-command host3 --tep 192.168.200.22 --controller 192.168.200.1
  ofctl-lab host join-command host3 --tep 192.168.200.22 --controller 192.168.200.1 | ssh root@host3 sh`,
		Args: args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := netip.ParseAddr(tep)
			if err != nil {
				return usagef("--tep %q is not an IP address; give the host's tunnel endpoint, for example --tep 192.168.200.22", tep)
			}
			at, err := controllerAddress(controller, t)
			if err != nil {
				return err
			}
			l, err := a.listening(cmd)
			if err != nil {
				return err
			}
			text, err := joinScript(args[0], t, at, l)
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprint(a.out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&tep, "tep", "", "the host's tunnel endpoint address (required)")
	cmd.Flags().StringVar(&controller, "controller", "", "address at which the host reaches the controller")
	return cmd
}

func newHostLeave(a *app) *cobra.Command {
	var bridge string
	cmd := &cobra.Command{
		Use:   "leave-command",
		Short: "Print the shell commands that make a host leave",
		Long: `Print the shell commands that undo join-command on a host: its Open vSwitch
forgets the controller, what that held down is brought up, and the integration
bridge is removed with all that is plugged into it. Other bridges and other
managers are not touched.`,
		Example: "  ofctl-lab host leave-command | ssh root@host3 sh",
		Args:    args(0, 0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			text, err := ovsdb.LeaveScript(bridge)
			if err != nil {
				return usageError{fmt.Errorf("--bridge: %w", err)}
			}
			_, err = fmt.Fprint(a.out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&bridge, "bridge", config.Default().BridgeName, "the integration bridge")
	return cmd
}

// listenPorts are the TCP ports on which a controller serves hosts.
type listenPorts struct{ ovsdb, openflow uint16 }

// listening are the ports of the running controller, those of the configuration
// if none answers.
func (a *app) listening(cmd *cobra.Command) (listenPorts, error) {
	d, err := a.daemon(cmd)
	if err != nil {
		return listenPorts{}, err
	}
	defer d.Close()
	if st, err := d.Status(cmd.Context()); err == nil {
		return portsOf(st.OVSDBListen, st.OpenFlowListen)
	} else if cmd.Context().Err() != nil {
		return listenPorts{}, context.Cause(cmd.Context())
	}
	c, err := config.Load(cmd.Flags())
	if err != nil {
		return listenPorts{}, err
	}
	a.progress("note: no controller answers at %s; the ports are those of the configuration", d.target)
	return portsOf(c.OVSDBListen, c.OpenFlowListen)
}

func portsOf(ovsdbListen, openflowListen string) (l listenPorts, err error) {
	if l.ovsdb, err = portOf(ovsdbListen); err == nil {
		l.openflow, err = portOf(openflowListen)
	}
	return l, err
}

func portOf(listen string) (uint16, error) {
	_, p, err := net.SplitHostPort(listen)
	if err != nil {
		return 0, fmt.Errorf("the controller listens on %q, which is not ADDRESS:PORT", listen)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the controller listens on %q, whose port is not a number", listen)
	}
	return uint16(n), nil
}

// controllerAddress is the given address, or the local one from which packets to
// the tunnel endpoint are sent.
func controllerAddress(given string, tep netip.Addr) (netip.Addr, error) {
	if given != "" {
		at, err := netip.ParseAddr(given)
		if err != nil {
			return netip.Addr{}, usagef("--controller %q is not an IP address (Open vSwitch resolves no names)", given)
		}
		return at, nil
	}
	// Connecting a UDP socket sends nothing; it only looks up the route.
	c, err := net.Dial("udp", netip.AddrPortFrom(tep, 9).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("this machine has no route to %s: %w; say with --controller at which address the host reaches the controller", tep, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// joinScript is the text of join-command.
func joinScript(host string, tep, controller netip.Addr, l listenPorts) (string, error) {
	return ovsdb.JoinScript(ovsdb.JoinSpec{
		Host: host, TEP: tep,
		Manager:    ovsdb.Target{Proto: "tcp", Host: controller.String(), Port: l.ovsdb},
		Controller: ovsdb.Target{Proto: "tcp", Host: controller.String(), Port: l.openflow},
	})
}
