// Package controller decides when: it observes the hosts over OVSDB, commits
// what it saw and what users want to the overlay (topo), compiles for each host
// what its switch must hold (flows/pipeline), and makes the switch hold it
// (datapath/openflow).
//
// # Who owns what
//
// One goroutine owns each mutable thing; everybody else sees immutable values
// through an atomic pointer.
//
//	engine    1               the newest topo.Snapshot and the store
//	binder    1 per host      which rows of the host's Interface table are bound; quarantine of port numbers
//	session   1 per OVSDB     follows one host's ovsdb-server; with it a keeper that
//	          connection      keeps the bridge as it must be
//	worker    1 per OpenFlow  what the switch holds: dump, diff, commit, audit
//	          connection
//	migrations 1              lets ports that were cut over go back, after a while
//	learner   1 per OpenFlow  makes learned source MACs of packet-ins, and forgets those
//	          connection      whose flows count no more
//	packetIns 1 per OpenFlow  hands packet-ins to their handlers; bounded, the rest is
//	          connection      dropped and counted
//	api       1 per request   reads snapshots; asks the engine for changes
//
// Binders and workers are level-triggered: a wake channel of size one and the
// newest snapshot, never a queue of events.
//
// # One path
//
// Connect, reconnect, restart, upgrade and repair are one path: dump what
// carries our cookie, diff, commit. Nothing is ever cleared first. A switch that
// already forwards when the controller starts is not touched until the picture
// of all hosts is complete, or Config.Settle has passed.
//
// # Trouble
//
// A host that is away keeps forwarding with the flows it has and its bindings are
// kept until it returns with other facts. If the store fails, changes of what
// is desired fail, and the network goes on.
package controller
