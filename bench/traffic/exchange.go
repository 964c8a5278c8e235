package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// exchangeTimeout bounds an exchange; among other things ARP may have to ask three times, a second apart.
const exchangeTimeout = 10 * time.Second

// Exchange lets a namespace talk with another, at its IPv4 address at, over UDP and over TCP from so
// many source ports each: a byte there and the same byte back. It returns when all has been said.
func Exchange(ctx context.Context, from, to *netdev.Namespace, at netip.Addr, ports int) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	s, err := openEchoServer(to, at)
	if err != nil {
		return err
	}
	for _, network := range []string{"udp4", "tcp4"} {
		for range ports {
			if err == nil {
				err = say(ctx, from, network, s.addr(network))
			}
		}
	}
	return errors.Join(err, s.Close())
}

// say opens a connection, sends a byte and waits until it is back.
func say(ctx context.Context, from *netdev.Namespace, network, address string) error {
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	err = conn.SetDeadline(deadline)
	b := []byte{1}
	if err == nil {
		_, err = conn.Write(b)
	}
	if err == nil {
		_, err = conn.Read(b)
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("a byte to %s and back: %w", address, err)
	}
	return nil
}

// echoServer sends back the bytes that it gets.
type echoServer struct {
	udp     *net.UDPConn
	tcp     *net.TCPListener
	running sync.WaitGroup
}

func openEchoServer(in *netdev.Namespace, at netip.Addr) (*echoServer, error) {
	s := &echoServer{}
	anyPort := netip.AddrPortFrom(at, 0)
	err := in.Do(func() (err error) {
		if s.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(anyPort)); err == nil {
			s.tcp, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(anyPort))
		}
		return err
	})
	if err != nil {
		if s.udp != nil {
			err = errors.Join(err, s.udp.Close())
		}
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	s.running.Go(s.serveUDP)
	s.running.Go(s.serveTCP)
	return s, nil
}

// addr is where the server listens on a network: udp4 or tcp4.
func (s *echoServer) addr(network string) string {
	if network == "udp4" {
		return s.udp.LocalAddr().String()
	}
	return s.tcp.Addr().String()
}

// serveUDP and serveTCP end when the server is closed. What fails in between is not their business:
// the client waits for its byte in vain, and says so.
func (s *echoServer) serveUDP() {
	b := make([]byte, 1)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(b)
		if err == nil {
			_, err = s.udp.WriteToUDPAddrPort(b[:n], from)
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (s *echoServer) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			s.running.Go(func() { _ = errors.Join(answer(conn), conn.Close()) })
		}
	}
}

// Close ends the server and waits until its connections are closed.
func (s *echoServer) Close() error {
	err := errors.Join(s.udp.Close(), s.tcp.Close())
	s.running.Wait()
	return err
}

// ForgetNeighbours empties a namespace's table of IPv4 neighbours, so that it asks by ARP again. Those
// that were set for good stay.
func ForgetNeighbours(in *netdev.Namespace) error {
	return in.Do(func() error {
		all, err := netdev.Retry(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, unix.AF_INET) })
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range all {
			if n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 {
				continue
			}
			// One that has gone by itself is as good.
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("forget the neighbour %s: %w", n.IP, err)
			}
		}
		return nil
	})
}
