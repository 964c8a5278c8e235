// Package churn makes random histories of an overlay, for tests of those who have to
// follow one: the compiler, the verifier, a controller with its switches.
//
// A history is a sequence of steps, and a step a few changes, each of which is valid
// after the ones before it. All of it follows from the seed. There are few tenants,
// names, tunnel keys, addresses and interfaces, so that whatever is given up is soon
// somebody else's: a key that of another tenant's network, in the same encapsulation or
// in another one; an interface, with its OpenFlow number, that of another tenant's
// port; a VLAN ID of a trunk that of another network. Ports of different tenants have
// the same MACs and addresses.
//
// A World also says who is in which network, by bookkeeping of its own and not by
// topo's, so that tests have something to hold topo and all that follows against.
package churn
