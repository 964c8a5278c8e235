package fleet

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"
)

// loaded is a switch with one packet-in in flight, and that packet-in's right answer.
func loaded(t *testing.T, inFlight int) (*emulated, []byte) {
	t.Helper()
	o, err := Options{InFlight: inFlight}.complete()
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	s := newEmulated(&Fleet{opts: o, start: time.Now()}, 7, near)
	s.stats, s.phase = newStats(true), sending
	s.send(0)
	in := s.out[:len(s.out):len(s.out)]
	s.out = s.out[:0]
	return s, answerTo(in, binary.BigEndian.Uint32(s.packet(1).in[32:]), s.packet(1).dst)
}

// answerTo is the packet-out of a frame by one port.
func answerTo(in []byte, inPort, port uint32) []byte {
	be := binary.BigEndian
	b := []byte{4, 13, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff}
	b = be.AppendUint32(b, inPort)
	b = append(b, 0, 16, 0, 0, 0, 0, 0, 0)
	b = be.AppendUint32(b, 16) // OFPAT_OUTPUT, length 16
	b = be.AppendUint32(b, port)
	b = append(b, make([]byte, 8)...)
	b = append(b, in[packetInLen:]...)
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

// feed hands bytes to the switch as if they had been read.
func feed(t *testing.T, s *emulated, b []byte) {
	t.Helper()
	s.to += copy(s.in[s.to:], b)
	if err := s.turn(s.now()); err != nil {
		t.Fatal(err)
	}
}

const (
	actionsAt = packetOutLen
	frameAt   = packetOutLen + 16
)

func TestOnlyAnAnswerIsAnAnswer(t *testing.T) {
	type counts struct{ directed, spread, wrong, unsolicited uint64 }
	be := binary.BigEndian
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   counts
	}{
		"right":             {func(b []byte) []byte { return b }, counts{directed: 1}},
		"flood":             {func(b []byte) []byte { be.PutUint32(b[actionsAt+4:], portFlood); return b }, counts{spread: 1}},
		"all":               {func(b []byte) []byte { be.PutUint32(b[actionsAt+4:], portAll); return b }, counts{spread: 1}},
		"through the table": {func(b []byte) []byte { be.PutUint32(b[actionsAt+4:], portTable); return b }, counts{spread: 1}},
		"normal":            {func(b []byte) []byte { be.PutUint32(b[actionsAt+4:], portNormal); return b }, counts{spread: 1}},
		"twice":             {func(b []byte) []byte { return append(b, b...) }, counts{directed: 1, unsolicited: 1}},
		"another port": {func(b []byte) []byte {
			be.PutUint32(b[actionsAt+4:], be.Uint32(b[actionsAt+4:])+1)
			return b
		}, counts{wrong: 1}},
		"to the controller": {func(b []byte) []byte { be.PutUint32(b[actionsAt+4:], 0xfffffffd); return b }, counts{wrong: 1}},
		"another in_port":   {func(b []byte) []byte { b[15] ^= 4; return b }, counts{wrong: 1}},
		"no in_port":        {func(b []byte) []byte { be.PutUint32(b[12:], 0xfffffffd); return b }, counts{wrong: 1}},
		"no action": {func(b []byte) []byte {
			b = append(b[:actionsAt], b[frameAt:]...)
			b[17] = 0
			be.PutUint16(b[2:], uint16(len(b)))
			return b
		}, counts{wrong: 1}},
		"another action":     {func(b []byte) []byte { b[actionsAt+1] = 22; return b }, counts{wrong: 1}},
		"an endless action":  {func(b []byte) []byte { b[actionsAt+3] = 0; return b }, counts{wrong: 1}},
		"an action too long": {func(b []byte) []byte { b[actionsAt+3] = 24; return b }, counts{wrong: 1}},
		"another source":     {func(b []byte) []byte { b[frameAt+11]++; return b }, counts{wrong: 1}},
		"another last byte":  {func(b []byte) []byte { b[len(b)-1]++; return b }, counts{wrong: 1}},
		"another number":     {func(b []byte) []byte { b[frameAt+seqEnd-1]++; return b }, counts{unsolicited: 1}},
		"number zero":        {func(b []byte) []byte { clear(b[frameAt+seqAt : frameAt+seqEnd]); return b }, counts{unsolicited: 1}},
		"another slot":       {func(b []byte) []byte { b[frameAt+slotAt+3]++; return b }, counts{unsolicited: 1}},
		"no slot":            {func(b []byte) []byte { b[frameAt+slotAt] = 0xff; return b }, counts{unsolicited: 1}},
		"no frame of ours":   {func(b []byte) []byte { b[frameAt+tagAt]++; return b }, counts{unsolicited: 1}},
		"a frame cut off": {func(b []byte) []byte {
			b = b[:len(b)-1]
			be.PutUint16(b[2:], uint16(len(b)))
			return b
		}, counts{unsolicited: 1}},
		"no frame":                  {func(b []byte) []byte { be.PutUint16(b[2:], frameAt); return b[:frameAt] }, counts{unsolicited: 1}},
		"a buffer":                  {func(b []byte) []byte { b[8] = 0; return b }, counts{unsolicited: 1}},
		"actions beyond the end":    {func(b []byte) []byte { b[16] = 0xff; return b }, counts{unsolicited: 1}},
		"less than its fixed part":  {func([]byte) []byte { return []byte{4, 13, 0, 8, 0, 0, 0, 0} }, counts{unsolicited: 1}},
		"a flow-mod is not counted": {func([]byte) []byte { return []byte{4, 14, 0, 8, 0, 0, 0, 0} }, counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, right := loaded(t, 2)
			feed(t, s, c.change(right))
			got := counts{s.stats.Directed, s.stats.Spread, s.stats.Wrong, s.stats.Unsolicited}
			if got != c.want {
				t.Errorf("counted %+v, want %+v", got, c.want)
			}
			if n := c.want.directed + c.want.spread; s.stats.Answers != n || uint64(s.stats.latency.TotalCount()) != n {
				t.Errorf("%d answers, %d of them timed, want %d", s.stats.Answers, s.stats.latency.TotalCount(), n)
			}
		})
	}
}

