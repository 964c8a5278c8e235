package explain

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/verify"
)

// Reading is what was read of a host: tables, an error that says what of them, or that
// all, could not be read, or both.
type Reading struct {
	Tables *Tables
	Err    error
}

// Verify proves of what the switches hold that networks are apart, or finds packets that
// show that they are not. Hosts without a Reading are not judged, and only the ends of
// their tunnels count; one that could not be read is a doubt. workers is how many hosts
// are done at a time. The error says where the overlay contradicts itself, or that ctx has ended.
func Verify(ctx context.Context, o *Overlay, read map[string]Reading, workers int) (*Verification, error) {
	c := &claims{o: o, read: read, out: &Verification{Networks: len(o.Networks), Violations: []Violation{}, Doubts: []Doubt{}}}
	in := c.overlay()
	in.Workers = workers
	start := time.Now()
	rep, err := verify.Verify(ctx, in)
	if err != nil {
		return nil, err
	}
	c.out.Milliseconds = float64(time.Since(start).Microseconds()) / 1000
	return c.tell(rep)
}

// claims turns what is known of an overlay into what is to be proved, and a proof into words.
type claims struct {
	o    *Overlay
	read map[string]Reading
	out  *Verification
}

func (c *claims) doubt(host, format string, args ...any) {
	c.out.Doubts = append(c.out.Doubts, Doubt{host, fmt.Sprintf(format, args...)})
}

func (c *claims) overlay() verify.Overlay {
	out := verify.Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup}
	tenants := map[string]bool{}
	for i, n := range c.o.Networks {
		tenants[tenant(n.Name)] = true
		v := verify.Network{Name: n.Name, Encap: n.Encap, Key: uint64(n.Key)}
		if n.Key == 0 {
			// A key that no dump shows: one that no tunnel can have.
			v.Key = 1<<32 + uint64(i)
		}
		out.Networks = append(out.Networks, v)
	}
	c.out.Tenants = len(tenants)
	for i := range c.o.Hosts {
		out.Hosts = append(out.Hosts, c.host(&c.o.Hosts[i]))
	}
	return out
}

// host is a host with its flows, or without them where they cannot be judged.
func (c *claims) host(h *Host) verify.Host {
	out := verify.Host{Name: h.Name, TEPs: h.endpoints(), OpenVSwitch: h.OpenVSwitch}
	r, asked := c.read[h.Name]
	if !asked {
		return out
	}
	if r.Tables == nil {
		c.doubt(h.Name, "it could not be read: %v", r.Err)
		return out
	}
	if r.Err != nil {
		c.doubt(h.Name, "not all of it could be read: %v", r.Err)
	}
	if r.Tables.Ports == nil && len(r.Tables.Flows) == 0 {
		c.doubt(h.Name, "its dump has no flow, and no host that this project's controller serves has none: is the dump complete?")
		return out
	}
	ports, ok := c.ports(h, r.Tables)
	if !ok || !c.keys(h, r.Tables) {
		return out
	}
	for _, encap := range slices.Sorted(maps.Keys(h.Tunnels)) {
		out.Tunnels = append(out.Tunnels, verify.Tunnel{Number: h.Tunnels[encap], Name: encap, Encap: encap})
	}
	for _, n := range h.OtherTunnels {
		out.Tunnels = append(out.Tunnels, verify.Tunnel{Number: n, Name: otherTunnel, Encap: otherTunnel})
	}
	out.Ports, out.Unread = ports, r.Tables.Unread
	out.State = flows.Flat(&flows.Part{Flows: r.Tables.Flows, Groups: r.Tables.Groups})
	c.out.Hosts = append(c.out.Hosts, h.Name)
	c.out.Groups += len(r.Tables.Groups)
	return out
}

// keys reports whether the keys are known of the networks that a host has a port in. One
// that no flow may be about is not needed.
func (c *claims) keys(h *Host, t *Tables) bool {
	others := slices.ContainsFunc(t.Flows, func(f *flows.Flow) bool {
		clue, ok := pipeline.ClueOf(f)
		return ok && clue.Kind == pipeline.ClueKey && !slices.ContainsFunc(c.o.Networks, func(n Network) bool { return n.Key == clue.Key })
	})
	if !others {
		return true
	}
	for i := range c.o.Ports {
		p := &c.o.Ports[i]
		if p.at(h.Name) == 0 {
			continue
		}
		for _, m := range p.Networks {
			if n := c.o.network(m.Network); n != nil && n.Key == 0 {
				c.doubt(h.Name, "the controller chose the key of network %s, and which it is cannot be seen from the flows: write it into the topology file (key: N)", n.Name)
				return false
			}
		}
	}
	return true
}

