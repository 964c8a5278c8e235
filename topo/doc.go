// Package topo is the overlay as values: tenants, networks, ports, trunks and
// hosts, what is desired of them and what is observed. It knows no OpenFlow and
// no switch.
//
// A Snapshot is immutable; a Txn makes the next one from it, and all validation
// is in Txn.Commit. Observations (bindings, tunnel ports) are part of a
// Snapshot but never of what is stored.
package topo
