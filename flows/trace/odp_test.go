package trace

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// odp executes the datapath actions that ofproto/trace prints, in the words of
// odp-util.c, on the packet that they are for.
type odp struct {
	v      *vswitch
	outs   []string
	recirc map[string]odpPacket
}

type odpPacket struct {
	base, p Packet
	tunnel  string
	cut     int
}

// execute runs the actions of one pass.
func (o *odp) execute(actions string, k *odpPacket) error {
	for _, a := range splitActions(actions) {
		name, arg, _ := strings.Cut(strings.TrimSuffix(a, ")"), "(")
		var err error
		switch name {
		case "drop", "meter":
		case "trunc":
			n, bad := strconv.Atoi(arg)
			err = bad
			k.cut = max(0, len(k.base.frame)-n)
		case "check_pkt_len":
			err = o.checkLength(arg, k)
		case "pop_mpls", "push_mpls":
			err = k.relabel(name, arg)
		case "set":
			err = k.set(arg)
		case "push_vlan":
			t := tag{tpid: etherVLAN, tci: tagPresent}
			for key, val := range keyVals(arg) {
				n, _ := strconv.ParseUint(strings.TrimPrefix(val, "0x"), map[bool]int{true: 16, false: 10}[strings.HasPrefix(val, "0x")], 16)
				switch key {
				case "tpid":
					t.tpid = uint16(n)
				case "vid":
					t.tci |= uint16(n)
				case "pcp":
					t.tci |= uint16(n) << 13
				}
			}
			copy(k.p.tags[1:], k.p.tags[:])
			k.p.tags[0] = t
			k.p.syncTag()
			k.bake()
		case "pop_vlan":
			k.p.popTag()
			k.bake()
		case "userspace":
			if !strings.Contains(arg, "controller(") {
				err = fmt.Errorf("unknown action %q", a)
				break
			}
			k.bake()
			maxLen := arg[strings.Index(arg, "max_len="):]
			o.outs = append(o.outs, fmt.Sprintf("controller %s %x", strings.Trim(maxLen, ")"), k.leaving()))
		case "clone":
			c := *k
			err = o.execute(arg, &c)
		case "recirc":
			k.bake()
			o.recirc[arg] = *k
		case "ct":
			k.bake()
			err = k.translate(arg)
		case "hash", "ct_clear":
		default:
			n, bad := strconv.ParseUint(a, 10, 32)
			if bad != nil {
				err = fmt.Errorf("unknown action %q", a)
				break
			}
			port, ok := o.v.ofports[uint32(n)]
			if !ok {
				err = fmt.Errorf("unknown datapath port %d", n)
			}
			k.bake()
			tunnel := ""
			if isTunnelPort(port) {
				tunnel = k.tunnel
			}
			if b := k.leaving(); len(b) >= MinFrame {
				o.outs = append(o.outs, fmt.Sprintf("%d %s %x", port, tunnel, b))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bake makes the bytes those of the fields.
func (k *odpPacket) bake() { emit(&k.base, &k.p) }

// checkLength does check_pkt_len(size=N,gt(…),le(…)).
func (o *odp) checkLength(arg string, k *odpPacket) error {
	words := splitActions(arg)
	size, found := strings.CutPrefix(words[0], "size=")
	limit, err := strconv.Atoi(size)
	if !found || err != nil || len(words) != 3 {
		return fmt.Errorf("check_pkt_len(%s)", arg)
	}
	then := words[2]
	if r := (run{base: k.base, cut: k.cut}); r.length() > limit {
		then = words[1]
	}
	c := *k
	return o.execute(strings.TrimSuffix(then[strings.IndexByte(then, '(')+1:], ")"), &c)
}

// leaving is the bytes of the copy that leaves now.
func (k *odpPacket) leaving() []byte {
	f := k.base.frame[:max(0, len(k.base.frame)-k.cut)]
	k.cut = 0
	return f
}

// relabel does push_mpls and pop_mpls.
func (k *odpPacket) relabel(name, arg string) error {
	k.bake()
	m := map[string]uint64{}
	for key, val := range keyVals(arg) {
		n, err := strconv.ParseUint(val, 0, 32)
		if err != nil {
			return err
		}
		m[key] = n
	}
	b, at, by := slices.Clone(k.base.frame), k.base.at.payload, -lseBytes
	setEtherType(b, k.base.at, uint16(m["eth_type"]))
	if name == "pop_mpls" {
		b = slices.Delete(b, at, at+lseBytes)
	} else {
		lse := uint32(m["label"]<<12 | m["tc"]<<9 | m["bos"]<<8 | m["ttl"])
		b = slices.Insert(b, at, byte(lse>>24), byte(lse>>16), byte(lse>>8), byte(lse))
		by = lseBytes
	}
	k.p.frame, k.p.at, k.p.labels = b, k.base.at, [maxLabels]uint32{}
	k.p.at.shiftPayload(by)
	k.p.u(flows.EthType, m["eth_type"])
	if k.p.hasLabels() {
		k.p.extractLabels(at)
	}
	k.base = k.p
	return nil
}

// translate is what ofproto/trace takes for what nat does: the first address and port.
func (k *odpPacket) translate(arg string) error {
	_, nat, ok := strings.Cut(arg, "nat(")
	if !ok || !strings.Contains(arg, "commit") {
		return nil
	}
	nat, _, _ = strings.Cut(nat, ")")
	f, err := flows.ParseFlow("actions=ct(commit,nat(" + nat + "))")
	if err != nil {
		return err
	}
	n := f.Apply[0].(flows.CT).NAT
	t := Translation{Src: n.Min, SrcPort: n.PortMin}
	if n.Kind == flows.NATDestination {
		t = Translation{Dst: n.Min, DstPort: n.PortMin}
	}
	r := run{base: k.base}
	var wire Packet
	wire.reload(k.base.frame)
	r.translated(wire, t, true)
	k.base.frame = r.base.frame
	return nil
}

// splitActions cuts at commas outside parentheses.
func splitActions(s string) []string { return splitOutside(s, '(', ')') }

// splitOutside cuts at commas outside brackets.
func splitOutside(s string, opens, closes rune) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case opens:
			depth++
		case closes:
			depth--
		case ',':
			if depth == 0 {
				out = append(out, s[from:i])
				from = i + 1
			}
		}
	}
	return append(out, s[from:])
}

func keyVals(s string) map[string]string {
	m := map[string]string{}
	for _, w := range splitActions(s) {
		if k, v, ok := strings.Cut(w, "="); ok {
			m[k] = v
		} else if k, v, ok := strings.Cut(strings.TrimSuffix(w, ")"), "("); ok {
			m[k] = v
		}
	}
	return m
}

// odpFields are the attributes of a set action, by header and name.
var odpFields = map[string]flows.Field{
	"eth src": flows.EthSrc, "eth dst": flows.EthDst,
	"ipv4 src": flows.IPv4Src, "ipv4 dst": flows.IPv4Dst, "ipv4 ttl": flows.IPTTL,
	"ipv6 src": flows.IPv6Src, "ipv6 dst": flows.IPv6Dst, "ipv6 hlimit": flows.IPTTL, "ipv6 label": flows.IPv6Label,
	"tcp src": flows.TCPSrc, "tcp dst": flows.TCPDst, "udp src": flows.UDPSrc, "udp dst": flows.UDPDst,
	"sctp src": flows.SCTPSrc, "sctp dst": flows.SCTPDst,
	"icmp type": flows.ICMPType, "icmp code": flows.ICMPCode, "icmpv6 type": flows.ICMPv6Type, "icmpv6 code": flows.ICMPv6Code,
	"arp sip": flows.ARPSPA, "arp tip": flows.ARPTPA, "arp op": flows.ARPOp, "arp sha": flows.ARPSHA, "arp tha": flows.ARPTHA,
	"nd target": flows.NDTarget, "nd sll": flows.NDSLL, "nd tll": flows.NDTLL,
	"nd_ext nd_reserved": flows.NDReserved, "nd_ext nd_options_type": flows.NDOptionsType,
}

func (k *odpPacket) set(arg string) error {
	header, rest, _ := strings.Cut(strings.TrimSuffix(arg, ")"), "(")
	switch header {
	case "tunnel":
		m := keyVals(rest)
		dst := m["dst"]
		if dst == "" { // of two destinations the IPv4 one counts
			dst = m["ipv6_dst"]
		}
		if a, err := netip.ParseAddr(dst); err == nil {
			dst = a.String()
		}
		key, _ := strconv.ParseUint(strings.TrimPrefix(m["tun_id"], "0x"), 16, 64)
		k.tunnel = fmt.Sprintf("%#x>%s", key, dst)
		return nil
	case "mpls":
		for name, f := range map[string]flows.Field{"label": flows.MPLSLabel, "tc": flows.MPLSTC, "ttl": flows.MPLSTTL} {
			if text, ok := keyVals(rest)[name]; ok {
				n, err := strconv.ParseUint(text, 0, 32)
				if err != nil {
					return err
				}
				k.p.put(f, flows.U(n))
			}
		}
		return nil
	case "skb_mark", "skb_priority":
		return nil
	}
	for name, text := range keyVals(rest) {
		value, mask, masked := strings.Cut(text, "/")
		if name == "tos" || name == "tclass" {
			v, err := strconv.ParseUint(strings.TrimPrefix(value, "0x"), 16, 8)
			if err != nil {
				return fmt.Errorf("set(%s): %q", arg, text)
			}
			m := uint64(0xff)
			if masked {
				if m, err = strconv.ParseUint(strings.TrimPrefix(mask, "0x"), 16, 8); err != nil {
					return err
				}
			}
			tos := (k.p.fields[flows.IPDSCP].Lo<<2|k.p.fields[flows.IPECN].Lo)&^m | v&m
			k.p.put(flows.IPDSCP, flows.U(tos>>2))
			k.p.put(flows.IPECN, flows.U(tos&3))
			continue
		}
		f, ok := odpFields[header+" "+name]
		if !ok {
			if name == "proto" || name == "frag" {
				continue
			}
			return fmt.Errorf("set(%s): unknown %s of %s", arg, name, header)
		}
		v, err := odpValue(f, value)
		if err != nil {
			return err
		}
		m := f.FullMask()
		if masked {
			if m, err = odpValue(f, mask); err != nil {
				return err
			}
		}
		k.p.put(f, k.p.fields[f].AndNot(m).Or(v.And(m)))
	}
	return nil
}

func odpValue(f flows.Field, s string) (flows.Value, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if b := a.As16(); f.Bits() == 128 {
			return be128(b[:]), nil
		}
		return flows.IP(a), nil
	}
	if strings.Count(s, ":") == 5 {
		b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		if err != nil {
			return flows.Value{}, err
		}
		return flows.U(be48(b)), nil
	}
	n, err := strconv.ParseUint(s, 0, 64)
	return flows.U(n), err
}

