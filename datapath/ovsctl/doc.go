// Package ovsctl drives the Open vSwitch of this machine with its own tools, for
// set-up from the command line and for what only the tools can say
// (ofproto/trace, a dump as ovs-ofctl writes it). The controller does not use it:
// it speaks OVSDB and OpenFlow itself.
//
// It is a thin room round github.com/digitalocean/go-openvswitch, whose traps it
// keeps to itself: that client appends to a slice shared by all its calls, so
// each call here has a client of its own; it knows no other socket than the
// default one, so its exec hook supplies ours; it makes a port and its
// external_ids in two transactions, so the hook joins them; and its
// parsers of flows lose registers and tunnel fields, so they are not used.
//
// The tools speak over unix sockets, which do not care about network namespaces:
// to drive a switch in another namespace only its run directory is needed.
package ovsctl
