package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// The parts that a compiled State is made of. Which one a row is in decides
// only what a recompilation shares with its predecessor:
//
//	{host, own}        the rows that every host has, and the tunnel ports
//	{network, own}     the rows of one network present on the host, and its group
//	{port, network ID} one member's rows, or those of a port that is down
//	{host, peer}       the row of one peer's tunnel endpoint
//	{port, trunk}      a local trunk port's own row
//	{port, meter}      the meter of a local port that learns
//	{host, meter}      the one that ports of high numbers share
//
// The last four depend on more than one network, and lie above every ID.
const (
	aspectOwn   = 0
	aspectPeer  = uint32(topo.MaxID) + 1
	aspectTrunk = uint32(topo.MaxID) + 2
	aspectMeter = uint32(topo.MaxID) + 3
)

// Compile is everything that the switch of a host must hold for a snapshot. A
// host that the snapshot does not know holds nothing. The error is a
// *flows.ClashError where two objects want the same flow or group, or says which
// network is too large; none of them is expected of a snapshot that topo has
// validated.
func Compile(s *topo.Snapshot, host string) (*flows.State, error) {
	h := s.Host(host)
	if h == nil {
		return flows.NewState(nil), nil
	}
	parts := map[flows.PartID]*flows.Part{}
	hostParts(parts, h)
	segments := s.SegmentsOn(host)
	for _, seg := range segments {
		if err := segmentPart(parts, h, seg); err != nil {
			return nil, err
		}
		here := on(h, seg)
		for _, m := range seg.Members {
			memberPart(parts, here, m)
		}
		for _, m := range seg.Down {
			downPart(parts, here, m)
		}
	}
	crossParts(parts, h, segments)
	state := flows.NewState(parts)
	if err := flows.Clash(state); err != nil {
		return nil, named(s, host, err)
	}
	return state, nil
}

// Recompile is Compile(next, host), given that prev is Compile(old, host); the
// parts of what did not change are shared with prev, and only what did is
// compiled. Clashes are looked for only by Compile, which the controller's
// audit runs from time to time.
func Recompile(prev *flows.State, old, next *topo.Snapshot, host string) (*flows.State, error) {
	h := next.Host(host)
	if h == nil || old.Host(host) != h {
		// The host's own tunnel ports or endpoint changed: nearly all rows do.
		return Compile(next, host)
	}
	segments := next.SegmentsOn(host)
	before, after := old.SegmentsOn(host), segments
	if slices.Equal(before, after) {
		return prev, nil // what changed is on other hosts
	}
	parts := prev.CloneParts()
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Network.ID < after[0].Network.ID:
			dropSegment(parts, before[0])
			before = before[1:]
		case len(before) == 0 || after[0].Network.ID < before[0].Network.ID:
			if err := diffSegment(parts, h, nil, after[0]); err != nil {
				return nil, err
			}
			after = after[1:]
		default:
			if before[0] != after[0] {
				if err := diffSegment(parts, h, before[0], after[0]); err != nil {
					return nil, err
				}
			}
			before, after = before[1:], after[1:]
		}
	}
	crossParts(parts, h, segments)
	return flows.NewState(parts), nil
}

// hostParts are the rows that every host has.
func hostParts(parts map[flows.PartID]*flows.Part, h *topo.Host) {
	r := &rows{owner: h.ID}
	classifyHost(r, h)
	spoofGuardHost(r)
	arpNDHost(r)
	l2DstHost(r)
	floodHost(r)
	outputHost(r)
	parts[flows.PartID{Owner: uint32(h.ID), Aspect: aspectOwn}] = &r.part
}

