// Package workload holds what the benchmarks make the programs under test do, in
// every form that one of them takes, so that all of them do the same.
package workload

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// FlowTable is the table that Flows fill.
const FlowTable = 30

const (
	flowPriority    = 100
	flowsPerNetwork = 100
	firstKey        = 1000001
	// MaxFlows is the most Flows there can be: one address of 10.0.0.0/8 each.
	MaxFlows = 1<<24 - 1
)

// Flows are a number of flows of a typical shape, all different and in one
// subtable. Flow i is in network i/100; it matches metadata (the network), a
// guest's Ethernet and IPv4 address and TCP; it rewrites both Ethernet addresses, sets
// the network's tunnel key and outputs to port 1. bench/peers/ofnet has the same shape.
type Flows int

func (Flows) cookie(i int) uint64     { return uint64(i) + 1 }
func (Flows) network(i int) uint64    { return uint64(i / flowsPerNetwork) }
func (f Flows) metadata(i int) uint64 { return f.network(i) + 1 }
func (f Flows) key(i int) uint64      { return firstKey + f.network(i) }

// mac is a locally administered address with first byte b and number i.
func (Flows) mac(b byte, i int) (m [6]byte) {
	m[0] = b
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	return m
}

func (Flows) addr(i int) (a [4]byte) {
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(i))
	return a
}

// WriteText writes the flows as ovs-ofctl add-flows reads them.
func (f Flows) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	for i := range int(f) {
		dst, src, hop := f.mac(0x02, i), f.mac(0x0a, 0), f.mac(0x06, i)
		fmt.Fprintf(b, "cookie=%#x,table=%d,priority=%d,tcp,metadata=%#x,dl_dst=%s,nw_dst=%s,actions=set_field:%s->eth_src,set_field:%s->eth_dst,set_field:%#x->tun_id,output:1\n",
			f.cookie(i), FlowTable, flowPriority, f.metadata(i), colons(dst), netip.AddrFrom4(f.addr(i)), colons(src), colons(hop), f.key(i))
	}
	return b.Flush()
}

func colons(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Flows are the flows as values.
func (f Flows) Flows() []*flows.Flow {
	out := make([]*flows.Flow, int(f))
	for i := range out {
		var match flows.Match
		match = match.
			With(flows.Metadata, flows.U(f.metadata(i))).
			With(flows.EthDst, flows.MAC(f.mac(0x02, i))).
			With(flows.EthType, flows.U(0x0800)).
			With(flows.IPProto, flows.U(6)).
			With(flows.IPv4Dst, flows.IP(netip.AddrFrom4(f.addr(i))))
		out[i] = &flows.Flow{
			Table:    FlowTable,
			Priority: flowPriority,
			Match:    match,
			Cookie:   flows.Cookie(f.cookie(i)),
			Apply: []flows.Action{
				flows.Set(flows.EthSrc, flows.MAC(f.mac(0x0a, 0))),
				flows.Set(flows.EthDst, flows.MAC(f.mac(0x06, i))),
				flows.Set(flows.TunID, flows.U(f.key(i))),
				flows.Output{Port: 1},
			},
		}
	}
	return out
}
