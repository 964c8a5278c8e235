package controller

import (
	"fmt"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// hostStatus is the live state of a host.
func (v *view) hostStatus(th *topo.Host) api.HostStatus {
	h := v.host(th.Name)
	st := api.HostStatus{
		OVSDB: h.db.api(), OpenFlow: h.of.api(),
		Revision: h.sync.revision(), Flows: h.sync.flows, Groups: h.sync.groups, Meters: h.sync.meters,
		Drift: h.sync.drift, LastError: h.sync.err, Problems: slices.Clone(h.problems),
	}
	if !h.sync.at.IsZero() {
		t := h.sync.at.UTC().Truncate(time.Millisecond)
		st.LastSync = &t
	}
	if h.facts != nil {
		st.OVS = h.facts.Version
		st.Bridge = bridgeStatus(th, h.facts)
		st.Ports = len(rows(h.facts, nil))
		st.Problems = append(st.Problems, bridgeProblems(h.facts)...)
		if h.db.connected {
			st.Problems = append(st.Problems, datapathProblems(th, h.facts, v.model.Encaps())...)
		}
		if b := h.facts.Bridge; h.db.connected && b.Present && !h.of.connected {
			// The database may still show a datapath id: that of before.
			st.Problems = append(st.Problems, fmt.Sprintf(
				"its database is connected and its switch is not: see on the host whether ovs-vswitchd runs and could open bridge %s (datapath type %s): ovs-appctl ofproto/list", b.Name, b.DatapathType))
		}
	}
	for _, p := range v.model.HostProblems() {
		if p.Object == topo.KindHost+" "+th.Name {
			st.Problems = append(st.Problems, p.Error())
		}
	}
	if live := v.c.hosts.find(th.Name); live != nil {
		var wrong []string
		st.Reachability, wrong = v.c.reachability(v.model, live)
		st.Problems = append(st.Problems, wrong...)
	}
	st.Problems = append(st.Problems, h.sync.conflicts...)
	if h.sync.waiting != "" {
		st.Problems = append(st.Problems, h.sync.waiting)
	}
	st.Ready = h.db.connected && h.of.connected && h.sync.err == "" && len(st.Problems) == 0 && h.sync.revision() >= v.model.Revision()
	st.Problems = append(st.Problems, h.refused...)
	return st
}

func bridgeStatus(th *topo.Host, f *ovsdb.Facts) *api.BridgeStatus {
	if !f.Bridge.Present {
		return nil
	}
	b := &api.BridgeStatus{
		Name: f.Bridge.Name, DatapathID: fmt.Sprintf("%016x", f.Bridge.DatapathID), DatapathType: f.Bridge.DatapathType,
		DatapathIntended: f.Bridge.Intended, DatapathFallback: f.Bridge.Fallback,
		FailMode: f.Bridge.FailMode, Protocols: f.Bridge.Protocols,
	}
	for e := topo.GRE; e <= topo.Geneve; e++ {
		if n := th.Tunnel(e); n != 0 {
			if b.Tunnels == nil {
				b.Tunnels = map[string]uint32{}
			}
			b.Tunnels[e.String()] = n
		}
	}
	return b
}

// bridgeProblems is what is wrong with a bridge as read back.
func bridgeProblems(f *ovsdb.Facts) []string {
	var out []string
	if f.Bridge.Present && f.Bridge.FailMode != "secure" {
		out = append(out, fmt.Sprintf("bridge %s has fail_mode %q: without its controller it would forward everything everywhere; it is being set to secure", f.Bridge.Name, f.Bridge.FailMode))
	}
	for _, i := range f.Interfaces {
		if i.Error != "" {
			out = append(out, fmt.Sprintf("interface %s: %s", i.Name, i.Error))
		}
	}
	slices.Sort(out)
	return out
}

// datapathProblems is why, by the database of a host that is connected, no packet could
// pass between its bridge and other hosts: the bridge does not run, or not on the datapath
// that was intended, or a tunnel port in use is not there.
func datapathProblems(th *topo.Host, f *ovsdb.Facts, encaps []topo.Encap) []string {
	b := f.Bridge
	switch {
	case !b.Present:
		return []string{"there is no bridge " + b.Name + " yet; it is being made"}
	case !reported(f):
		return []string{"ovs-vswitchd has not said, since ovsdb-server was started, that bridge " + b.Name + " runs; it is being asked"}
	}
	var out []string
	if text := wrongDatapath(f); text != "" {
		out = append(out, text)
	}
	ports := map[topo.Encap]ovsdb.Interface{}
	for _, i := range f.Interfaces {
		if e, _ := tunnelEncap(i); e != 0 {
			ports[e] = i
		}
	}
	for _, e := range encaps {
		i, there := ports[e]
		switch {
		case !there:
			out = append(out, fmt.Sprintf("there is no tunnel port %s yet: no packet of a network over %s passes", tunnelName(e), e))
		case i.OFPort == 0 && i.Error == "":
			out = append(out, fmt.Sprintf("tunnel port %s has no OpenFlow number yet: no packet of a network over %s passes", i.Name, e))
		case e == topo.GRE && i.Type != string(ovsdb.GREOver(th.TEP)):
			out = append(out, fmt.Sprintf("tunnel port %s is of type %s, and for tunnel endpoint %s it has to be %s; it is being changed", i.Name, i.Type, th.TEP, ovsdb.GREOver(th.TEP)))
		}
	}
	return out
}

// wrongDatapath says that a bridge is on the userspace datapath although the kernel's was
// intended, or might be meant and is there; "" if not. A fall-back that was made together
// with the bridge is no problem: nothing better could be had.
func wrongDatapath(f *ovsdb.Facts) string {
	b := f.Bridge
	const netdev = "netdev"
	keep := fmt.Sprintf("ovs-vsctl br-set-external-id %s %s %s", b.Name, ovsdb.ExternalIDDatapath, netdev)
	change := fmt.Sprintf("ovs-vsctl set bridge %s datapath_type=system", b.Name)
	switch {
	case b.DatapathType != netdev || b.Fallback != "":
		return ""
	case b.Intended == "system":
		return fmt.Sprintf("bridge %s has datapath type %s and was made for system: run '%s' on the host, or, if %[2]s is meant, '%[4]s'", b.Name, netdev, change, keep)
	case b.Intended == "" && f.SystemRuns:
		return fmt.Sprintf("bridge %s has datapath type %s, and the kernel of the host has the system datapath, which another bridge uses: run '%s' on the host, or, if %[2]s is meant, '%[4]s'", b.Name, netdev, change, keep)
	}
	return ""
}

// fellBack reports whether a bridge is on the userspace datapath although the kernel's was
// intended, whoever changed it.
func fellBack(b *api.BridgeStatus) bool {
	return b != nil && b.DatapathType == "netdev" && (b.DatapathFallback != "" || b.DatapathIntended == "system")
}
