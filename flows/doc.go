// Package flows is the OpenFlow algebra of ofctl-lab: matches, actions, flows,
// groups, meters and cookies as immutable values; a State of a whole switch;
// Diff and Plan between two States; and the ovs-ofctl text of all of it, both
// ways.
//
// Everything here is pure: no locks, clocks, logs or I/O. The package knows
// neither the overlay (topo) nor the wire (datapath/openflow/ofp13).
//
// Values are normalised on construction to the form in which Open vSwitch
// reports them back over OpenFlow 1.3, so that Diff(dumped, compiled) is empty
// when a switch holds exactly what was compiled for it.
package flows
