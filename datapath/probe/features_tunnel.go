package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The tunnel endpoints: ours, on the local port of the underlay's bridge, and one that does not exist, of
// which the wire has the MAC.
var (
	tep  = map[bool]netip.Prefix{false: netip.MustParsePrefix("198.51.100.1/24"), true: netip.MustParsePrefix("2001:db8:5::1/64")}
	peer = map[bool]netip.Addr{false: netip.MustParseAddr("198.51.100.2"), true: netip.MustParseAddr("2001:db8:5::2")}
)

const (
	tunnelPort = "tun1"
	tunnelKey  = 77
)

// tunnelFeatures are the encapsulations, with flow-based ports as the pipeline has them.
func tunnelFeatures() []Feature {
	all := []Feature{{
		Name: "tunnel-push-pop", Title: "the datapath itself builds the outer header", Need: Known, For: "where not, tunnel devices of the kernel do",
		question: question{showFeatures, "Tunnel push pop"},
	}}
	for _, t := range []struct {
		kind, module string
		ipv6         bool
		need         Need
	}{
		{"gre", "ip_gre", false, Now}, {"vxlan", "vxlan", false, Now}, {"geneve", "geneve", false, Now},
		{"gre", "", true, Known}, {"ip6gre", "ip6_gre", true, Known}, {"vxlan", "vxlan", true, Now}, {"geneve", "geneve", true, Now},
	} {
		f := Feature{
			Name: t.kind + "-ipv4", Title: "port type " + t.kind + " over IPv4", Need: t.need, For: "networks with this encapsulation",
			question: question{interfaceType, t.kind}, fix: module(t.module, "4.3", "2.5"), trial: trial{tunnel(t.kind, t.ipv6)},
		}
		if t.ipv6 {
			f.Name, f.Title, f.For = t.kind+"-ipv6", "port type "+t.kind+" over IPv6", "an underlay of IPv6"
			if t.need == Known {
				f.For = "GRE on an underlay of IPv6: one of the two types"
			}
		}
		all = append(all, f)
	}
	return all
}

// tunnel sends a frame out of a tunnel port, reads what comes out on the wire, and sends that back.
func tunnel(kind string, ipv6 bool) func(context.Context, *scratch) (string, error) {
	return func(ctx context.Context, s *scratch) (_ string, err error) {
		if err := s.endpoint(ctx, ipv6); err != nil {
			return "", err
		}
		_, err = s.c.Vsctl(ctx, "--timeout=25", "add-port", bridge, tunnelPort, "--",
			"set", "Interface", tunnelPort, "type="+kind, "options:remote_ip=flow", "options:key=flow", "ofport_request=10")
		if err != nil {
			return "", err
		}
		defer func() {
			_, delErr := s.c.Vsctl(ctx, "--timeout=25", "del-port", bridge, tunnelPort)
			err = errors.Join(err, delErr)
		}()
		problem, err := s.c.Vsctl(ctx, "--bare", "get", "Interface", tunnelPort, "error")
		if err != nil {
			return "", err
		}
		if text := strings.Trim(strings.TrimSpace(problem), `[]"`); text != "" {
			return "", &unlike{text}
		}
		field := "tun_dst"
		if ipv6 {
			field = "tun_ipv6_dst"
		}
		err = s.install(ctx, flows(fmt.Sprintf("in_port=1,actions=set_field:%s->%s,set_field:%d->tun_id,output:10", peer[ipv6], field, tunnelKey),
			fmt.Sprintf("in_port=10,tun_id=%d,actions=output:2", tunnelKey)))
		if err != nil {
			return "", err
		}
		want := "nw_src=" + tep[ipv6].Addr().String() + " nw_dst=" + peer[ipv6].String()
		switch kind {
		case "vxlan":
			want += " tp_dst=4789"
		case "geneve":
			want += " tp_dst=6081"
		default:
			want += fmt.Sprintf(" key=%d", tunnelKey)
		}
		outer, err := s.outer(ctx, want)
		if err != nil {
			return "", err
		}
		s.wires.drain()
		if err := s.wires.send(wire, back(outer, ipv6)); err != nil {
			return "", err
		}
		now, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if _, err := s.wires.await(now, step{at: p2, want: "nw_src=" + addrA + " nw_dst=" + addrB}); err != nil {
			return "", fmt.Errorf("out of the tunnel: %w", err)
		}
		return header(outer), nil
	}
}

// endpoint gives the underlay's bridge its address, and the neighbour one.
func (s *scratch) endpoint(ctx context.Context, ipv6 bool) error {
	_, err := s.ns.Configure(underlay, netdev.LinkConfig{State: netdev.Up, IPv6: netdev.IPv6Static, Addresses: []netip.Prefix{tep[false], tep[true]}})
	if err != nil {
		return err
	}
	if err := s.ns.WarmNeighbour(underlay, peer[ipv6], macB); err != nil {
		return err
	}
	// The userspace datapath has a table of neighbours of its own.
	_, err = s.c.Appctl(ctx, "tnl/arp/set", underlay, peer[ipv6].String(), macB.String())
	return err
}

// outer sends a frame into the tunnel until one comes out on the wire: the switch learns of the address and the
// neighbour a moment later.
func (s *scratch) outer(ctx context.Context, want string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out arrival
	var last error
	err := until(ctx, func() (bool, error) {
		if err := s.wires.send(p1, v4.frame()); err != nil {
			return false, err
		}
		now, cancel := context.WithTimeout(ctx, lookAgain)
		defer cancel()
		out, last = s.wires.await(now, step{at: wire, want: want})
		return last == nil, nil
	})
	if err != nil && last != nil {
		return nil, last
	}
	return out.frame, err
}

// back is a frame with both ends exchanged; sums over both stay right.
func back(frame []byte, ipv6 bool) []byte {
	b := bytes.Clone(frame)
	swap := func(at, size int) {
		for i := range size {
			b[at+i], b[at+size+i] = b[at+size+i], b[at+i]
		}
	}
	swap(0, 6)
	if ipv6 {
		swap(14+8, 16)
	} else {
		swap(14+12, 4)
	}
	return b
}

// header is what is worth knowing of an outer header.
func header(frame []byte) string {
	words := []string{"outer"}
	for _, w := range describe(frame) {
		for _, known := range []string{"nw_ttl=", "nw_tos=", "df", "no_checksum"} {
			if strings.HasPrefix(w, known) {
				words = append(words, w)
			}
		}
	}
	return strings.Join(words, " ")
}
