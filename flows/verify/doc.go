// Package verify proves, over the flows and groups that all switches of an overlay
// hold, that its networks are apart: by header-space reasoning over all packets there
// can be, not by sampling (Kazemian, Varghese, McKeown: Header Space Analysis, NSDI
// 2012).
//
// Sets of packets are ternary vectors, a value and a mask for each field that any flow
// looks at. From each (port, VLAN) and each (tunnel, key) they are followed through the
// tables of one switch. Sets that agree in all that the tables ahead can see are one
// set; so are those that differ in nothing but the port of their packets, which a set
// has beside it. What leaves by a tunnel is only held against its network's key: the
// switch at the other end is proved from that key on. So hosts are independent of each
// other, are done in parallel, and cost what they have of flows.
//
// Sets are at most made too large, so that what is proved holds. What may be wrong is
// made exact: the way that leads there is followed back with all flows of higher
// priority taken away, a packet is picked from what is left, and flows/trace must see
// it do harm. Only then it is a Violation. If nothing is left there is none; if a packet
// does no harm in the interpreter, or something on the way cannot be reasoned about
// (NORMAL, a flow that could not be read), the result is that it cannot be decided.
//
// The package is pure; a call may be made from any goroutine.
package verify
