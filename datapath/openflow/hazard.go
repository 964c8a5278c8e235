package openflow

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// ErrHazard is in the chain of a CommitError about operations that are allowed by
// OpenFlow and make Open vSwitch (3.1.0 and 3.5.0) end with an assertion failure, and so stop
// forwarding. They are refused before anything of their step is sent.
var ErrHazard = errors.New("would make Open vSwitch abort")

// hazard refuses what Open vSwitch does not survive:
//
//   - A flow that names a group twice is entered twice in the group's list of flows, so
//     that the group's deletion removes it twice ("rule->state == RULE_INSERTED" in
//     ofproto_rule_remove__).
//   - The deletion of a group deletes the flows that name it. When a later operation of
//     the same bundle fails, they are put back before the group is ("group != NULL" in
//     ofproto_rule_insert__). With deletions of groups at the end, which cannot fail,
//     nothing is ever put back.
func hazard(s flows.Step) error {
	deletion := -1
	for i, op := range s.Ops {
		switch {
		case op.Flow != nil && op.Kind != flows.DeleteFlow:
			if id, twice := groupTwice(op.Flow); twice {
				return opError(s.Ops, i, fmt.Errorf("names group %d twice: %w when the group is deleted; use a group with two buckets", id, ErrHazard))
			}
		case op.Kind == flows.DeleteGroup:
			deletion = i
			continue
		}
		if s.Atomic && deletion >= 0 {
			return opError(s.Ops, deletion, fmt.Errorf("stands before other operations of a bundle: %w if one of them fails; delete groups last", ErrHazard))
		}
	}
	return nil
}

// groupTwice is the first group that the actions of f name more than once.
func groupTwice(f *flows.Flow) (id uint32, twice bool) {
	ids := f.Groups()
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return id, true
		}
	}
	return 0, false
}
