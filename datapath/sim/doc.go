// Package sim is an OpenFlow 1.3 switch in memory, as one real implementation of
// the other end of package openflow: tests of everything above the session run
// against it without root, without Open vSwitch and without waiting.
//
// It keeps flows, groups, meters, ports and roles, does flow-mods, bundles and
// dumps, and answers mistakes with the errors of Open vSwitch 3.1. What it is
// sent it stores in the normal form in which Open vSwitch reports it. It does
// not forward packets; a packet-out is answered with OFPBRC_BAD_TYPE.
//
// Faults can be injected: a flow-mod that is refused, a switch that stops
// reading, a connection that is cut.
package sim
