package harness

import (
	"fmt"
	"slices"
)

// beyondLimits say which peers are better than a limit, with all of the interval of their ratio: then
// the limit is none, and a share of it means little. A peer is held to the limits that a comparison
// sets it against, and to the only limit of a result in any case.
func (r *Result) beyondLimits() []string {
	limits := slices.DeleteFunc(slices.Clone(r.Peers), func(p PeerResult) bool { return p.Role != Limit })
	var lines []string
	for _, p := range r.Peers {
		for _, limit := range limits {
			if p.Role != Limit && (len(limits) == 1 || r.compares(p.Name, limit.Name)) && r.beyond(p.Name, limit.Name) {
				lines = append(lines, fmt.Sprintf("%s exceeds the limit %s: the limit is not one here", p.Name, limit.Name))
			}
		}
	}
	return lines
}

// compares says that a comparison sets the peer's value against the other's.
func (r *Result) compares(peer, against string) bool {
	return slices.ContainsFunc(r.Comparisons, func(c ComparisonResult) bool {
		return c.Peer == peer && c.Against == against && c.Detail == ""
	})
}

// beyond says that a peer is clearly better than a limit.
func (r *Result) beyond(peer, limit string) bool {
	ratios := r.ratios(peer, limit, "")
	return len(ratios) > 0 && verdict(r.spread(ratios), 1, r.Better) == PeerBetter
}
