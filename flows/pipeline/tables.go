package pipeline

import (
	"fmt"

	f "github.com/ofctl-lab/ofctl-lab/flows"
)

// Table is the number of a table. Numbers are part of the contract with a
// running switch: fixed, spaced by ten, never reused for something else.
type Table uint8

// The tables in use. 20, 40, 50 and 80 are kept for policy_out, dhcp, route and
// policy_in.
const (
	Classify   Table = 0
	SpoofGuard Table = 10
	ARPND      Table = 30
	L2Dst      Table = 60
	Flood      Table = 70
	Output     Table = 90
)

// Declaration says what the rows of a table may do. Every compiled flow is
// checked against it.
type Declaration struct {
	Table   Table
	Name    string
	Stage   string
	Matches []f.Field
	Writes  []f.Field
	Next    []Table
	// Sends says how packets leave: "" (never), "port", "group", or "controller"
	// (a copy, while the packet goes on or ends there).
	Sends string
	// Miss is what becomes of a packet that no other row takes.
	Miss    string
	Purpose string
}

// pipeline is the whole pipeline. Its order is the order of the tables.
var pipeline = [...]Declaration{
	{Classify, "classify", "classify",
		[]f.Field{f.InPort, f.TunID, f.EthDst, f.EthType, f.VLANVID, f.VLANPCP},
		[]f.Field{regNetwork, regOrigin, f.VLANTCI},
		[]Table{SpoofGuard}, "controller", "drop unclaimed-port",
		"(port), (port, VLAN) or (tunnel port, key) → network; the tag comes off, but for a wire; control frames end here, but for a wire's; a probe of a peer → the controller"},
	{SpoofGuard, "spoof_guard", "admit",
		[]f.Field{f.InPort, regNetwork, regOrigin, f.TunIPv4Src, f.TunIPv6Src, f.EthSrc, f.EthType, f.IPProto,
			f.IPv4Src, f.IPv6Src, f.ARPOp, f.ARPSPA, f.ARPSHA, f.ICMPv6Type, f.ICMPv6Code, f.NDTarget},
		nil,
		[]Table{ARPND, L2Dst}, "controller", "drop no-row",
		"a source (MAC, IP, ARP, ND, tunnel endpoint) must belong to where the packet came from"},
	{ARPND, "arp_nd", "serve",
		[]f.Field{f.InPort, regNetwork, f.EthType, f.ARPOp, f.ARPTPA},
		[]f.Field{regEgress, f.InPort, f.EthDst, f.EthSrc, f.ARPOp, f.ARPSPA, f.ARPTPA, f.ARPSHA, f.ARPTHA},
		[]Table{L2Dst, Output}, "", "go to l2_dst",
		"an ARP request for a known address is answered here"},
	{L2Dst, "l2_dst", "switch",
		[]f.Field{f.InPort, regNetwork, regOrigin, f.EthDst},
		[]f.Field{regEgress, f.TunIPv4Dst, f.TunIPv6Dst},
		[]Table{Flood, Output}, "", "drop no-row",
		"(network, MAC) → local port or tunnel endpoint; the rest → flood or drop; a wire's (network, port) → its other end"},
	{Flood, "flood", "switch",
		[]f.Field{regNetwork},
		nil,
		nil, "group", "drop no-row",
		"a network's broadcast, multicast and unknown unicast → its one group"},
	{Output, "output", "output",
		[]f.Field{regNetwork, regOrigin, regEgress},
		[]f.Field{f.VLANTCI, f.TunID},
		nil, "port", "drop no-row",
		"put the trunk's tag on, or the tunnel key, and send"},
}

// Tables are the declarations in pipeline order. The slice is the caller's.
func Tables() []Declaration { return append([]Declaration(nil), pipeline[:]...) }

// declaration is the declaration of t, nil if there is no such table.
func declaration(t Table) *Declaration {
	for i := range pipeline {
		if pipeline[i].Table == t {
			return &pipeline[i]
		}
	}
	return nil
}

// TableName is the name of table n, or "" if the pipeline has no such table.
func TableName(n uint8) string {
	if d := declaration(Table(n)); d != nil {
		return d.Name
	}
	return ""
}

// String is the table's name, or "table-N" where it has none.
func (t Table) String() string {
	if n := TableName(uint8(t)); n != "" {
		return n
	}
	return fmt.Sprintf("table-%d", uint8(t))
}
