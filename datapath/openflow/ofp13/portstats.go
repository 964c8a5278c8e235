package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// PortStatsLen is the length of an ofp_port_stats, in bytes.
const PortStatsLen = 112

// PortStats are counters of a port (OpenFlow 1.3.5 section 7.3.5.6), those that are used
// here. A counter that the switch does not keep is NoCount.
type PortStats struct {
	Number             uint32
	Received, Sent     uint64 // packets
	Dropped, SendDrops uint64 // packets, received and to be sent
}

// NoCount is the value of a counter that a switch does not keep.
const NoCount = ^uint64(0)

// AppendPortStatsRequest appends a request for the counters of all ports.
func AppendPortStatsRequest(dst []byte, xid uint32) ([]byte, error) {
	start := len(dst)
	return end(zeros(u32(beginMultipart(dst, TypeMultipartRequest, xid, MultipartPortStats), flows.PortAny), 4), start)
}

// AppendPortStats appends an ofp_port_stats.
func AppendPortStats(dst []byte, s PortStats) []byte {
	start := len(dst)
	dst = zeros(u32(dst, s.Number), 4)
	for _, v := range [...]uint64{s.Received, s.Sent, NoCount, NoCount, s.Dropped, s.SendDrops,
		NoCount, NoCount, NoCount, NoCount, NoCount, NoCount} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return append(dst, make([]byte, start+PortStatsLen-len(dst))...)
}

// DecodePortStats reads the body of an OFPMP_PORT_STATS reply.
func DecodePortStats(body []byte) ([]PortStats, error) {
	if len(body)%PortStatsLen != 0 {
		return nil, fmt.Errorf("port stats: %d bytes, want a multiple of %d", len(body), PortStatsLen)
	}
	out := make([]PortStats, 0, len(body)/PortStatsLen)
	for ; len(body) > 0; body = body[PortStatsLen:] {
		n := func(at int) uint64 { return binary.BigEndian.Uint64(body[at:]) }
		out = append(out, PortStats{Number: binary.BigEndian.Uint32(body), Received: n(8), Sent: n(16), Dropped: n(40), SendDrops: n(48)})
	}
	return out, nil
}
