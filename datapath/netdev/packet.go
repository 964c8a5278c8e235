package netdev

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// maxFrame is the longest frame read or sent: with segmentation offload a veth
// carries frames of up to 64 KiB and their headers.
const maxFrame = 1 << 16

// captureBuffer is how many bytes of frames the kernel holds while nobody reads.
const captureBuffer = 8 << 20

// Direction is the way a captured frame went through the interface.
type Direction uint8

// The directions, as the namespace of the interface sees them.
const (
	Received Direction = iota
	Sent
)

// Frame is a captured Ethernet frame.
type Frame struct {
	Time      time.Time
	Direction Direction
	// Data is the frame as on the wire from the destination MAC on, without FCS;
	// an 802.1Q tag the kernel has taken out is in its place again.
	Data []byte
}

// Packet decodes the frame.
func (f Frame) Packet() gopacket.Packet {
	return gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
}

// PacketConn sends and captures raw frames on one interface, both directions,
// promiscuously. The kernel captures from [Namespace.OpenPacket] on, and holds
// 8 MiB; what it had to drop is counted. One goroutine may read at a time,
// any number may send. (pcapgo's own handle cannot be interrupted in a read.)
type PacketConn struct {
	ns  *Namespace
	dev string
	f   *os.File

	readMu sync.Mutex // guards buf, oob and the read deadline
	buf    []byte
	oob    []byte

	statsMu sync.Mutex
	stats   PacketStats
}

// PacketStats counts the frames a PacketConn was given and those dropped
// because nobody read them in time.
type PacketStats struct {
	Captured, Dropped uint64
}

// OpenPacket opens a raw socket on the interface dev.
func (ns *Namespace) OpenPacket(dev string) (*PacketConn, error) {
	link, err := ns.link(dev)
	if err != nil {
		return nil, err
	}
	fd := -1
	err = ns.Do(func() (err error) {
		// Protocol 0: no frame is captured before the socket is bound to dev.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, ns.wrap("open packet socket", dev, err)
	}
	index := link.Attrs().Index
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, ns.wrap("open packet socket", dev, err)
	}
	return &PacketConn{
		ns: ns, dev: dev,
		f:   os.NewFile(uintptr(fd), "packet:"+dev),
		buf: make([]byte, maxFrame),
		oob: make([]byte, 256),
	}, nil
}

// Close ends the capture; a read that waits returns.
func (c *PacketConn) Close() error { return c.f.Close() }

// Send sends one frame, from the destination MAC on, without FCS.
func (c *PacketConn) Send(frame []byte) error {
	if len(frame) < 14 || len(frame) > maxFrame {
		return c.wrap("send", fmt.Errorf("a frame of %d bytes; an Ethernet frame has 14 to %d", len(frame), maxFrame))
	}
	if _, err := c.f.Write(frame); err != nil {
		return c.wrap("send", err)
	}
	return nil
}

// Next returns the next frame. It waits until there is one or ctx is done; the
// error is then that of ctx.
func (c *PacketConn) Next(ctx context.Context) (Frame, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if err := ctx.Err(); err != nil {
		return Frame{}, err
	}
	if err := c.f.SetReadDeadline(time.Time{}); err != nil {
		return Frame{}, c.wrap("capture", err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// A deadline in the past wakes the reader. An error means that the socket
		// is closed, which wakes it too.
		_ = c.f.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-woken // or it would hit the next read
		}
	}()
	raw, err := c.f.SyscallConn()
	if err != nil {
		return Frame{}, c.wrap("capture", err)
	}
	var (
		n, oobn int
		from    unix.Sockaddr
		rerr    error
	)
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, from, rerr = unix.Recvmsg(int(fd), c.buf, c.oob, unix.MSG_DONTWAIT)
			if !errors.Is(rerr, unix.EINTR) {
				break
			}
		}
		return !errors.Is(rerr, unix.EAGAIN)
	})
	if ctx.Err() != nil && err != nil {
		return Frame{}, ctx.Err()
	}
	if err = errors.Join(err, rerr); err != nil {
		return Frame{}, c.wrap("capture", err)
	}
	return c.frame(c.buf[:n], c.oob[:oobn], from)
}

// frame copies what the kernel delivered and puts the VLAN tag back.
func (c *PacketConn) frame(data, oob []byte, from unix.Sockaddr) (Frame, error) {
	f := Frame{Time: time.Now()}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
		f.Direction = Sent
	}
	var tag []byte
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return Frame{}, c.wrap("capture", err)
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16:
			f.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			// struct tpacket_auxdata: status 4, len 4, snaplen 4, mac 2, net 2, vlan_tci 2, vlan_tpid 2.
			status := binary.NativeEndian.Uint32(m.Data)
			if status&unix.TP_STATUS_VLAN_VALID != 0 {
				tpid := binary.NativeEndian.Uint16(m.Data[18:])
				if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
					tpid = unix.ETH_P_8021Q
				}
				tag = binary.BigEndian.AppendUint16(tag, tpid)
				tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(m.Data[16:]))
			}
		}
	}
	if tag != nil && len(data) >= 12 {
		f.Data = append(append(append(make([]byte, 0, len(data)+4), data[:12]...), tag...), data[12:]...)
	} else {
		f.Data = append([]byte(nil), data...)
	}
	return f, nil
}

// Frames yields the frames from now on until ctx is done, which ends it without
// an error, or until one goes wrong.
func (c *PacketConn) Frames(ctx context.Context) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for {
			f, err := c.Next(ctx)
			if err != nil && ctx.Err() != nil {
				return
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// WritePcap writes the frames in pcap format to w until ctx is done, for
// Wireshark and tcpdump.
func (c *PacketConn) WritePcap(ctx context.Context, w io.Writer) error {
	pw := pcapgo.NewWriterNanos(w)
	if err := pw.WriteFileHeader(maxFrame, layers.LinkTypeEthernet); err != nil {
		return c.wrap("write pcap", err)
	}
	for f, err := range c.Frames(ctx) {
		if err != nil {
			return err
		}
		ci := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := pw.WritePacket(ci, f.Data); err != nil {
			return c.wrap("write pcap", err)
		}
	}
	return nil
}

// Stats counts since the socket was opened.
func (c *PacketConn) Stats() (PacketStats, error) {
	c.statsMu.Lock()
	defer c.statsMu.Unlock()
	raw, err := c.f.SyscallConn()
	if err != nil {
		return c.stats, c.wrap("read statistics", err)
	}
	var (
		st   *unix.TpacketStats
		serr error
	)
	err = raw.Control(func(fd uintptr) {
		// The kernel counts from the last time it was asked.
		st, serr = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(err, serr); err != nil {
		return c.stats, c.wrap("read statistics", err)
	}
	c.stats.Captured += uint64(st.Packets)
	c.stats.Dropped += uint64(st.Drops)
	return c.stats, nil
}

func (c *PacketConn) wrap(op string, err error) error { return c.ns.wrap(op, c.dev, err) }

// htons is v in network byte order, as the kernel keeps it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
