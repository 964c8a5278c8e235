// Package ovsdb is a session with one host's Open vSwitch database (RFC 7047,
// database Open_vSwitch): what the host says of itself, which interfaces are on
// its integration bridge, and the set-up of that bridge.
//
// Hosts connect out to the controller (ovs-vsctl set-manager, see JoinScript),
// so a session begins with a connection that was accepted. The client library
// only dials; every session therefore gives it a one-shot unix socket of its
// own to dial, and stands between the two.
//
// What stands there is the gate. It reads every message of the host in order,
// within a bound on size and on time, checks it against the part of the schema
// that is used here, and hands on only what it has written anew. The library
// never sees a byte that a host wrote, which matters because it dereferences and
// asserts what it decodes in goroutines where nothing can recover.
//
// The gate also decides when a picture is complete: after an update it waits
// until the library has applied the whole of it, makes an immutable Facts from
// it, and only then reads on. A reader of Session.Facts never sees half a
// transaction, and after a transaction of ours has returned, Facts shows it.
package ovsdb