// ovsSays is what ofproto/trace makes of a packet: every copy that leaves, sorted.
func (v *vswitch) ovsSays(p *Packet, text string) ([]string, error) {
	o := &odp{v: v, recirc: map[string]odpPacket{}}
	k, real := odpPacket{base: *p, p: *p}, true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if id, ok := strings.CutPrefix(line, "recirc("); ok && strings.Contains(line, "- resume") {
			id, _, _ = strings.Cut(id, ")")
			// A pass that failed is shown as it would have gone on.
			k, real = o.recirc[id]
		}
		actions, ok := strings.CutPrefix(line, "Datapath actions: ")
		if !ok || !real {
			continue
		}
		if err := o.execute(actions, &k); err != nil {
			return nil, err
		}
	}
	slices.Sort(o.outs)
	return o.outs, nil
}

// withoutNDExt blanks what set(nd_ext) writes, whose masks are not printed, in copies as
// weSay and ovsSays have them.
func withoutNDExt(outs []string) []string {
	var blank []string
	for _, o := range outs {
		head, frame, _ := strings.Cut(o, " ")
		for {
			rest, last, more := strings.Cut(frame, " ")
			if !more {
				break
			}
			head, frame = head+" "+rest, last
		}
		b, err := hex.DecodeString(frame)
		if err != nil {
			panic(err)
		}
		p := &Packet{}
		p.extract(b)
		if at := p.at; at.proto == protoICMPv6 {
			clear(b[at.l4+2 : at.l4+8])
			if at.end > at.l4+ndMessage {
				b[at.l4+ndMessage] = 0
			}
		}
		blank = append(blank, fmt.Sprintf("%s %x", head, b))
	}
	slices.Sort(blank)
	return blank
}

// weSay is the same from a branch of ours.
func weSay(b Branch) []string {
	var outs []string
	for _, o := range b.Outputs {
		switch {
		case o.Port == flows.PortController:
			outs = append(outs, fmt.Sprintf("controller max_len=%d %x", o.MaxLen, o.Frame))
		case o.Tunnel != nil:
			outs = append(outs, fmt.Sprintf("%d %#x>%s %x", o.Port, o.Tunnel.Key, o.Tunnel.Remote, o.Frame))
		default:
			outs = append(outs, fmt.Sprintf("%d  %x", o.Port, o.Frame))
		}
	}
	slices.Sort(outs)
	return outs
}
