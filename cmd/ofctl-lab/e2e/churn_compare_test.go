package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/flows/verify"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/churn"
)

// churnView is the overlay as the controller reports it: of one revision, unless that
// has changed meanwhile.
type churnView struct {
	revision  uint64
	hosts     []api.Host
	tenants   []api.Tenant
	networks  []api.Network
	ports     []api.Port
	unclaimed []api.UnclaimedInterface
}

func (l *churnLab) revision(t *testing.T) uint64 {
	t.Helper()
	st, err := l.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.Revision
}

func (l *churnLab) look(t *testing.T) *churnView {
	t.Helper()
	ctx, v := t.Context(), &churnView{revision: l.revision(t)}
	u := &api.Unclaimed{}
	for _, read := range []func() error{
		func() (err error) { v.hosts, err = l.api.Hosts(ctx); return err },
		func() (err error) { v.tenants, err = l.api.Tenants(ctx); return err },
		func() (err error) { v.networks, err = l.api.Networks(ctx); return err },
		func() (err error) { v.ports, err = l.api.Ports(ctx); return err },
		func() (err error) { u, err = l.api.Unclaimed(ctx); return err },
	} {
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	v.unclaimed = u.Interfaces
	for i, p := range v.ports {
		if p.Status.Learning == nil || p.Status.Learning.Count == 0 {
			continue
		}
		one, err := l.api.Port(ctx, p.Name) // a list does not have what is learned
		if err != nil {
			t.Fatal(err)
		}
		v.ports[i] = *one
	}
	return v
}

// claims are what is plugged where as the controller reports it, like churnLab.claims.
func (v *churnView) claims() []string {
	var out []string
	claim := func(id string, ofport uint32, host, state string) {
		out = append(out, fmt.Sprintf("%s at %d of %s: %s", id, ofport, host, state))
	}
	for _, p := range v.ports {
		if p.Status.OFPort != 0 {
			claim(p.Name, p.Status.OFPort, p.Status.Host, "in effect")
		}
		for _, r := range p.Status.Rivals {
			claim(p.Name, r.OFPort, r.Host, "rival")
		}
	}
	for _, c := range v.unclaimed {
		claim(c.IfaceID, c.OFPort, c.Host, "unclaimed")
	}
	slices.Sort(out)
	return out
}

// snapshot is the overlay made anew of what the controller reports, with the same
// numbers and keys.
func (v *churnView) snapshot(t *testing.T) *topo.Snapshot {
	t.Helper()
	s, err := topo.Restore(v.desired(t))
	if err != nil {
		t.Fatal(err)
	}
	tx := s.Begin()
	for _, h := range v.hosts {
		var tunnels [4]uint32
		for e := topo.GRE; e <= topo.Geneve; e++ {
			tunnels[e] = h.Status.Bridge.Tunnels[e.String()]
		}
		tx.ObserveHost(h.Name, h.TEP, tunnels)
	}
	for _, p := range v.ports {
		if st := p.Status; st.OFPort != 0 {
			tx.Bind(p.Name, topo.Binding{Host: st.Host, OFPort: st.OFPort, Interface: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, st.Host, st.OFPort))})
		}
	}
	s = committed(t, tx)
	tx = s.Begin()
	for _, p := range v.ports {
		if p.Status.Learning == nil {
			continue
		}
		for _, m := range p.Status.Learning.MACs {
			mac, err := topo.ParseMAC(m.MAC)
			if err != nil {
				t.Fatal(err)
			}
			tx.Learn(topo.Sighting{Network: s.Network(m.Network).ID, MAC: mac, Port: topo.ID(p.ID), Host: p.Status.Host, OFPort: p.Status.OFPort})
		}
	}
	return committed(t, tx)
}

