// Package flows is the OpenFlow algebra of ofctl-lab: matches, actions, flows,
// groups, meters and cookies as immutable values; a State of a whole switch;
// Diff and Plan between two States; and the ovs-ofctl text of all of it, both
// ways.
//
// Everything here is pure: no locks, clocks, logs or I/O. The package knows
// neither the overlay (topo) nor the wire (datapath/openflow/ofp13).
//
// There is one normal form, that in which Open vSwitch reports flows back over
// OpenFlow 1.3 (see Normalize). Parsers return it, Set, SetBits and Match.With
// make it, and Key and Equal see through any other, so that Diff(dumped, compiled)
// is empty when a switch holds exactly what was compiled for it.
//
// The text is that of ovs-ofctl 3.1, character for character, with one exception
// that is ovs-ofctl's own: it does not read back an IPv6 mask that begins with a
// decimal digit, which it takes for the length of a prefix.
package flows
