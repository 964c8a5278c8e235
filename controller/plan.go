package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/store"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// attribute is one attribute of an object, for people to read.
type attribute struct{ name, value string }

func hostAttributes(h *topo.Host) []attribute {
	return []attribute{{"tep", h.TEP.String()}, {"declared", fmt.Sprint(h.Declared)}}
}

func networkAttributes(n *topo.Network) []attribute {
	return []attribute{{"type", n.Type.String()}, {"carrier", n.Carrier.String()}, {"encap", n.Encap.String()}, {"key", fmt.Sprint(n.Key)}, {"subnets", joined(n.Subnets)}, {"answer", n.Answer.String()}}
}

func portAttributes(p *topo.Port) []attribute {
	out := []attribute{
		{"mac", p.MAC.String()}, {"profile", p.Profile.String()}, {"network", p.Network}, {"addresses", joined(p.Addresses)},
		{"host", p.Host}, {"netns", p.Netns}, {"interface", p.Interface}, {"trunk.native", ""}, {"trunk.vlans", ""},
		{"guest", p.Guest}, {"macs", ""}, {"migrate_to", p.MigrateTo},
	}
	if p.MACs != 0 {
		out[10].value = fmt.Sprint(p.MACs)
	}
	if p.Trunk != nil {
		if n := p.Trunk.Native; n != nil {
			out[7].value = subPortText(*n)
		}
		var vlans []string
		for _, s := range p.Trunk.VLANs {
			vlans = append(vlans, fmt.Sprintf("%d: %s", s.VLAN, subPortText(s)))
		}
		out[8].value = strings.Join(vlans, ", ")
	}
	return out
}

func subPortText(s topo.SubPort) string {
	if len(s.Addresses) == 0 {
		return s.Network
	}
	return s.Network + " (" + joined(s.Addresses) + ")"
}

func joined[T fmt.Stringer](items []T) string {
	out := make([]string, len(items))
	for i, v := range items {
		out[i] = v.String()
	}
	return strings.Join(out, ", ")
}

