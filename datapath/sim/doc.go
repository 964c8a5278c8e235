// Package sim is an OpenFlow 1.3 switch in memory, as one real implementation of
// the other end of package openflow: tests of everything above the session run
// against it without root, without Open vSwitch and without waiting.
//
// It keeps flows, groups, meters, ports and roles, does flow-mods, bundles and
// dumps, and answers mistakes with the errors of Open vSwitch 3.1. What it is
// sent it stores in the normal form in which Open vSwitch reports it. It forwards
// frames as Open vSwitch would, by the interpreter of package flows/trace: ports are
// functions, an Underlay carries tunnels from switch to switch, packet-outs and
// packet-ins are real. Every connection is new to its connection tracker.
//
// Faults can be injected: a flow-mod that is refused, a switch that stops
// reading, a connection that is cut.
package sim
