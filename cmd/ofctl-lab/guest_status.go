package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
)

// guestStatus is a domain of libvirt, and its network cards' ports as the
// controller sees them.
type guestStatus struct {
	Name  string        `json:"name"`
	UUID  uuid.UUID     `json:"uuid"`
	State libvirt.State `json:"state"`
	Virt  string        `json:"virt"`
	NICs  []nicStatus   `json:"nics"`
}

type nicStatus struct {
	libvirt.Interface
	Port      string    `json:"port,omitempty"`
	PortState api.State `json:"port_state,omitempty"`
	Why       string    `json:"why,omitempty"`
}

func newGuestStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show guests and whether their ports are bound",
		Long: `Show the guests that the libvirt of this machine has, or one of them, with their
network cards. What the ports are doing is the controller's to say; without one,
that is left out.`,
		Example: "  ofctl-lab guest status\n  ofctl-lab guest status vm1 -o json",
		Args:    args(0, 1, "a NAME or nothing"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
					d, err := c.Domain(ctx, name)
					if err != nil {
						return err
					}
					s := a.guestStatuses(cmd, []libvirt.Domain{d})
					return a.emit(s[0], func(t *tables, _ format) { printGuests(t, s) })
				})(cmd, args)
			}
			c, err := a.libvirt(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			domains, err := c.Domains(cmd.Context())
			if err != nil {
				return err
			}
			s := a.guestStatuses(cmd, domains)
			return a.emit(s, func(t *tables, _ format) { printGuests(t, s) })
		},
	}
	addConnectFlag(cmd)
	addFormatFlag(cmd, "those of json and yaml name each port that libvirt's interfaceid stands for")
	return cmd
}

// guestStatuses are the domains with what the controller says of their ports.
func (a *app) guestStatuses(cmd *cobra.Command, domains []libvirt.Domain) []guestStatus {
	ports := a.portsByIfaceID(cmd)
	out := make([]guestStatus, 0, len(domains))
	for _, d := range domains {
		s := guestStatus{Name: d.Name, UUID: d.UUID, State: d.State, Virt: d.Virt, NICs: []nicStatus{}}
		for _, i := range d.Interfaces {
			n := nicStatus{Interface: i}
			p, declared := ports[i.IfaceID]
			switch {
			case i.IfaceID == "":
				n.Why = "it has no virtualport of type openvswitch with an interfaceid, so no port can be its"
			case declared:
				n.Port, n.PortState, n.Why = p.Name, p.Status.State, p.Status.Message
			case ports != nil:
				n.Why = "no port has its interfaceid; ofctl-lab apply FILE declares those of a topology file"
			}
			s.NICs = append(s.NICs, n)
		}
		out = append(out, s)
	}
	return out
}

// portsByIfaceID are the controller's ports under both of the names that an
// iface-id may have; nil, with a note, without a controller.
func (a *app) portsByIfaceID(cmd *cobra.Command) map[string]api.Port {
	d, err := a.daemon(cmd)
	if err == nil {
		defer d.Close()
		var all []api.Port
		if all, err = d.Ports(cmd.Context()); err == nil {
			ports := make(map[string]api.Port, 2*len(all))
			for _, p := range all {
				ports[p.Name], ports[p.UUID.String()] = p, p
			}
			return ports
		}
		err = d.explain(err)
	}
	a.progress("note: the ports' states are not known: %v", err)
	return nil
}

func printGuests(t *tables, guests []guestStatus) {
	var rows [][]string
	for _, g := range guests {
		rows = append(rows, []string{g.Name, string(g.State), g.Virt, g.UUID.String()})
	}
	t.table([]string{"GUEST", "STATE", "VIRT", "UUID"}, rows)
	rows = nil
	for _, g := range guests {
		for _, n := range g.NICs {
			rows = append(rows, []string{g.Name, n.MAC, n.Model, n.Tap, n.Port, string(n.PortState), n.Why})
		}
	}
	if len(rows) > 0 {
		t.gap()
		t.table([]string{"GUEST", "MAC", "MODEL", "TAP", "PORT", "STATE", "WHY"}, rows)
	}
}