// ports are all ports of a host that are no tunnels: those of the overlay, and those of
// nobody. It reports false where it is not known which are which.
func (c *claims) ports(h *Host, t *Tables) ([]verify.Port, bool) {
	all := map[uint32]verify.Port{}
	if t.Ports == nil {
		t.mentioned(func(n uint32) { all[n] = verify.Port{Number: n, Name: fmt.Sprintf("port %d", n)} })
		if len(all) > maxMentioned {
			c.doubt(h.Name, "its flows name more than %d ports, which no switch has", maxMentioned)
			return nil, false
		}
	}
	for _, p := range t.Ports {
		all[p.Number] = verify.Port{Number: p.Number, Name: p.Name}
	}
	for _, n := range h.Tunnels {
		delete(all, n)
	}
	for _, n := range h.OtherTunnels {
		delete(all, n)
	}
	var here int
	var nowhere []string
	for i := range c.o.Ports {
		p := &c.o.Ports[i]
		if p.Host == "" {
			nowhere = append(nowhere, p.Name)
		}
		if n := p.at(h.Name); n != 0 {
			here++
			all[n] = verify.Port{Number: n, Name: p.Name, Members: c.members(p)}
		}
	}
	out := slices.SortedFunc(maps.Values(all), func(a, b verify.Port) int { return cmp.Compare(a.Number, b.Number) })
	if t.Ports == nil {
		if i := slices.IndexFunc(out, func(p verify.Port) bool { return len(p.Members) == 0 && p.Number != flows.PortLocal }); i >= 0 && len(nowhere) > 0 {
			c.doubt(h.Name, "whose its port %d is cannot be seen from its flows, and neither where %s is: say which is where, for example --port %s=%s:%d",
				out[i].Number, few(nowhere), nowhere[0], h.Name, out[i].Number)
			return nil, false
		}
		// There may be ports that no flow mentions: one stands for them all.
		out = append(out, verify.Port{Number: unmentioned(all, h), Name: "a port that no flow mentions"})
	}
	c.out.Ports += here
	return out, true
}

// few is a list of names, not all if they are many.
func few(names []string) string {
	const some = 5
	if len(names) > some {
		return strings.Join(names[:some], ", ") + fmt.Sprintf(" or one of %d more", len(names)-some)
	}
	return strings.Join(names, ", ")
}

// unmentioned is a port number that is none of a host's.
func unmentioned(ports map[uint32]verify.Port, h *Host) uint32 {
	taken := func(n uint32) bool {
		_, is := ports[n]
		return is || h.encap(n) != "" || slices.Contains(h.OtherTunnels, n)
	}
	n := uint32(1)
	for taken(n) {
		n++
	}
	return n
}

func (c *claims) members(p *Port) []verify.Member {
	out := make([]verify.Member, 0, len(p.Networks))
	for _, m := range p.Networks {
		n := c.o.network(m.Network)
		out = append(out, verify.Member{VLAN: m.VLAN, Network: m.Network, Wire: n != nil && n.Wire})
	}
	return out
}

// tell puts a proof into words.
func (c *claims) tell(rep *verify.Report) (*Verification, error) {
	out := c.out
	out.Flows, out.Ingresses, out.Classes, out.Refuted = rep.Flows, rep.Ingresses, rep.Classes, rep.Refuted
	for _, d := range rep.Doubts {
		c.doubt(d.Host, "%s", d.Why)
	}
	hs := NewHosts(c.o)
	broken := map[verify.Kind]bool{}
	for i := range rep.Violations {
		v := &rep.Violations[i]
		broken[v.Kind] = true
		told, err := c.violation(hs, v)
		if err != nil {
			return nil, err
		}
		out.Violations = append(out.Violations, told)
	}
	switch {
	case len(out.Violations) > 0:
		out.Verdict = Violated
	case len(out.Doubts) > 0 || len(out.Hosts) == 0:
		out.Verdict = Undecided
	default:
		out.Verdict = Isolated
	}
	for _, k := range verify.Kinds() {
		p := Property{Name: k.String(), Means: k.Property(), Verdict: Holds}
		switch {
		case broken[k]:
			p.Verdict = Violated
		case len(out.Doubts) > 0 || len(out.Hosts) == 0:
			p.Verdict = Undecided
		}
		out.Properties = append(out.Properties, p)
	}
	return out, nil
}

func (c *claims) violation(hs *Hosts, v *verify.Violation) (Violation, error) {
	out := Violation{Property: v.Kind.String(), Host: v.Host, From: v.From, What: v.What, Packet: v.Packet, Frame: hex.EncodeToString(v.Frame)}
	if v.Trace == nil {
		return out, nil
	}
	// The names of all hosts that the packet may come to.
	for _, host := range c.out.Hosts {
		if hs.names[host] == nil {
			if err := hs.Add(host, c.read[host].Tables); err != nil {
				return out, err
			}
		}
	}
	for _, d := range c.out.Doubts {
		hs.Miss(d.Host, errors.New(d.Why))
	}
	t := &teller{hosts: hs}
	out.Trace, _ = t.hop(v.Trace, "", nil)
	out.Packet = out.Trace.Packet // in_port by its name
	if v.Flow != nil {
		b := &branchTeller{teller: t, names: hs.names[v.Host]}
		out.Flow, out.Table = b.flow(v.Flow), tableName(v.Flow.Table)
	}
	return out, nil
}
