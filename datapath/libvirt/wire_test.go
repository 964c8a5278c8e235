package libvirt

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
)

// canned is a connection on which only this is to be read.
type canned struct {
	net.Conn
	r io.Reader
}

func (c canned) Read(p []byte) (int, error) { return c.r.Read(p) }

// FuzzWire: whatever comes, what is passed on is what came, in whole packets of a
// possible length but for the last one.
func FuzzWire(f *testing.F) {
	packet := func(n uint32, words ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, n)
		for _, w := range words {
			b = binary.BigEndian.AppendUint32(b, w)
		}
		return b
	}
	opened := packet(packetHeader, programRemote, protocolVersion, procOpenConsole, typeReply, 1, statusOK)
	f.Add(opened, 7)
	f.Add(append(slices.Clone(opened), opened...), 4096)
	f.Add(packet(packetHeader-1), 1)
	f.Add(packet(maxPacket+1), 64)
	f.Add(append(packet(packetHeader+5, 1, 2, 3, 4, 5, 6), "hello, world"...), 3)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		w := newWire(canned{r: bytes.NewReader(in)})
		close(w.connected)
		p := make([]byte, 1+uint(size)%5000)
		var out []byte
		for {
			n, err := w.Read(p)
			out = append(out, p[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("%d bytes came, and others are passed on", len(in))
		}
		for rest := out; len(rest) > 0; {
			if len(rest) < packetHeader {
				t.Fatalf("%d bytes of a packet are passed on", len(rest))
			}
			n := binary.BigEndian.Uint32(rest)
			if n < packetHeader || n > maxPacket {
				t.Fatalf("a packet of %d bytes is passed on", n)
			}
			rest = rest[min(int(n), len(rest)):]
		}
	})
}

// FuzzXML: whatever a document of a domain says, reading it ends, and so does looking for
// its images.
func FuzzXML(f *testing.F) {
	f.Add("<domain type='kvm'><name>a</name><os><kernel> /k </kernel></os><devices><disk><source file='/d'/></disk><interface/></devices></domain>")
	f.Add("<network><name>n</name><bridge name='b'/></network>")
	f.Add("<domain")
	f.Fuzz(func(t *testing.T, document string) {
		if d, err := parse[domainXML](document); err == nil {
			_ = d.missingImages()
		}
		_, _ = parse[networkXML](document)
	})
}