func committed(t *testing.T, tx *topo.Txn) *topo.Snapshot {
	t.Helper()
	s, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// desired is what is declared.
func (v *churnView) desired(t *testing.T) topo.Desired {
	t.Helper()
	d := topo.Desired{Revision: v.revision}
	number := func(id uint32) topo.ID {
		d.NextID = max(d.NextID, topo.ID(id)+1)
		return topo.ID(id)
	}
	read := func(into interface{ UnmarshalText([]byte) error }, text string) {
		t.Helper()
		if err := into.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range v.hosts {
		d.Hosts = append(d.Hosts, topo.Host{ID: number(h.ID), UUID: h.UUID, Name: h.Name, TEP: h.TEP, Declared: true})
	}
	for _, o := range v.tenants {
		d.Tenants = append(d.Tenants, topo.Tenant{ID: number(o.ID), UUID: o.UUID, Name: o.Name})
	}
	for _, n := range v.networks {
		out := topo.Network{ID: number(n.ID), UUID: n.UUID, Tenant: n.Tenant, Name: n.Name, Key: n.Key, KeyAllocated: n.KeyAllocated, Subnets: n.Subnets}
		read(&out.Encap, n.Encap)
		read(&out.Type, n.Type)
		read(&out.Answer, n.Answer)
		d.Networks = append(d.Networks, out)
	}
	for _, p := range v.ports {
		out := topo.Port{ID: number(p.ID), UUID: p.UUID, Name: p.Name, MACs: p.MACs, Network: p.Network, Addresses: p.Addresses}
		read(&out.MAC, p.MAC)
		read(&out.Profile, p.Profile)
		if tr := p.Trunk; tr != nil {
			out.Trunk = &topo.Trunk{}
			if n := tr.Native; n != nil {
				out.Trunk.Native = &topo.SubPort{Network: n.Network, Addresses: n.Addresses}
			}
			for _, s := range tr.VLANs {
				out.Trunk.VLANs = append(out.Trunk.VLANs, topo.SubPort{VLAN: s.VLAN, Network: s.Network, Addresses: s.Addresses})
			}
		}
		d.Ports = append(d.Ports, out)
	}
	return d
}

// dump reads all switches.
func (l *churnLab) dump(t *testing.T) []*openflow.Dump {
	t.Helper()
	var g errgroup.Group
	dumps := make([]*openflow.Dump, len(l.hosts))
	for h, s := range l.hosts {
		g.Go(func() (err error) {
			dumps[h], err = s.openflow.DumpAll(t.Context())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return dumps
}

// compare holds that each switch has what is compiled afresh, and nothing else.
func (l *churnLab) compare(t *testing.T, v *churnView, dumps []*openflow.Dump) {
	t.Helper()
	s := v.snapshot(t)
	for h, d := range dumps {
		want, err := pipeline.Compile(s, v.hosts[h].Name)
		if err != nil {
			t.Fatal(err)
		}
		if others := d.ForeignFlows + d.ForeignGroups + d.ForeignMeters + len(d.Unreadable); others > 0 || flows.Diff(d.State(), want).Len() > 0 {
			t.Fatalf("%s does not hold what is compiled of revision %d, but (+), with %d entries of others:\n%s",
				v.hosts[h].Name, v.revision, others, cmp.Diff(stateText(want), stateText(d.State())))
		}
	}
	l.compared++
}

func stateText(s *flows.State) []string {
	var out []string
	for f := range s.Flows() {
		out = append(out, f.String())
	}
	for g := range s.Groups() {
		out = append(out, g.String())
	}
	for m := range s.Meters() {
		out = append(out, fmt.Sprintf("%+v", *m))
	}
	slices.Sort(out)
	return out
}

// interfaceStates are what the controller's interface says of all switches, which is
// without meters.
func (l *churnLab) interfaceStates(t *testing.T, read func(context.Context, string) (*api.FlowDump, error)) (out []*flows.State) {
	t.Helper()
	for _, host := range l.testLab.hosts {
		d, err := read(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		part := &flows.Part{}
		for _, f := range d.Flows {
			parsed, err := flows.ParseFlow(f.Raw)
			if err != nil {
				t.Fatal(err)
			}
			part.Flows = append(part.Flows, parsed)
		}
		for _, g := range d.Groups {
			parsed, err := flows.ParseGroup(g.Raw)
			if err != nil {
				t.Fatal(err)
			}
			part.Groups = append(part.Groups, parsed)
		}
		out = append(out, flows.Flat(part))
	}
	return out
}

func withoutMeters(d *openflow.Dump) *flows.State {
	s := d.State()
	return flows.Flat(&flows.Part{Flows: slices.Collect(s.Flows()), Groups: slices.Collect(s.Groups())})
}

// verify proves, or does not, what the switches hold, whoever put it there, against what
// was declared and plugged by the world's own bookkeeping. Only the keys are the
// controller's word, since it allocates some.
func (l *churnLab) verify(t *testing.T, v *churnView, dumps []*openflow.Dump) *verify.Report {
	t.Helper()
	o := verify.Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup, Workers: 2}
	for _, n := range v.networks {
		o.Networks = append(o.Networks, verify.Network{Name: n.FullName(), Encap: n.Encap, Key: uint64(n.Key)})
	}
	for i, h := range v.hosts {
		host := verify.Host{Name: h.Name, TEPs: []netip.Addr{h.TEP}}
		part := &flows.Part{Groups: dumps[i].Groups, Meters: dumps[i].Meters}
		for _, f := range dumps[i].Flows {
			part.Flows = append(part.Flows, f.Flow)
		}
		host.State = flows.Flat(part)
		for _, u := range dumps[i].Unreadable {
			host.Unread = append(host.Unread, trace.Unread{Table: u.Table, Priority: u.Priority, Why: u.Err.Error()})
		}
		for encap, n := range h.Status.Bridge.Tunnels {
			host.Tunnels = append(host.Tunnels, verify.Tunnel{Number: n, Name: encap, Encap: encap})
		}
		host.Ports = l.verifyPorts(t, i, host.Tunnels)
		o.Hosts = append(o.Hosts, host)
	}
	r, err := verify.Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verifyPorts are the ports of a host's bridge but for the tunnels, with who is behind them.
func (l *churnLab) verifyPorts(t *testing.T, host int, tunnels []verify.Tunnel) (out []verify.Port) {
	t.Helper()
	members := map[uint32][]verify.Member{}
	for at, network := range l.world.Places() {
		if at.Host == host {
			n := l.numbers[at.Slot]
			members[n] = append(members[n], verify.Member{VLAN: uint16(max(at.VLAN, 0)), Wire: at.VLAN == churn.AnyVLAN, Network: network})
		}
	}
	ports, err := l.hosts[host].openflow.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		if p.Number == flows.PortLocal || slices.ContainsFunc(tunnels, func(t verify.Tunnel) bool { return t.Number == p.Number }) {
			continue
		}
		out = append(out, verify.Port{Number: p.Number, Name: p.Name, Members: members[p.Number]})
	}
	return out
}

func reportText(r *verify.Report) string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "%s: host %s, from %s: %s\n  %s\n  %s\n", v.Kind, v.Host, v.From, v.What, v.Flow, v.Packet)
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(&b, "host %s: %s\n", d.Host, d.Why)
	}
	return b.String()
}
