package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// plugTimeout bounds how long a port that was plugged or unplugged may take until
// the controller has followed.
const plugTimeout = 30 * time.Second

func newLabPlug(a *app) *cobra.Command {
	var host string
	var ofport int
	cmd := &cobra.Command{
		Use:   "plug PORT",
		Short: "Plug a port in, as a guest that is switched on",
		Long: `Plug a port in, as a guest that is switched on, and wait until it is up. A port that
the topology gives no host needs --host.`,
		Example: "  ofctl-lab lab plug red-b\n  ofctl-lab lab plug red-b --ofport 77",
		Args:    args(1, 1, "PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), plugTimeout)
			defer cancel()
			l, err := a.openLab(cmd)
			if err != nil {
				return err
			}
			defer l.Close()
			at, err := l.attachmentOf(ctx, args[0], host)
			if err != nil {
				return err
			}
			if err := l.m.Plug(ctx, l.name, at, lab.PlugOptions{OFPort: ofport}); err != nil {
				return err
			}
			return a.plugged(ctx, l, at.Port)
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "host to plug it into (default: where it was, or where the topology says)")
	cmd.Flags().IntVar(&ofport, "ofport", 0, "ask the switch for this OpenFlow port number (0: any)")
	return cmd
}

func newLabUnplug(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "unplug PORT",
		Short: "Unplug a port, as a guest that is switched off",
		Long: `Unplug a port, as a guest that is switched off, and wait until the controller has
seen it go.`,
		Example: "  ofctl-lab lab unplug red-b",
		Args:    args(1, 1, "PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), plugTimeout)
			defer cancel()
			l, err := a.openLab(cmd)
			if err != nil {
				return err
			}
			defer l.Close()
			at, err := l.known(args[0])
			if err != nil {
				return err
			}
			if err := l.m.Unplug(ctx, l.name, args[0]); err != nil {
				return err
			}
			if err := l.awaitUnbound(ctx, at.Port, api.Claim{Host: at.Host, InterfaceName: at.Device()}); err != nil {
				return err
			}
			a.progress("port %s is unplugged from %s", at.Port, at.Host)
			return nil
		},
	}
}

