package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// importOptions are the flags of guest import.
type importOptions struct {
	guests                    []string // names of libvirt's
	domains, networks         []string // files
	name, tenant, encap, host string
	tep                       string
}

func newGuestImport(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import NAME… | --domain FILE… [--network FILE…]",
		Short: "Make a topology file of libvirt domains",
		Long: `Make a topology file of libvirt domains and of the networks that they are on:
those that this machine's libvirt has under a NAME, and those in files, which are
the output of virsh dumpxml and virsh net-dumpxml.

The VLANs of port groups and interfaces become networks: an access port's is named
after its port group, others vlan-ID. Trunks become trunks. Ethernet addresses stay,
and so do interface ids: a domain that has them is bound without being defined
again, since a tag on a port of Open vSwitch means nothing to flows. What cannot
be carried over is named on standard error.

Networks have no subnets and ports no addresses, which libvirt does not know; add
them for addresses to be answered and guarded.`,
		Example: `  ofctl-lab guest import veos1 --tenant red
  ofctl-lab guest import --domain configs/libvirt/veos1.xml --network configs/libvirt/ovs-net.xml
  ofctl-lab guest import --domain configs/libvirt/veos1.xml --network configs/libvirt/ovs-net.xml --tenant red --encap vxlan --host kvm1 --tep 192.0.2.11`,
		Args: args(0, -1, "NAME…"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.guests = args
			text, err := a.importGuests(cmd, o)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&o.domains, "domain", nil, "file with a domain's XML; may be given again (required)")
	fl.StringArrayVar(&o.networks, "network", nil, "file with a network's XML; may be given again")
	fl.StringVar(&o.name, "name", "imported", "name of the topology")
	fl.StringVar(&o.tenant, "tenant", "imported", "tenant of the networks")
	fl.StringVar(&o.encap, "encap", topo.GRE.String(), "encapsulation of the networks: gre, vxlan or geneve")
	fl.StringVar(&o.host, "host", "", "host of the guests, with --tep; without it they are on none")
	fl.StringVar(&o.tep, "tep", "", "the host's tunnel endpoint address")
	addConnectFlag(cmd)
	return cmd
}

// importGuests is the topology file of the domains.
func (a *app) importGuests(cmd *cobra.Command, o importOptions) ([]byte, error) {
	if len(o.domains)+len(o.guests) == 0 {
		return nil, usagef("%s needs the NAME of a libvirt domain, or its XML with --domain FILE", cmd.CommandPath())
	}
	im, err := newImporter(o)
	if err != nil {
		return nil, usageError{err}
	}
	for _, path := range o.networks {
		if err := im.networkFile(path); err != nil {
			return nil, err
		}
	}
	if len(o.guests) > 0 {
		if err := a.importFromLibvirt(cmd, im, o.guests); err != nil {
			return nil, err
		}
	}
	for _, path := range o.domains {
		data, err := readXML(path)
		if err != nil {
			return nil, err
		}
		if err := im.domain(path, data); err != nil {
			return nil, located{err}
		}
	}
	for _, l := range im.lost {
		a.progress("warning: %s", clean(l.String()))
	}
	text := im.text()
	if _, err := file.Parse("imported", text); err != nil {
		return nil, fmt.Errorf("what is made of these files is no valid topology:\n%w\ncorrect the files, or import fewer at once", err)
	}
	return text, nil
}

// importFromLibvirt adds domains of this machine's libvirt. Of its networks those
// matter that they are on.
func (a *app) importFromLibvirt(cmd *cobra.Command, im *importer, names []string) error {
	for _, name := range names {
		err := a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
			text, err := c.DomainXML(ctx, name)
			if err != nil {
				return err
			}
			d, err := guest.ParseDomain("domain "+name, []byte(text))
			if err != nil {
				return err
			}
			if err := im.networksOf(ctx, c, d); err != nil {
				return err
			}
			return im.domain("domain "+name, []byte(text))
		})(cmd, []string{name})
		if err != nil {
			return err
		}
	}
	return nil
}

// networksOf takes the networks from libvirt that a domain is on, and no others: what is
// wrong with one that it is not on is no matter of its.
func (im *importer) networksOf(ctx context.Context, c *libvirt.Conn, d *guest.Domain) error {
	for _, i := range d.Interfaces {
		if i.Network == "" || im.defs[i.Network] != nil {
			continue
		}
		texts, err := c.NetworkXMLs(ctx, i.Network)
		if err != nil {
			return err
		}
		for _, text := range texts {
			n, err := guest.ParseNetwork("network "+i.Network, []byte(text))
			if err != nil {
				return err
			}
			im.defs[n.Name] = n
		}
	}
	return nil
}

func readXML(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > guest.MaxXML {
		return nil, fmt.Errorf("%s is over %d KiB; give the output of virsh dumpxml or net-dumpxml", path, guest.MaxXML>>10)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading libvirt's XML: %w; name the output of virsh dumpxml or net-dumpxml", err)
	}
	return data, nil
}

