// Package lab runs the hosts of an overlay on one machine: each host is a
// network namespace with an ovsdb-server and an ovs-vswitchd of its own, joined
// to the others by an underlay, and to a controller by a management network.
//
//	<lab>.net            the Linux bridges "underlay" and "mgmt", and the controller
//	<lab>.<host>         a host: uplink with the TEP, mgmt0, br-int; with the userspace
//	                     datapath the uplink is a port of br-phy, which has the TEP
//	<lab>.<host>.<netns> a guest, attached to its host's br-int by a veth pair
//
// A guest may also be a [Machine]: qemu in its host's namespace, run by a
// supervisor, with a tap on br-int for each NIC.
//
// Nothing is created in the machine's own namespace, and the daemons keep all
// their files in the lab's state directory: a lab neither sees nor disturbs an
// Open vSwitch of the machine, and several labs live side by side.
//
// A [Manager] works on labs by name. [Manager.Up] makes a lab what its [Spec]
// says, from nothing, from an interrupted attempt or from another spec; it can be
// repeated at will. Everything it creates is in the state file before it is
// created, so that [Manager.Down] removes every trace even after a crash.
// Commands that change a lab hold its lock file; a second one waits for it.
//
// The methods need root and the Debian package openvswitch-switch, and machines
// qemu-system-x86. They may be
// called concurrently. They return what happened and log nothing.
package lab