// segmentPart are the rows of a network that has a local member. It uses the
// tunnel only where it has a member elsewhere too.
func segmentPart(parts map[flows.PartID]*flows.Part, h *topo.Host, seg *topo.Segment) error {
	n := seg.Network
	if n.IsWire() {
		wirePart(parts, h, seg)
		return nil
	}
	r := &rows{owner: n.ID}
	var tunnel uint32
	for _, m := range seg.Members {
		if isRemote(m, h) || isStandbyElsewhere(m, h) {
			tunnel = h.Tunnel(n.Encap)
			break
		}
	}
	if tunnel != 0 {
		classifyTunnel(r, n, tunnel)
		outputTunnel(r, n, tunnel)
	}
	l2DstUnknown(r, seg)
	if err := floodNetwork(r, h, seg, tunnel); err != nil {
		return err
	}
	parts[flows.PartID{Owner: uint32(n.ID), Aspect: aspectOwn}] = &r.part
	return nil
}

// networkOn is a network on a host.
type networkOn struct {
	host *topo.Host
	seg  *topo.Segment
	// learns says whether it has a port there behind which MACs are learned.
	learns bool
}

func on(h *topo.Host, seg *topo.Segment) networkOn {
	learning := func(m *topo.Member) bool { return m.Learned != nil && localTo(m, h) != nil }
	return networkOn{h, seg, slices.ContainsFunc(seg.Members, learning)}
}

// memberPart are the rows of one member of a network, local or remote.
func memberPart(parts map[flows.PartID]*flows.Part, on networkOn, m *topo.Member) {
	h, seg := on.host, on.seg
	if seg.Network.IsWire() {
		wireMemberPart(parts, h, seg, m)
		return
	}
	here := localTo(m, h)
	if here == nil && !isRemote(m, h) {
		delete(parts, memberID(seg, m))
		return
	}
	n := seg.Network
	r := &rows{owner: m.Port.ID}
	if here != nil {
		classifyMemberRows(r, n, here)
		spoofGuardMember(r, h, n, here)
		outputMember(r, n, here)
	}
	if isStandby(m, h) {
		l2DstStandby(r, n, here)
	}
	if on.learns {
		spoofGuardTaken(r, n, m)
	}
	arpNDMember(r, h, n, m)
	if isLocal(m, h) || isRemote(m, h) {
		l2DstMember(r, h, n, m)
	}
	parts[memberID(seg, m)] = &r.part
}

// downPart are the rows of a port that is bound nowhere: its flows at the port
// went with the binding, its addresses stay answered, and nobody gets them meanwhile.
func downPart(parts map[flows.PartID]*flows.Part, on networkOn, m *topo.Member) {
	if m.Port.MAC.IsZero() {
		return
	}
	seg := on.seg
	r := &rows{owner: m.Port.ID}
	if on.learns {
		spoofGuardTaken(r, seg.Network, m)
	}
	arpNDDown(r, seg.Network, m)
	l2DstDown(r, seg.Network, m)
	parts[memberID(seg, m)] = &r.part
}

func memberID(seg *topo.Segment, m *topo.Member) flows.PartID {
	return flows.PartID{Owner: uint32(m.Port.ID), Aspect: uint32(seg.Network.ID)}
}

// crossParts are the rows that depend on more than one network: one for each
// peer with a member in any network present here, one for each local trunk; and
// the meter of each local port that learns.
// Parts that are as they were stay the same pointers.
func crossParts(parts map[flows.PartID]*flows.Part, h *topo.Host, segments []*topo.Segment) {
	wanted := map[flows.PartID]func(*rows){}
	for _, seg := range segments {
		for _, m := range seg.Members {
			here := localTo(m, h)
			if here != nil && tells(here) {
				meter, owner := meterOf(h, here)
				wanted[flows.PartID{Owner: uint32(owner), Aspect: aspectMeter}] = func(r *rows) { learnMeter(r, meter) }
			}
			for peer := range peersOf(m, h) {
				id := flows.PartID{Owner: uint32(peer.ID), Aspect: aspectPeer}
				if wanted[id] == nil {
					wanted[id] = func(r *rows) { spoofGuardPeer(r, peer.TEP) }
				}
			}
			if here == nil || here.Sub == nil {
				continue
			}
			id := flows.PartID{Owner: uint32(m.Port.ID), Aspect: aspectTrunk}
			if wanted[id] == nil {
				wanted[id] = func(r *rows) { classifyTrunkPort(r, here) }
			}
		}
	}
	for id := range parts {
		if id.Aspect > uint32(topo.MaxID) && wanted[id] == nil {
			delete(parts, id)
		}
	}
	for id, write := range wanted {
		r := &rows{owner: topo.ID(id.Owner)}
		write(r)
		if was := parts[id]; was == nil || !samePart(was, &r.part) {
			parts[id] = &r.part
		}
	}
}