// segment is a VLAN of a bridge; VLAN 0 are the untagged frames.
type segment struct {
	bridge string
	vlan   uint16
}

// importer makes one topology of domains and networks.
type importer struct {
	tenant  string
	encap   topo.Encap
	f       file.File
	defs    map[string]*guest.NetworkDef
	used    map[string]bool    // the names of those that matter
	names   map[segment]string // of networks, without the tenant
	claimed map[string]segment
	guests  map[string]string // by name, the file that each is from
	lost    []guest.Lost
}

func newImporter(o importOptions) (*importer, error) {
	im := &importer{tenant: o.tenant, defs: map[string]*guest.NetworkDef{}, used: map[string]bool{},
		names: map[segment]string{}, claimed: map[string]segment{}, guests: map[string]string{}}
	for flag, name := range map[string]string{"name": o.name, "tenant": o.tenant, "host": cmp.Or(o.host, "none")} {
		if err := topo.CheckName(name); err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	var err error
	if im.encap, err = topo.ParseEncap(o.encap); err != nil {
		return nil, fmt.Errorf("--encap: %w", err)
	}
	im.f = file.File{Name: o.name, Underlay: file.Underlay{MTU: file.DefaultMTU}}
	im.f.Topology.Tenants = []topo.Tenant{{Name: o.tenant}}
	switch {
	case o.host == "" && o.tep == "":
	case o.host == "" || o.tep == "":
		return nil, fmt.Errorf("a host has both a name and a tunnel endpoint; give --host and --tep, or neither")
	default:
		tep, err := netip.ParseAddr(o.tep)
		if err != nil {
			return nil, fmt.Errorf("--tep %q is not an IP address; give the host's tunnel endpoint, for example --tep 192.0.2.11", o.tep)
		}
		im.f.Topology.Hosts = []topo.Host{{Name: o.host, TEP: tep, Declared: true}}
	}
	return im, nil
}

// networkFile takes a libvirt network from a file. What is given is wanted, be it
// that no domain is on it.
func (im *importer) networkFile(path string) error {
	data, err := readXML(path)
	if err != nil {
		return err
	}
	n, err := guest.ParseNetwork(path, data)
	if err != nil {
		return located{err}
	}
	if other := im.defs[n.Name]; other != nil {
		return located{fmt.Errorf("%s:1: network %.60q is in %s as well; give one of the two", n.File, n.Name, other.File)}
	}
	im.defs[n.Name] = n
	im.use(n)
	return nil
}

// use takes a libvirt network, once: its port groups with one VLAN name networks.
func (im *importer) use(n *guest.NetworkDef) {
	if im.used[n.Name] {
		return
	}
	im.used[n.Name] = true
	im.lost = append(im.lost, n.Lost...)
	for _, g := range n.PortGroups {
		if g.VLAN != nil && !g.VLAN.Trunk {
			im.claim(segment{bridgeOf(n), g.VLAN.Tags[0]}, g.Name)
		}
	}
}

func bridgeOf(n *guest.NetworkDef) string { return cmp.Or(n.Bridge, n.Name) }

// claim names the network of a segment, unless it has a name.
func (im *importer) claim(s segment, name string) {
	if im.names[s] != "" {
		return
	}
	name = safeName(name)
	for i := 1; ; i++ {
		if _, taken := im.claimed[name]; !taken {
			break
		}
		// The same VLAN of another bridge is another network.
		suffix := "-" + safeName(s.bridge)
		if i > 1 {
			suffix = fmt.Sprintf("%s-%d", suffix, i)
		}
		name = safeName(name[:min(len(name), max(topo.MaxName-len(suffix), 1))] + suffix)
	}
	im.names[s], im.claimed[name] = name, s
	im.f.Topology.Networks = append(im.f.Topology.Networks, topo.Network{Tenant: im.tenant, Name: name, Encap: im.encap})
}

// on is the full name of the network that a segment becomes.
func (im *importer) on(s segment) string {
	name := fmt.Sprintf("vlan-%d", s.vlan)
	if s.vlan == 0 {
		name = "untagged"
	}
	im.claim(s, name)
	return im.tenant + "/" + im.names[s]
}

// safeName is the nearest to a name that an object may have.
func safeName(s string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '-'
	}, s)
	out = strings.TrimLeft(out, "-_.")
	return cmp.Or(out[:min(len(out), topo.MaxName)], "x")
}

func (im *importer) text() []byte {
	slices.SortStableFunc(im.f.Topology.Networks, func(a, b topo.Network) int { return strings.Compare(a.Name, b.Name) })
	return file.Format(im.f)
}

func (im *importer) note(f string, line int, format string, args ...any) {
	im.lost = append(im.lost, guest.Lost{File: f, Line: line, What: fmt.Sprintf(format, args...)})
}
