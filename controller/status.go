package controller

import (
	"fmt"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// view is everything at one moment, for answering a request from. What is in
// it does not change.
type view struct {
	c     *Controller
	model *model
	hosts map[string]hostView
	// stuck are interfaces with an iface-id but without a number, by iface-id.
	stuck map[string]stuckInterface
}

// hostView is what is known about a host.
type hostView struct {
	db, of   sessionState
	sync     *syncState
	facts    *ovsdb.Facts
	problems []string // of the host itself
	refused  []string // sessions in its name
}

type stuckInterface struct{ host, name, err string }

func (c *Controller) view() *view {
	v := &view{c: c, model: c.engine.load(), hosts: map[string]hostView{}, stuck: map[string]stuckInterface{}}
	for _, h := range c.hosts.all() {
		hv := hostView{db: *h.db.Load(), of: *h.of.Load(), sync: h.sync.Load(), facts: h.facts.Load()}
		hv.problems, hv.refused = h.problemList()
		v.hosts[h.name] = hv
		if hv.facts == nil {
			continue
		}
		for _, i := range hv.facts.Interfaces {
			if i.IfaceID != "" && i.OFPort == 0 {
				v.stuck[i.IfaceID] = stuckInterface{h.name, i.Name, i.Error}
			}
		}
	}
	return v
}

func (v *view) host(name string) hostView {
	if h, ok := v.hosts[name]; ok {
		return h
	}
	return hostView{sync: &syncState{}}
}

// iface is the row of the Interface table that a binding is about.
func (h hostView) iface(b topo.Binding) (ovsdb.Interface, bool) {
	if h.facts == nil {
		return ovsdb.Interface{}, false
	}
	i, ok := h.facts.Interfaces[b.Interface]
	return i, ok
}

// holds reports whether a device of the host is held down.
func (h hostView) holds(device string) bool { return h.facts != nil && h.facts.Held[device] }

// portStatus is computed from what the switch of the port's host confirmed. What the port has
// learned is not in it.
func (v *view) portStatus(p *topo.Port) api.PortStatus {
	bindings := v.model.Bindings(p.Name)
	if len(bindings) == 0 {
		return v.unbound(p)
	}
	b := bindings[0]
	h := v.host(b.Host)
	i, _ := h.iface(b)
	st := api.PortStatus{State: api.StateUp, Host: b.Host, OFPort: b.OFPort, InterfaceName: i.Name, LinkState: i.LinkState}
	switch reason := v.unconfirmed(p, b, h); {
	case reason != "":
		st.State, st.Message = api.StateBinding, reason
	case i.Error != "":
		st.State, st.Message = api.StateBinding, "the switch reports for interface "+i.Name+": "+i.Error
	case h.holds(i.Name):
		st.HeldDown = v.heldBecause(p)
		st.State, st.Message = api.StateBinding, "held down: "+st.HeldDown
	case i.LinkState == "":
		st.State, st.Message = api.StateBinding, fmt.Sprintf("the switch of %s has not yet said whether interface %s has a link", b.Host, i.Name)
	case i.LinkState != "up" && i.AdminState == "down":
		st.State = api.StateBinding
		st.Message = fmt.Sprintf("interface %s is down on %s, and not because of this controller: ip link set %[1]s up", i.Name, b.Host)
	case i.LinkState != "up":
		st.State, st.Message = api.StateBinding, fmt.Sprintf("interface %s has no link; bring both ends up", i.Name)
	}
	for _, r := range v.model.Rivals(p.Name) {
		st.Rivals = append(st.Rivals, v.claim(p.Name, r))
	}
	if m, ok := v.model.Migration(p.Name); ok {
		st.Standby = &api.Standby{Claim: v.claim(p.Name, m.Standby), Ready: v.prepared(p, m), Source: m.Returned}
		if st.State == api.StateUp {
			st.State, st.Message = api.StateMigrating, v.progress(st.Standby)
		}
		if n := v.c.migrations.of(p.Name); n >= tooManyTurns {
			st.State = api.StateConflict
			st.Message = fmt.Sprintf("its traffic has changed hosts %d times in this migration: guests on both %s and %s send from its addresses. Stop one of them", n, b.Host, m.Standby.Host)
		}
	}
	if len(st.Rivals) > 0 {
		st.State = api.StateConflict
		st.Message = fmt.Sprintf("claimed on %s by interface %s and also %s; the first keeps the traffic. Remove iface-id %s from the others", b.Host, i.Name, strings.Join(rivalPlaces(st.Rivals), ", "), p.Name)
	}
	return st
}

// prepared reports whether the switch of a migration's standby host has confirmed
// what the port needs there.
func (v *view) prepared(p *topo.Port, m topo.Migration) bool {
	h := v.host(m.Standby.Host)
	i, _ := h.iface(m.Standby)
	if !h.of.connected || h.sync.err != "" || h.sync.confirmed == nil || i.Error != "" {
		return false
	}
	confirmed, ok := h.sync.confirmed.Migration(p.Name)
	return ok && confirmed == m && h.sync.confirmed.Port(p.Name) == p
}

// progress says how far a migration is.
func (v *view) progress(s *api.Standby) string {
	switch {
	case s.Source:
		return fmt.Sprintf("it has come from %s, which still shows it on interface %s: the migration ends when that goes", s.Host, s.InterfaceName)
	case s.Ready:
		return fmt.Sprintf("%s is ready: the port goes over when its guest sends its first frame there, on interface %s", s.Host, s.InterfaceName)
	}
	return fmt.Sprintf("%s is being prepared", s.Host)
}

func rivalPlaces(rivals []api.Claim) []string {
	var out []string
	for _, r := range rivals {
		out = append(out, "on "+r.Host+" by "+r.InterfaceName)
	}
	return out
}

// unbound says why a port has no binding.
func (v *view) unbound(p *topo.Port) api.PortStatus {
	st := api.PortStatus{State: api.StateDown, Message: "no host shows an interface with external_ids:iface-id=" + p.Name + "; plug it"}
	for _, id := range []string{p.Name, p.UUID.String()} {
		if s, ok := v.stuck[id]; ok {
			st.Host, st.InterfaceName = s.host, s.name
			st.Message = fmt.Sprintf("interface %s on %s has no OpenFlow number yet", s.name, s.host)
			if s.err != "" {
				st.Message = fmt.Sprintf("interface %s on %s: %s", s.name, s.host, s.err)
			}
		}
	}
	return st
}

// unconfirmed says why the port's flows are not confirmed by its host's switch,
// empty if they are.
func (v *view) unconfirmed(p *topo.Port, b topo.Binding, h hostView) string {
	switch {
	case !h.of.connected:
		return fmt.Sprintf("the switch of %s is not connected; it forwards with the flows it has", b.Host)
	case h.sync.waiting != "":
		return h.sync.waiting
	case h.sync.err != "":
		return fmt.Sprintf("the switch of %s is not up to date: %s", b.Host, h.sync.err)
	case h.sync.confirmed == nil:
		return fmt.Sprintf("the switch of %s is being programmed", b.Host)
	}
	confirmed := h.sync.confirmed.Bindings(p.Name)
	if h.sync.confirmed.Port(p.Name) != p || len(confirmed) == 0 || confirmed[0] != b {
		return fmt.Sprintf("the switch of %s is being programmed", b.Host)
	}
	return ""
}

func (v *view) claim(ifaceID string, b topo.Binding) api.Claim {
	i, _ := v.host(b.Host).iface(b)
	return api.Claim{IfaceID: ifaceID, Host: b.Host, OFPort: b.OFPort, InterfaceName: i.Name, InterfaceUUID: b.Interface}
}

// portStates counts the declared ports by state; every state is in the answer.
func (v *view) portStates() map[api.State]int {
	out := map[api.State]int{api.StateDown: 0, api.StateBinding: 0, api.StateUp: 0, api.StateConflict: 0, api.StateMigrating: 0}
	for _, p := range v.model.Ports() {
		out[v.portStatus(p).State]++
	}
	return out
}

// portsUp counts the ports that carry their guests' traffic.
func (v *view) portsUp() int {
	states := v.portStates()
	return states[api.StateUp] + states[api.StateMigrating]
}

func (s sessionState) api() api.SessionStatus {
	out := api.SessionStatus{Connected: s.connected, Peer: s.peer, Error: s.err}
	if !s.since.IsZero() {
		t := s.since.UTC().Truncate(time.Millisecond)
		out.Since = &t
	}
	return out
}

// status is the controller at a glance.
func (v *view) status() api.Status {
	m := v.model
	states := v.portStates()
	st := api.Status{
		Version: v.c.deps.Version, Started: v.c.started.UTC().Truncate(time.Second), Topology: m.meta.Name,
		Revision: m.Revision(), SyncedRevision: m.Revision(), Settled: v.c.settle.complete(),
		Hosts: len(m.Hosts()), Tenants: len(m.Tenants()), Networks: len(m.Networks()), Ports: len(m.Ports()),
		PortsUp: v.portsUp(), PortsConflict: states[api.StateConflict],
		OpenFlowListen: v.c.OpenFlowAddr().String(), OVSDBListen: v.c.OVSDBAddr().String(),
	}
	for _, h := range m.Hosts() {
		hs := v.hostStatus(h)
		if hs.Ready {
			st.HostsReady++
		}
		if hs.OpenFlow.Connected {
			st.SyncedRevision = min(st.SyncedRevision, hs.Revision)
		}
		for _, p := range hs.Problems {
			st.Problems = append(st.Problems, "host "+h.Name+": "+p)
		}
	}
	st.Problems = append(st.Problems, v.learningProblems()...)
	for _, k := range m.Conflicts() {
		st.Problems = append(st.Problems, fmt.Sprintf("port %s is claimed in %d places: see ofctl-lab describe port %s", k.Port, len(k.Bindings), k.Port))
	}
	return st
}