func samePart(a, b *flows.Part) bool {
	return slices.EqualFunc(a.Flows, b.Flows, (*flows.Flow).Equal) && slices.EqualFunc(a.Meters, b.Meters, (*flows.Meter).Equal)
}

// dropSegment takes out everything of a network that left the host.
func dropSegment(parts map[flows.PartID]*flows.Part, seg *topo.Segment) {
	delete(parts, flows.PartID{Owner: uint32(seg.Network.ID), Aspect: aspectOwn})
	dropMembers(parts, seg)
}

// diffSegment recompiles what differs between two states of a network; was is
// nil for one that is new on the host.
func diffSegment(parts map[flows.PartID]*flows.Part, h *topo.Host, was, is *topo.Segment) error {
	if err := segmentPart(parts, h, is); err != nil {
		return err
	}
	here := on(h, is)
	// Where MACs begin, or cease, to be learned, the rows of all members differ.
	if was != nil && (was.Network != is.Network || on(h, was).learns != here.learns) {
		dropMembers(parts, was)
		was = nil
	}
	var old, oldDown []*topo.Member
	if was != nil {
		old, oldDown = was.Members, was.Down
	}
	// A port that came up or went down has one part before and after: take out what
	// was down, then do the members, then put in what is down.
	notIn(oldDown, is.Down, func(m *topo.Member) { delete(parts, memberID(is, m)) })
	for _, m := range is.Members {
		for len(old) > 0 && old[0].Port.ID < m.Port.ID {
			delete(parts, memberID(is, old[0]))
			old = old[1:]
		}
		if len(old) > 0 && old[0].Port.ID == m.Port.ID {
			same := old[0] == m
			old = old[1:]
			if same {
				continue
			}
		}
		memberPart(parts, here, m)
	}
	for _, m := range old {
		delete(parts, memberID(is, m))
	}
	notIn(is.Down, oldDown, func(m *topo.Member) { downPart(parts, here, m) })
	return nil
}

// notIn visits the members of a that are not in b; both ascend by Port.ID.
func notIn(a, b []*topo.Member, visit func(*topo.Member)) {
	for _, m := range a {
		for len(b) > 0 && b[0].Port.ID < m.Port.ID {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != m {
			visit(m)
		}
	}
}

func dropMembers(parts map[flows.PartID]*flows.Part, seg *topo.Segment) {
	for _, members := range [][]*topo.Member{seg.Members, seg.Down} {
		for _, m := range members {
			delete(parts, memberID(seg, m))
		}
	}
}

// named gives the two sides of a clash the names of their owners.
func named(s *topo.Snapshot, host string, err error) error {
	var c *flows.ClashError
	if !errors.As(err, &c) {
		return fmt.Errorf("compile for host %s: %w", host, err)
	}
	owner := func(id flows.PartID) string {
		if kind, name, ok := s.ObjectByID(topo.ID(id.Owner)); ok {
			return kind + " " + name
		}
		return fmt.Sprintf("object %d", id.Owner)
	}
	return fmt.Errorf("compile for host %s: %s and %s clash: %w", host, owner(c.Parts[0]), owner(c.Parts[1]), err)
}
