package topo

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// resolveHosts puts declared and observed hosts together. A declared TEP wins
// over an observed one: what a host reports must not redirect traffic that
// somebody decided about. Of two hosts that merely report the same TEP the one
// that was known first keeps it.
func (c *commit) resolveHosts() {
	if len(c.declared) == 0 && !c.hostsDiffer {
		return
	}
	c.resolved = map[string]*Host{}
	c.new.hostProblems = nil
	owners := map[netip.Addr]string{}
	names := map[string]bool{}
	for _, h := range c.new.declared {
		names[h.Name] = true
		if !h.TEP.IsValid() {
			continue
		}
		if other, ok := owners[h.TEP]; ok {
			c.problems.add(&Problem{Object: KindHost + " " + h.Name, Field: "tep", Other: KindHost + " " + other,
				What: fmt.Sprintf("tunnel endpoint %s is already that of host %s", h.TEP, other),
				Hint: "every host needs an address of its own"})
			continue
		}
		owners[h.TEP] = h.Name
	}
	for _, o := range c.new.observations {
		names[o.host] = true
	}
	var hosts []*Host
	for _, name := range sortedKeys(names) {
		hosts = append(hosts, c.identifyHost(name))
	}
	inOrder := slices.Clone(hosts)
	slices.SortFunc(inOrder, func(a, b *Host) int { return cmp.Compare(a.ID, b.ID) })
	for _, h := range inOrder {
		if o := lookup(c.new.observations, h.Name, byObservedHost); o != nil {
			c.observeTEP(h, o, owners)
		}
	}
	slices.SortStableFunc(c.new.hostProblems, func(a, b *Problem) int { return cmp.Compare(a.Object, b.Object) })
	for i, h := range hosts {
		if old := c.old.Host(h.Name); old != nil && *old == *h {
			hosts[i] = old
			continue
		}
		c.resolved[h.Name] = h
	}
	for _, h := range c.old.hosts {
		if !names[h.Name] {
			c.resolved[h.Name] = nil
		}
	}
	c.new.hosts = hosts
	index := &indexEdits{c: c, ids: map[ID]*object{}, uuids: map[string]*object{}}
	each(c.old.Host, c.resolved, index.add, func(h *Host, name string) *object {
		return &object{h.ID, h.UUID, KindHost, name}
	})
	index.apply()
}

// identifyHost is the host as declared, or with the identity it has from before,
// or a new one.
func (c *commit) identifyHost(name string) *Host {
	if d := lookup(c.new.declared, name, byHostName); d != nil {
		h := *d
		return &h
	}
	var was object
	if old := c.old.Host(name); old != nil {
		was = object{id: old.ID, uuid: old.UUID}
	}
	h := &Host{Name: name}
	h.ID, h.UUID = c.identify(KindHost, name, was, h.UUID)
	return h
}

// observeTEP adds to h what was seen of it.
func (c *commit) observeTEP(h *Host, o *observation, owners map[netip.Addr]string) {
	h.Tunnels = o.tunnels
	problem := func(other, what, hint string) {
		c.new.hostProblems = append(c.new.hostProblems,
			&Problem{Object: KindHost + " " + h.Name, Field: "tep", Other: other, What: what, Hint: hint})
	}
	owner, taken := owners[o.tep]
	switch {
	case !o.tep.IsValid() || h.TEP == o.tep:
	case h.TEP.IsValid():
		problem("", fmt.Sprintf("the host reports tunnel endpoint %s, but %s is declared and used", o.tep, h.TEP),
			"join the host again with the declared address, or correct the declaration")
	case checkTEP(o.tep) != "":
		problem("", fmt.Sprintf("the host reports tunnel endpoint %s: %s; no traffic is sent to it", o.tep, checkTEP(o.tep)),
			"join the host again with the address that other hosts reach it at")
	case taken:
		problem(KindHost+" "+owner, fmt.Sprintf("the host reports tunnel endpoint %s, which is that of host %s; no traffic is sent to it", o.tep, owner),
			"give one of the two another address and join it again")
	default:
		h.TEP = o.tep
		owners[o.tep] = h.Name
	}
}

// checkTEP says why an address cannot be a tunnel endpoint, "" if it can.
func checkTEP(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "it has a zone, which means something on one machine only"
	case a.IsUnspecified():
		return "it is the unspecified address"
	case a.IsLoopback():
		return "it is a loopback address"
	case a.IsMulticast():
		return "it is a multicast address"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "it is a link-local address, which is not unique"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is the broadcast address"
	}
	return ""
}
