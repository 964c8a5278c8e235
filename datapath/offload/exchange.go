package offload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The two guests' addresses, of TEST-NET-1 (RFC 5737): nothing else is there.
var addresses = [2]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")}

// bulk is how many bytes go through a TCP connection: dozens of long segments. A
// datapath that loses those lets through two packets for each retransmission
// timeout of 200 ms, and needs far more than bulkTimeout.
const (
	bulk        = 256 << 10
	bulkTimeout = 15 * time.Second
)

// table is the scratch datapath with a guest at each of its two ports.
type table struct{ guests [2]*netdev.Namespace }

// furnish makes the guests and their veth pairs, with offloads as the kernel makes them.
func furnish(datapath *netdev.Namespace) (t table, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	for i, port := range []string{portOne, portTwo} {
		if t.guests[i], err = netdev.NewNamespace(); err != nil {
			return t, err
		}
		if _, err = netdev.EnsureVeth(netdev.VethEnd{Namespace: datapath, Name: port}, netdev.VethEnd{Namespace: t.guests[i], Name: "eth0"}); err != nil {
			return t, err
		}
		if _, err = datapath.Configure(port, netdev.LinkConfig{IPv6: netdev.IPv6Off, ARP: netdev.Down, State: netdev.Up}); err != nil {
			return t, err
		}
		if _, err = t.guests[i].Configure("eth0", netdev.GuestConfig(nil, 0, addresses[i:i+1], netdev.OffloadsOn)); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Close takes the guests away, and with them the veth pairs.
func (t table) Close() error {
	var errs []error
	for _, g := range t.guests {
		if g != nil {
			errs = append(errs, g.Close())
		}
	}
	return errors.Join(errs...)
}

// exchange sends from the first guest to the second, by TCP for so long.
func (t table) exchange(ctx context.Context, patience time.Duration) (passes bool, finding string, err error) {
	whole, err := t.datagrams(ctx)
	if err != nil {
		return false, "", err
	}
	if !whole {
		return false, "a UDP datagram whose checksum was left to the device arrived with a wrong one", nil
	}
	if err := t.stream(ctx, patience); err != nil {
		if ctx.Err() != nil {
			return false, "", ctx.Err()
		}
		return false, fmt.Sprintf("%d KiB by TCP, segmented by the device, did not arrive: %v", bulk>>10, err), nil
	}
	return true, fmt.Sprintf("a UDP datagram whose checksum was left to the device, and %d KiB by TCP, segmented by the device, arrived", bulk>>10), nil
}

// The datagrams: one with a checksum, unfinished when it leaves, and one without,
// which arrives whatever the datapath does with checksums.
const (
	unfinished = "checksum"
	control    = "none"
)

// resend is after how long the next pair of datagrams is sent.
const resend = 200 * time.Millisecond

// datagrams sends pairs, the unfinished one first. Once the control of a pair has
// arrived, the other one has too, or never will. The first control only says that
// the way is there: what comes before may be lost while the neighbour is asked for.
func (t table) datagrams(ctx context.Context) (whole bool, err error) {
	receiver, err := t.listen(1)
	if err != nil {
		return false, err
	}
	defer receiver.Close()
	sender, err := t.listen(0)
	if err != nil {
		return false, err
	}
	defer sender.Close()
	there := false
	for pair := 0; ; pair++ {
		for _, kind := range []string{unfinished, control} {
			if err := send(sender, receiver.LocalAddr(), kind, pair); err != nil {
				return false, err
			}
		}
		switch kind, err := receive(receiver, pair); {
		case err != nil:
			return false, err
		case kind == unfinished:
			return true, nil
		case kind == control && there:
			return false, nil
		case kind == control:
			there = true
		}
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("not even a datagram without a checksum arrived: %w", err)
		}
	}
}

func send(from *net.UDPConn, to net.Addr, kind string, pair int) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return err
	}
	without := 0
	if kind == control {
		without = 1
	}
	var oerr error
	err = raw.Control(func(fd uintptr) { oerr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, without) })
	if err = errors.Join(err, oerr); err == nil {
		_, err = from.WriteTo(fmt.Appendf(nil, "%s %d", kind, pair), to)
	}
	if err != nil {
		return fmt.Errorf("send a datagram: %w", err)
	}
	return nil
}

// receive waits for an unfinished datagram of any pair or the control of this one,
// and says which; for neither if they do not come.
func receive(at *net.UDPConn, pair int) (kind string, err error) {
	if err := at.SetReadDeadline(time.Now().Add(resend)); err != nil {
		return "", err
	}
	buf := make([]byte, 64)
	for {
		n, _, err := at.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("receive a datagram: %w", err)
		}
		switch kind, number, _ := strings.Cut(string(buf[:n]), " "); {
		case kind == unfinished, kind == control && number == strconv.Itoa(pair):
			return kind, nil
		}
	}
}

func (t table) listen(guest int) (conn *net.UDPConn, err error) {
	err = t.guests[guest].Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addresses[guest].Addr(), 0)))
		return err
	})
	return conn, err
}

// stream sends by TCP what takes many long segments.
func (t table) stream(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var listener *net.TCPListener
	if err := t.guests[1].Do(func() (err error) {
		listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addresses[1].Addr(), 0)))
		return err
	}); err != nil {
		return err
	}
	defer listener.Close()
	var conn net.Conn
	if err := t.guests[0].Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", listener.Addr().String())
		return err
	}); err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := errors.Join(listener.SetDeadline(deadline), conn.SetDeadline(deadline)); err != nil {
		return err
	}
	peer, err := listener.Accept()
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := peer.SetDeadline(deadline); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, bulk))
		sent <- err
	}()
	_, err = io.CopyN(io.Discard, peer, bulk)
	if err != nil {
		conn.Close() // or the writer would wait for the reader until the deadline
	}
	return errors.Join(err, <-sent)
}