// However the bytes come, the messages are the same.
func TestMessagesInPieces(t *testing.T) {
	s, right := loaded(t, 1)
	for i := range right {
		if s.stats.Answers != 0 {
			t.Fatalf("answered by %d of %d bytes", i, len(right))
		}
		feed(t, s, right[i:i+1])
	}
	if s.stats.Answers != 1 || s.stats.PacketIns != 2 {
		t.Errorf("%+v, want one answer and the next packet-in", s.stats.Counters)
	}
}

func TestImpossibleLength(t *testing.T) {
	s, _ := loaded(t, 1)
	s.to = copy(s.in, []byte{4, 2, 0, 7, 0, 0, 0, 0})
	if err := s.turn(0); err == nil || !strings.Contains(err.Error(), "length 7") {
		t.Errorf("error: %v", err)
	}
}

// A packet-in that nobody answers makes room for another, and its answer comes too late.
func TestLostPacketIn(t *testing.T) {
	s, late := loaded(t, 1)
	timeout := int64(s.fleet.opts.LossTimeout)
	if err := s.turn(timeout - 1); err != nil || s.stats.Lost != 0 {
		t.Fatalf("lost %d before its time: %v", s.stats.Lost, err)
	}
	if err := s.turn(timeout); err != nil || s.stats.Lost != 1 || s.stats.PacketIns != 2 {
		t.Fatalf("%+v, want one lost and another sent: %v", s.stats.Counters, err)
	}
	feed(t, s, late)
	if s.stats.Answers != 0 || s.stats.Unsolicited != 1 {
		t.Errorf("%+v, want the late answer unsolicited", s.stats.Counters)
	}
}

// The hot path allocates nothing: answers in, packet-ins out.
func TestLoadAllocatesNothing(t *testing.T) {
	const inFlight = 100
	s, first := loaded(t, inFlight)
	feed(t, s, first)
	answers := make([]byte, 0, bufferLen)
	turn := func() {
		// What was sent is answered: a frame's numbers are all that an answer needs of it.
		answers = answers[:0]
		for in := s.out; len(in) > 0; in = in[packetInLen+frameLen:] {
			p := s.packet(binary.BigEndian.Uint64(in[packetInLen+seqAt:]))
			at := len(answers)
			answers = append(answers, rightAnswer[:]...)
			answers = append(answers, in[packetInLen:packetInLen+frameLen]...)
			binary.BigEndian.PutUint32(answers[at+12:], p.port)
		}
		s.out = s.out[:0]
		feed(t, s, answers)
	}
	turn()
	before := s.stats.Answers
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations for %d packet-ins", n, inFlight)
	}
	if got := s.stats.Answers - before; got != 101*inFlight {
		t.Errorf("%d answers, want %d", got, 101*inFlight)
	}
}

// rightAnswer floods; in_port and the frame are missing.
var rightAnswer = [frameAt]byte{
	4, 13, 0, frameAt + frameLen, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
	0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfb,
}

// What the fleet sends is what it says: frames that other decoders read too.
func TestPacketsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, sw := range []int{0, 1, 300} {
		for _, p := range packets(sw, 256, 4) {
			f := p.frame()
			if p.port == p.dst {
				t.Fatalf("switch %d: a frame goes out where it came in, port %d", sw, p.port)
			}
			if src := string(f[6:12]); seen[src] {
				t.Fatalf("switch %d: address % x sends twice", sw, src)
			} else {
				seen[src] = true
			}
		}
	}
}
