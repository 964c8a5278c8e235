package main

import (
	"context"
	"encoding/binary"
	"sync/atomic"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// learning is what is known of one switch. Only its session's dispatcher touches it, but for conn.
type learning struct {
	ctx     context.Context
	conn    atomic.Pointer[openflow.Conn] // nil until the handshake is done
	ports   map[uint64]uint32             // where an address has sent from
	actions map[uint32][]flows.Action     // output to a port, made once
}

// The Ethernet header.
const (
	srcAt     = 6
	headerLen = 14
	groupBit  = 1 // of the first byte: an address of several hosts
)

// packetIn learns, decides and answers. What comes before the handshake is done, and what is
// no Ethernet frame, stays unanswered.
func (s *learning) packetIn(in openflow.PacketIn) {
	c, port := s.conn.Load(), in.InPort()
	if c == nil || port == 0 || len(in.Data) < headerLen {
		return
	}
	if in.Data[srcAt]&groupBit == 0 {
		s.learn(address(in.Data[srcAt:]), port)
	}
	out, known := s.ports[address(in.Data)]
	switch {
	case !known:
		out = flows.PortFlood
	case out == port:
		return // it is where it belongs already
	}
	// An error is the end of the session, which serve reports.
	_ = c.PacketOut(s.ctx, openflow.PacketOut{InPort: port, Actions: s.output(out), Data: in.Data})
}

// address is the MAC address that b starts with.
func address(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint32(b))<<16 | uint64(binary.BigEndian.Uint16(b[4:]))
}

// learn notes where an address is. A switch that shows more of them than maxLearned
// has new ones flooded.
func (s *learning) learn(addr uint64, port uint32) {
	if old, ok := s.ports[addr]; !ok && len(s.ports) >= maxLearned || ok && old == port {
		return
	}
	s.ports[addr] = port
}

func (s *learning) output(port uint32) []flows.Action {
	as := s.actions[port]
	if as == nil {
		as = []flows.Action{flows.Output{Port: port}}
		s.actions[port] = as
	}
	return as
}
