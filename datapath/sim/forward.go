package sim

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Deliver takes a frame that leaves by a port; via is the tunnel if the port is the end
// of tunnels, nil otherwise. It is called by one goroutine at a time for each frame that
// comes in, without a lock: it may call the switch. The frame must not be changed.
type Deliver func(frame []byte, via *trace.Via)

// Attach sets where frames that leave by a port go: a pipe, a guest, a test. nil
// detaches; frames are lost then.
func (s *Switch) Attach(port uint32, d Deliver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == nil {
		delete(s.attached, port)
		return
	}
	s.attached[port] = d
}

// SetTunnel makes a port the end of tunnels, nil an ordinary one.
func (s *Switch) SetTunnel(port uint32, t *trace.Tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed()
	if t == nil {
		delete(s.tunnels, port)
		return
	}
	s.tunnels[port] = t
}

// Send is a frame that comes in by a port. When it returns, all that it caused has been
// delivered: to ports, and packet-ins to the queues of the controllers. The frame is the
// switch's afterwards; one that comes in by a port without a link, or would leave by one, is
// lost. A port that does not exist is an error, a frame that is too short for an Ethernet
// header too.
func (s *Switch) Send(port uint32, frame []byte) error {
	p, err := trace.NewPacket(port, frame)
	if err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	return s.receive(p)
}

// SendTunnelled is Send for a frame that comes through a tunnel under that key.
func (s *Switch) SendTunnelled(port uint32, frame []byte, key uint64, src, dst netip.Addr) error {
	p, err := trace.NewPacket(port, frame)
	if err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	p.SetTunnel(key, src, dst)
	return s.receive(p)
}

func (s *Switch) receive(p *trace.Packet) error {
	s.mu.Lock()
	port, ok := s.ports[p.InPort()]
	if !ok || !linked(port) {
		s.mu.Unlock()
		if !ok {
			return fmt.Errorf("sim: no port %d", p.InPort())
		}
		return nil
	}
	runner, err := s.interpreter()
	if err == nil {
		s.emit(p, runner.Forward(p))
	}
	s.mu.Unlock()
	s.flush()
	return err
}

// packetOut does an OFPT_PACKET_OUT.
func (s *Switch) packetOut(b []byte) *ofp13.Error {
	m, err := ofp13.DecodePacketOut(b)
	if err != nil {
		return decodeError(err, false)
	}
	if e := checkPorts(m.Actions); e != nil {
		return e
	}
	p, err := trace.NewPacket(m.InPort, slices.Clone(m.Data))
	if err != nil {
		return nil // Open vSwitch takes it, and nothing comes of it
	}
	runner, err := s.interpreter()
	if err != nil {
		return refuse(ofp13.ErrBadRequest, 6)
	}
	s.emit(p, runner.Execute(p, m.Actions))
	return nil
}

// changed forgets what was compiled of the switch.
func (s *Switch) changed() { s.runner = nil }

// interpreter is the switch compiled, as it is now.
func (s *Switch) interpreter() (*trace.Runner, error) {
	if s.runner != nil {
		return s.runner, nil
	}
	var ports []trace.Port
	for n, p := range s.ports {
		ports = append(ports, trace.Port{Number: n, Name: p.Name, Tunnel: s.tunnels[n], Down: !linked(p)})
	}
	sw, err := trace.New(trace.Config{Name: fmt.Sprintf("%016x", s.datapathID), State: s.store.state(), Ports: ports})
	if err != nil {
		return nil, err
	}
	s.runner = sw.NewRunner(trace.Options{Conns: []trace.Conn{{State: trace.ConnNew}}})
	return s.runner, nil
}

// linked reports whether a port passes frames.
func linked(p ofp13.PortDesc) bool { return p.State&ofp13.PortStateLinkDown == 0 }

// delivery is a frame on its way out.
type delivery struct {
	to    Deliver
	frame []byte
	via   *trace.Via
}

// emit counts a packet, and puts what leaves where it waits for the lock to be given
// back.
func (s *Switch) emit(in *trace.Packet, b *trace.Branch) {
	for _, f := range b.Hits {
		k := f.Key()
		if st, ok := s.store.flows[k]; ok {
			st.Packets++
			st.Bytes += uint64(len(in.Frame()))
			s.store.flows[k] = st
		}
	}
	for _, o := range b.Outputs {
		switch {
		case o.Port == flows.PortController:
			s.packetIn(o)
		case s.attached[o.Port] != nil && linked(s.ports[o.Port]):
			s.pending = append(s.pending, delivery{s.attached[o.Port], o.Frame, o.Tunnel})
		}
	}
}

// packetIn tells the controllers that want to know.
func (s *Switch) packetIn(o trace.Output) {
	in := ofp13.PacketIn{Reason: uint8(o.Reason), Table: o.Table, TotalLen: uint16(len(o.Frame)), Data: o.Frame}
	if o.Flow != nil {
		in.Cookie = o.Flow.Cookie
	}
	for f := flows.InPort; f < flows.EthDst; f++ {
		if v := o.Packet.Get(f); f == flows.InPort || !v.IsZero() {
			in.Match = in.Match.With(f, v)
		}
	}
	b, err := ofp13.AppendPacketIn(nil, 0, in)
	if err != nil {
		return // a frame too long for a message
	}
	for ses := range s.sessions {
		slave := 0
		if ses.role == ofp13.RoleSlave {
			slave = 1
		}
		if ses.async.PacketIn[slave]&(1<<in.Reason) != 0 {
			ses.queue(b)
		}
	}
}

// flush delivers what waits.
func (s *Switch) flush() {
	s.mu.Lock()
	waiting := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, d := range waiting {
		d.to(d.frame, d.via)
	}
}
