package explain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// maxFrame is the longest frame that is taken, in bytes: a jumbo frame, and what fits
// a packet-out beside its header.
const maxFrame = 1<<16 - 256

// defaultPriority is that of a flow whose text has none.
const defaultPriority = 32768

// PacketError is a description of a packet that cannot be meant.
type PacketError struct{ Err error }

func (e *PacketError) Error() string { return e.Err.Error() }
func (e *PacketError) Unwrap() error { return e.Err }

func badPacket(format string, args ...any) error { return &PacketError{fmt.Errorf(format, args...)} }

// Prepared is a frame and the port that it comes from.
type Prepared struct {
	Port  *Port
	Frame []byte
	// Network is that of the frame by its tag, "" if the port has none for it.
	Network string
	// Filled says what was not given, and why it is as it is.
	Filled []string
}

// FromFrame prepares a frame as it is. A port that is not bound and a frame that is no
// Ethernet frame are errors.
func FromFrame(o *Overlay, port string, frame []byte) (*Prepared, error) {
	p, err := o.bound(port)
	if err != nil {
		return nil, err
	}
	if len(frame) < trace.MinFrame || len(frame) > maxFrame {
		return nil, badPacket("a frame of %d bytes: it has to have from %d (its Ethernet header alone) to %d", len(frame), trace.MinFrame, maxFrame)
	}
	out := &Prepared{Port: p, Frame: frame}
	if m, ok := o.wire(p); ok {
		out.Network = m.Network
		return out, nil
	}
	vlan := vlanOf(frame)
	for _, m := range p.Networks {
		if m.VLAN == vlan && m.Tagged == (vlan != 0) {
			out.Network = m.Network
		}
	}
	return out, nil
}

// ParseHex reads a frame in hexadecimal; blanks, colons and a leading 0x do not count.
func ParseHex(s string) ([]byte, error) {
	digits := strings.TrimPrefix(strings.NewReplacer(" ", "", ":", "", "\t", "", "\n", "").Replace(s), "0x")
	if len(digits) > 2*maxFrame {
		return nil, badPacket("a frame of more than %d bytes", maxFrame)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, badPacket("the frame is not hexadecimal: %w; write it as tcpdump -xx shows it, from the destination MAC on", err)
	}
	return b, nil
}

// ReadPcap is packet n, from 1, of a capture in the format pcap or pcapng.
func ReadPcap(r io.ReadSeeker, n int) ([]byte, error) {
	var next func() ([]byte, gopacket.CaptureInfo, error)
	var link layers.LinkType
	if p, err := pcapgo.NewReader(r); err == nil {
		next, link = p.ReadPacketData, p.LinkType()
	} else {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		ng, ngErr := pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
		if ngErr != nil {
			return nil, fmt.Errorf("it is no capture in the format pcap (%w) or pcapng (%w)", err, ngErr)
		}
		next, link = ng.ReadPacketData, ng.LinkType()
	}
	if link != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("its packets are of link type %v, not Ethernet; capture on the port's own interface", link)
	}
	for i := 1; ; i++ {
		b, info, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("it has %d packets: there is no packet %d", i-1, n)
		case err != nil:
			return nil, fmt.Errorf("packet %d: %w", i, err)
		case i < n:
		case info.CaptureLength < info.Length:
			return nil, fmt.Errorf("packet %d has %d bytes, of which %d were captured; capture with tcpdump -s 0", i, info.Length, info.CaptureLength)
		default:
			return b, nil
		}
	}
}

// parseDescription reads the words of a packet, as a match of ovs-ofctl.
func parseDescription(s string) (flows.Match, error) {
	if strings.Contains(s, "actions=") {
		return nil, badPacket("%q describes a flow, not a packet: leave the actions out", s)
	}
	f, err := flows.ParseFlow(s + " actions=drop")
	if err != nil {
		return nil, badPacket("%q: %w", s, err)
	}
	if f.Table != 0 || f.Cookie != 0 || f.Priority != defaultPriority {
		return nil, badPacket("%q describes a flow, not a packet: write fields only, for example icmp,nw_dst=10.1.1.2", s)
	}
	for _, m := range f.Match {
		switch {
		case m.Field == flows.InPort:
			return nil, badPacket("in_port is the port's number, which is known; leave it out")
		case m.Field < flows.EthDst:
			return nil, badPacket("%s is no field of a frame that comes from a port", m.Field)
		case m.Field == flows.IPFrag, m.Field == flows.VLANTCI:
			return nil, badPacket("%s cannot be described; give the frame itself with --frame", m.Field)
		case m.Mask != m.Field.FullMask():
			return nil, badPacket("%s: a packet has one value of %s; leave the mask out", flows.Match{m}, m.Field)
		}
	}
	return f.Match, nil
}