// differences are the attributes that differ, as "name: old → new".
func differences(old, next []attribute) []string {
	var out []string
	for i := range old {
		if old[i].value != next[i].value {
			out = append(out, fmt.Sprintf("%s: %s → %s", old[i].name, orNone(old[i].value), orNone(next[i].value)))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// attributes of the object of that kind and name, nil if s has none.
func attributes(s *topo.Snapshot, kind, name string) []attribute {
	switch kind {
	case topo.KindHost:
		if h := s.Host(name); h != nil {
			return hostAttributes(h)
		}
	case topo.KindNetwork:
		if n := s.Network(name); n != nil {
			return networkAttributes(n)
		}
	case topo.KindPort:
		if p := s.Port(name); p != nil {
			return portAttributes(p)
		}
	}
	return nil
}

// plan says what becoming next means for objects and switches.
func (v *view) plan(old, next *topo.Snapshot, changes topo.Changes) (*api.Plan, error) {
	p := &api.Plan{Revision: next.Revision(), Changes: []api.Change{}, Hosts: []api.HostPlan{}}
	for _, ch := range changes.Objects {
		p.Changes = append(p.Changes, change(old, next, ch))
	}
	interrupts := interrupted(old, next)
	names := map[string]bool{}
	for _, s := range []*topo.Snapshot{old, next} {
		for _, h := range s.Hosts() {
			names[h.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		hp, err := v.hostPlan(old, next, name)
		if err != nil {
			return nil, err
		}
		hp.Interrupts = interrupts[name]
		p.Interrupted = p.Interrupted || len(hp.Interrupts) > 0
		if hp.FlowsAdded+hp.FlowsModified+hp.FlowsDeleted+hp.Groups+hp.Meters+len(hp.Interrupts) > 0 {
			p.Hosts = append(p.Hosts, hp)
		}
	}
	return p, nil
}

func change(old, next *topo.Snapshot, ch topo.Change) api.Change {
	out := api.Change{Kind: ch.Kind, Name: ch.Name}
	switch ch.Op {
	case topo.Added:
		out.Action = api.ActionAdd
	case topo.Removed:
		out.Action = api.ActionRemove
	default:
		out.Action = api.ActionChange
		out.Fields = differences(attributes(old, ch.Kind, ch.Name), attributes(next, ch.Kind, ch.Name))
	}
	return out
}

// hostPlan counts what changes in the switch of one host.
func (v *view) hostPlan(old, next *topo.Snapshot, name string) (api.HostPlan, error) {
	hp := api.HostPlan{Host: name, Connected: v.host(name).of.connected}
	have, err := pipeline.Compile(old, name)
	if err != nil {
		return hp, err
	}
	want, err := pipeline.Recompile(have, old, next, name)
	if err != nil {
		return hp, err
	}
	d := flows.Diff(have, want)
	hp.FlowsAdded, hp.FlowsModified, hp.FlowsDeleted = len(d.AddFlows), len(d.ModFlows), len(d.DelFlows)
	hp.Groups = len(d.AddGroups) + len(d.ModGroups) + len(d.DelGroups)
	hp.Meters = len(d.AddMeters) + len(d.ModMeters) + len(d.DelMeters)
	return hp, nil
}

// interrupted says, by host, which bound ports lose traffic, and why. Only what
// carries packets counts: a name or an address that is added interrupts nobody.
func interrupted(old, next *topo.Snapshot) map[string][]string {
	out := map[string][]string{}
	for _, p := range old.Ports() {
		b := old.Bindings(p.Name)
		if len(b) == 0 {
			continue
		}
		if why := portInterrupted(old, next, p, b[0].Host); why != "" {
			out[b[0].Host] = append(out[b[0].Host], "port "+p.Name+": "+why)
		}
	}
	return out
}

func portInterrupted(old, next *topo.Snapshot, p *topo.Port, host string) string {
	q := next.Port(p.Name)
	switch {
	case q == nil:
		return "is removed"
	case q.MAC != p.MAC:
		return fmt.Sprintf("its MAC changes from %s to %s", p.MAC, q.MAC)
	}
	for _, a := range p.Addresses {
		if len(q.Addresses) > 0 && !slices.Contains(q.Addresses, a) {
			return fmt.Sprintf("loses address %s", a)
		}
	}
	now := carried(q)
	for at, network := range carried(p) {
		if now[at] != network {
			return fmt.Sprintf("leaves network %s", network)
		}
		a, b := old.Network(network), next.Network(network)
		if a.Type != b.Type {
			return fmt.Sprintf("network %s, which is of type %s, becomes one of type %s", network, a.Type, b.Type)
		}
		if a.Encap != b.Encap || a.Key != b.Key {
			return fmt.Sprintf("network %s goes from %s %d to %s %d: until all hosts have followed, traffic between hosts is lost", network, a.Encap, a.Key, b.Encap, b.Key)
		}
	}
	if a, b := old.Host(host), next.Host(host); a != nil && b != nil && a.TEP != b.TEP {
		return fmt.Sprintf("the tunnel endpoint of %s goes from %s to %s", host, a.TEP, b.TEP)
	}
	return ""
}

// carried is the network of each VLAN of a port; 0 is untagged.
func carried(p *topo.Port) map[uint16]string {
	if p.Trunk == nil {
		return map[uint16]string{0: p.Network}
	}
	out := map[uint16]string{}
	if p.Trunk.Native != nil {
		out[0] = p.Trunk.Native.Network
	}
	for _, s := range p.Trunk.VLANs {
		out[s.VLAN] = s.Network
	}
	return out
}

// metaOf is what a file says beside its objects.
func metaOf(f *file.File) store.Meta {
	return store.Meta{Name: f.Name, Underlay: store.Underlay{Subnets: f.Underlay.Subnets, MTU: f.Underlay.MTU}}
}

// topologyText is the stored intent as a topology file.
func (m *model) topologyText() string {
	f := file.File{
		Name: m.meta.Name, Topology: m.Desired().Topology(),
		Underlay: file.Underlay{Subnets: m.meta.Underlay.Subnets, MTU: m.meta.Underlay.MTU},
	}
	return string(file.Format(f))
}