func newLabMove(a *app) *cobra.Command {
	live := false
	cmd := &cobra.Command{
		Use:   "move PORT HOST [--live]",
		Short: "Move a port to another host, as a guest that migrates",
		Long: `Move a port to another host, with the same addresses, and wait until it is up there:
as a guest that is switched off here and on there; with --live as one that is migrated
while it runs. Then its processes, its namespace and its connections go over with it,
and so do addresses and routes that it has set itself: it is attached on both hosts
until it has announced itself on the new one.`,
		Example: "  ofctl-lab lab move red-b host1\n  ofctl-lab lab move red-b host2 --live",
		Args:    args(2, 2, "PORT HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), plugTimeout)
			defer cancel()
			l, err := a.openLab(cmd)
			if err != nil {
				return err
			}
			defer l.Close()
			if _, err := l.known(args[0]); err != nil {
				return err
			}
			if err := l.hasHost(args[1]); err != nil {
				return err
			}
			if live {
				return a.liveMove(ctx, l, args[0], args[1])
			}
			if err := l.m.Move(ctx, l.name, args[0], args[1], lab.PlugOptions{}); err != nil {
				return err
			}
			return a.plugged(ctx, l, args[0])
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "while the guest runs")
	return cmd
}

// openedLab is a running lab and its controller.
type openedLab struct {
	*daemon
	m    *lab.Manager
	name string
	spec lab.Spec
}

func (a *app) openLab(cmd *cobra.Command) (*openedLab, error) {
	name, err := a.theLab()
	if err != nil {
		return nil, err
	}
	m := a.labs()
	spec, err := m.Spec(name)
	if err != nil {
		return nil, err
	}
	d, err := a.labDaemon(name)
	if err != nil {
		return nil, err
	}
	return &openedLab{daemon: d, m: m, name: name, spec: spec}, nil
}

// known is the attachment of a port that the lab attaches.
func (l *openedLab) known(port string) (lab.Attachment, error) {
	if err := l.notOfGuest(port); err != nil {
		return lab.Attachment{}, err
	}
	names := make([]string, 0, len(l.spec.Attachments))
	for _, at := range l.spec.Attachments {
		if at.Port == port {
			return at, nil
		}
		names = append(names, at.Port)
	}
	return lab.Attachment{}, fmt.Errorf("lab %s attaches no port %q; %s", l.name, port, meant(port, names))
}

// notOfGuest is an error for a port that is a virtual machine's.
func (l *openedLab) notOfGuest(port string) error {
	for _, v := range l.spec.Machines {
		if slices.ContainsFunc(v.NICs, func(n guest.NIC) bool { return n.Port == port }) {
			return fmt.Errorf("port %s is a NIC of guest %s, and comes and goes with it: use ofctl-lab lab start, stop and migrate", port, v.Name)
		}
	}
	return nil
}

func (l *openedLab) hasHost(name string) error {
	names := make([]string, 0, len(l.spec.Hosts))
	for _, h := range l.spec.Hosts {
		if h.Name == name {
			return nil
		}
		names = append(names, h.Name)
	}
	return fmt.Errorf("lab %s has no host %q; %s", l.name, name, meant(name, names))
}

// attachmentOf is how to attach a port on a host: as the lab attaches it, or as
// the controller has it declared.
func (l *openedLab) attachmentOf(ctx context.Context, port, host string) (lab.Attachment, error) {
	if err := l.notOfGuest(port); err != nil {
		return lab.Attachment{}, err
	}
	if host != "" {
		if err := l.hasHost(host); err != nil {
			return lab.Attachment{}, err
		}
	}
	i := slices.IndexFunc(l.spec.Attachments, func(at lab.Attachment) bool { return at.Port == port })
	if i >= 0 {
		at := l.spec.Attachments[i]
		if host != "" {
			at.Host = host
		}
		return at, nil
	}
	o, err := l.object(ctx, kindPort, port)
	if err != nil {
		return lab.Attachment{}, err
	}
	p := o.(*api.Port)
	if host == "" {
		host = p.Host
	}
	if host == "" {
		return lab.Attachment{}, usagef("port %s has no host: choose one with --host", port)
	}
	w, err := l.wire(ctx, p)
	if err != nil {
		return lab.Attachment{}, err
	}
	return lab.Attachment{Port: p.Name, Host: host, Netns: p.Netns, Interface: p.Interface, MAC: lab.MAC(w.mac), MTU: w.mtu, Addresses: w.addresses, VLANs: w.vlans}, nil
}

// plugged waits until a port is up where the lab has just plugged it in, and
// says so. What the controller still knows of an earlier place does not count.
func (a *app) plugged(ctx context.Context, l *openedLab, port string) error {
	at, err := l.attached(ctx, port)
	if err != nil {
		return err
	}
	err = poll(ctx, func() (bool, string, error) {
		p, err := l.Port(ctx, port)
		if err != nil {
			return false, "", l.explain(err)
		}
		s := p.Status
		switch {
		case !s.Wired():
			return false, fmt.Sprintf("port %s is %s on %s (%s)", port, s.State, cmp.Or(s.Host, "no host"), s.Message), nil
		case s.Host == at.Host && s.OFPort == uint32(at.OFPort):
			return true, "", nil
		}
		// A number that was asked for and is another port's: the switch gives a
		// free one first, and the one asked for when the other has let go of it.
		at, err = l.attached(ctx, port)
		return false, fmt.Sprintf("port %s is up on %s as OpenFlow port %d, and not yet as %d on %s", port, s.Host, s.OFPort, at.OFPort, at.Host), err
	})
	if err != nil {
		return err
	}
	if err := a.awaitSwitches(ctx, l.daemon); err != nil {
		return err
	}
	a.progress("port %s is up on %s as OpenFlow port %d", port, at.Host, at.OFPort)
	return nil
}

// attached is where the lab's own Open vSwitch has the port.
func (l *openedLab) attached(ctx context.Context, port string) (lab.AttachmentStatus, error) {
	st, err := l.m.Status(ctx, l.name)
	if err != nil {
		return lab.AttachmentStatus{}, err
	}
	i := slices.IndexFunc(st.Attachments, func(at lab.AttachmentStatus) bool { return at.Port == port })
	if i < 0 || st.Attachments[i].OFPort <= 0 {
		return lab.AttachmentStatus{}, fmt.Errorf("port %s is plugged in, but its switch gave it no number; see ofctl-lab lab status", port)
	}
	return st.Attachments[i], nil
}
