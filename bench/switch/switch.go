package fleet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// bufferLen is room for the longest message, or for hundreds of answers.
const bufferLen = 1 << 16

// emulated is one switch. A single goroutine reads and writes; it allocates nothing once the
// load goes on.
type emulated struct {
	fleet   *Fleet
	number  int
	nc      net.Conn
	packets []packet
	ready   chan struct{} // closed when the controller serves the switch

	in   []byte // read and not yet handled: in[from:to]
	from int
	to   int
	out  []byte // to be written

	slots  []slot
	free   []uint32 // slots without a packet-in in flight
	seq    uint64
	phase  phase
	next   int64 // when to look for lost packet-ins, ns since Fleet.start
	role   ofp13.RoleMessage
	config ofp13.Config

	mu    sync.Mutex // guards stats against Window
	stats *stats
}

// slot is the place of one packet-in in flight.
type slot struct {
	seq  uint64 // 0 when there is none
	sent int64  // ns since Fleet.start
}

// phase is how far a switch has got.
type phase int

const (
	greeting phase = iota // waits for a hello
	asked                 // waits to be asked for its features
	probing               // waits for its first answer
	waiting               // is served, waits for Load
	sending
)

func newEmulated(f *Fleet, number int, nc net.Conn) *emulated {
	s := &emulated{
		fleet: f, number: number, nc: nc, packets: packets(number, f.opts.Hosts, f.opts.Ports),
		in: make([]byte, bufferLen), out: make([]byte, 0, bufferLen),
		slots: make([]slot, f.opts.InFlight), free: make([]uint32, 0, f.opts.InFlight),
		stats: newStats(false), ready: make(chan struct{}),
		role: ofp13.RoleMessage{Role: ofp13.RoleEqual}, config: ofp13.Config{MissSendLen: 128},
	}
	for i := range f.opts.InFlight {
		s.free = append(s.free, uint32(f.opts.InFlight-1-i)) // so that slot 0 is the first to be taken
	}
	return s
}

// now is in ns since the start of the fleet.
func (s *emulated) now() int64 { return int64(time.Since(s.fleet.start)) }

// swap exchanges the statistics.
func (s *emulated) swap(with *stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = with
}

// wake makes the goroutine look at Fleet.loading.
func (s *emulated) wake() { _ = s.nc.SetReadDeadline(time.Unix(1, 0)) } // fails on a closed connection only

// serve is the switch. It returns nil when the fleet was closed.
func (s *emulated) serve() error {
	var err error
	if s.out, err = appendHello(s.out, s.fleet.opts.Versions); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	for {
		if err := s.alarm(); err != nil {
			return s.ended(err)
		}
		n, err := s.nc.Read(s.in[s.to:])
		arrived := s.now()
		s.to += n
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return s.ended(err)
		}
		if err := s.turn(arrived); err != nil {
			return err
		}
		if err := s.flush(); err != nil {
			return s.ended(err)
		}
	}
}

// alarm makes the next Read end when it is time to look for lost packet-ins. In what
// order this and Load do things matters: a deadline set here after wake's is followed
// by a look at Fleet.loading.
func (s *emulated) alarm() error {
	if now := s.now(); now >= s.next {
		every := s.fleet.opts.LossTimeout / 4
		if s.phase < waiting {
			every = probeInterval
		}
		s.next = now + int64(every)
		if err := s.nc.SetReadDeadline(s.fleet.start.Add(time.Duration(s.next))); err != nil {
			return err
		}
	}
	if s.phase == waiting && s.fleet.loading.Load() {
		s.wake()
	}
	return nil
}

// ended explains the end of the connection.
func (s *emulated) ended(err error) error {
	switch {
	case s.fleet.ctx.Err() != nil:
		return nil
	case errors.Is(err, io.EOF) && s.to > s.from:
		return fmt.Errorf("the controller closed the connection within a message (%s)", s.progress())
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the controller closed the connection (%s)", s.progress())
	}
	return fmt.Errorf("%w (%s)", err, s.progress())
}

// progress says in words how far the controller has got.
func (s *emulated) progress() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [...]string{
		greeting: "it has sent no hello",
		asked:    "it has not asked for the features",
		probing:  "it has answered no packet-in",
		waiting:  "it had answered a packet-in",
		sending:  "it was answering",
	}[s.phase]
}

func (s *emulated) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.nc.Write(s.out)
	s.out = s.out[:0]
	return err
}

// turn handles all messages that have come, and sends what there is to send.
func (s *emulated) turn(arrived int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.to-s.from >= headerLen {
		n := int(binary.BigEndian.Uint16(s.in[s.from+2:]))
		if n < headerLen {
			return fmt.Errorf("the controller sent a message of length %d", n)
		}
		if n > s.to-s.from {
			break
		}
		b := s.in[s.from : s.from+n]
		s.from += n
		if b[1] == typePacketOut && s.phase >= probing {
			s.answer(b, arrived)
		} else if err := s.request(b); err != nil {
			return err
		}
	}
	// What is left of a message goes to the front, so that there is room for the rest.
	s.to = copy(s.in, s.in[s.from:s.to])
	s.from = 0

	if s.phase == waiting && s.fleet.loading.Load() {
		s.phase, s.next = sending, 0
	}
	switch {
	case s.fleet.opts.InFlight == 0:
	case s.phase == probing:
		s.sweep(arrived, int64(probeInterval))
		if len(s.free) == len(s.slots) {
			s.send(s.now())
		}
	case s.phase == sending:
		if arrived >= s.next {
			s.sweep(arrived, int64(s.fleet.opts.LossTimeout))
		}
		for now := s.now(); len(s.free) > 0; {
			s.send(now)
		}
	}
	return nil
}

// answer takes a packet-out.
func (s *emulated) answer(b []byte, arrived int64) {
	o, ok := parsePacketOut(b)
	slot, seq := uint32(0), uint64(0)
	if ok {
		slot, seq, ok = numbers(o.frame)
	}
	if !ok || int(slot) >= len(s.slots) || seq == 0 || s.slots[slot].seq != seq {
		s.stats.Unsolicited++
		return
	}
	switch judge(o, s.packet(seq)) {
	case wrong:
		s.stats.Wrong++ // and the packet-in goes on waiting
		return
	case directed:
		s.stats.Directed++
	case spread:
		s.stats.Spread++
	}
	s.stats.Answers++
	s.stats.record(arrived - s.slots[slot].sent)
	s.slots[slot].seq = 0
	s.free = append(s.free, slot)
	if s.phase == probing {
		s.serves()
	}
}

// serves notes that the controller is ready for load.
func (s *emulated) serves() {
	s.phase, s.next = waiting, 0
	close(s.ready)
}

func (s *emulated) packet(seq uint64) *packet { return &s.packets[seq%uint64(len(s.packets))] }

// send sends a packet-in in a free slot.
func (s *emulated) send(now int64) {
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.seq++
	s.slots[i] = slot{s.seq, now}
	s.out = appendPacketIn(s.out, s.packet(s.seq), i, s.seq)
	s.stats.PacketIns++
}

// sweep gives up packet-ins that have waited for longer than limit.
func (s *emulated) sweep(now, limit int64) {
	for i := range s.slots {
		if s.slots[i].seq != 0 && now-s.slots[i].sent >= limit {
			s.slots[i].seq = 0
			s.free = append(s.free, uint32(i))
			s.stats.Lost++
		}
	}
}
