package flows

import (
	"net/netip"
	"strconv"
	"strings"
)

// parseMatch reads the words of a match: protocol words and field=value[/mask].
func parseMatch(words []word) (Match, error) {
	var m Match
	put := func(at word, f Field, v, mask Value) error {
		if e, dup := m.Get(f); dup && (e.Value != v || e.Mask != mask) {
			return at.errorf("%s: given before with another value", at.text)
		}
		m = m.WithMask(f, v, mask)
		return nil
	}
	// What other words mean depends on the protocol, wherever that stands.
	rest := words[:0]
	var protos []word // nw_proto, which in ARP is the operation
	for _, w := range words {
		key, val, hasVal := w.cut("=")
		var err error
		switch {
		case !hasVal:
			p := protocolOf(w.text)
			if p == nil {
				return nil, w.errorf("%q: not a protocol, and a field needs =VALUE", w.text)
			}
			err = put(w, EthType, U(uint64(p.ethType)), EthType.FullMask())
			if err == nil && p.ipProto >= 0 {
				err = put(w, IPProto, U(uint64(p.ipProto)), IPProto.FullMask())
			}
		case key.text == "nw_proto" || key.text == "ip_proto":
			protos = append(protos, w)
		case key.text == "dl_type" || key.text == "eth_type":
			var v Value
			if v, err = parseValue(EthType, val); err == nil {
				err = put(w, EthType, v, EthType.FullMask())
			}
		default:
			rest = append(rest, w)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, w := range protos {
		f := IPProto
		if et, ok := m.Get(EthType); ok && isARP(et.Value) {
			f = ARPOp
		}
		_, val, _ := w.cut("=")
		v, err := parseValue(f, val)
		if err == nil {
			err = put(w, f, v, f.FullMask())
		}
		if err != nil {
			return nil, err
		}
	}
	ctx := m
	for _, w := range rest {
		key, val, _ := w.cut("=")
		f, v, mask, err := parseEntry(ctx, key, val)
		if err != nil {
			return nil, err
		}
		if key.text == "dl_vlan_pcp" || key.text == "vlan_pcp" {
			if _, ok := m.Get(VLANVID); !ok {
				m = m.WithMask(VLANVID, U(vlanPresent), U(vlanPresent))
			}
		} else if f == VLANVID && isPresenceOnly(m) {
			m = m.WithMask(VLANVID, Value{}, Value{}) // put there by dl_vlan_pcp
		}
		if err := put(w, f, v, mask); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// isPresenceOnly reports whether m says of the VID only that there is a tag.
func isPresenceOnly(m Match) bool {
	e, ok := m.Get(VLANVID)
	return ok && e.Mask.Lo == vlanPresent && e.Value.Lo == vlanPresent
}

func protocolOf(s string) *protocol {
	for i := range protocols {
		if protocols[i].word == s {
			return &protocols[i]
		}
	}
	return nil
}

// parseEntry reads one field of a match whose protocol is that of ctx.
func parseEntry(ctx Match, key, val word) (f Field, v, mask Value, err error) {
	switch key.text {
	case "dl_vlan":
		return parseDLVLAN(val)
	case "nw_tos", "ip_tos":
		n, err := val.uint(8)
		if err == nil && n&3 != 0 {
			err = val.errorf("%s: the two low bits of nw_tos are nw_ecn", val.text)
		}
		return IPDSCP, U(n >> 2), IPDSCP.FullMask(), err
	}
	f, ok := contextField(ctx, key.text)
	if !ok {
		if f, ok = ByName(key.text); !ok {
			return 0, v, mask, key.unknownField()
		}
	}
	v, mask, err = parseMasked(f, val)
	if err == nil && mask != f.FullMask() && !f.Maskable() {
		err = val.errorf("%s: %s cannot be matched in part", val.text, f)
	}
	return f, v, mask, err
}

// parseDLVLAN reads the VID of dl_vlan; 0xffff means no tag at all.
func parseDLVLAN(val word) (Field, Value, Value, error) {
	n, err := val.uint(16)
	if err == nil && n == 0xffff {
		return VLANVID, Value{}, VLANVID.FullMask(), nil
	}
	if err == nil && n > 0xfff {
		err = val.errorf("%s: a VLAN ID is at most 4095, or 0xffff for none", val.text)
	}
	return VLANVID, U(n | vlanPresent), VLANVID.FullMask(), err
}

func isARP(ethType Value) bool { return ethType.Lo == ethARP || ethType.Lo == ethRARP }

// contextField is the field that a name means by the protocol of the match.
func contextField(ctx Match, name string) (Field, bool) {
	et, _ := ctx.Get(EthType)
	proto, _ := ctx.Get(IPProto)
	pick := func(by map[uint64]Field) (Field, bool) {
		f, ok := by[proto.Value.Lo]
		return f, ok
	}
	switch name {
	case "tp_src":
		return pick(map[uint64]Field{protoTCP: TCPSrc, protoUDP: UDPSrc, protoSCTP: SCTPSrc, protoICMP: ICMPType, protoV6: ICMPv6Type})
	case "tp_dst":
		return pick(map[uint64]Field{protoTCP: TCPDst, protoUDP: UDPDst, protoSCTP: SCTPDst, protoICMP: ICMPCode, protoV6: ICMPv6Code})
	case "icmp_type":
		return ICMPv6Type, et.Value.Lo == ethIPv6
	case "icmp_code":
		return ICMPv6Code, et.Value.Lo == ethIPv6
	case "nw_src":
		return ARPSPA, isARP(et.Value)
	case "nw_dst":
		return ARPTPA, isARP(et.Value)
	}
	return 0, false
}

// parseMasked reads VALUE or VALUE/MASK of a field. The value is under the mask.
func parseMasked(f Field, w word) (v, mask Value, err error) {
	mask = f.FullMask()
	switch f.info().style {
	case styleTCPFlags:
		return parseFlags(f, w, tcpFlagNames[:])
	case styleCTState:
		return parseFlags(f, w, ctStateNames[:])
	case styleFrag:
		for _, fr := range frags {
			if fr.name == w.text {
				return U(fr.value), U(fr.mask), nil
			}
		}
		return v, mask, w.errorf("%q: nw_frag is yes, no, first, later or not_later", w.text)
	}
	value, m, masked := w.cut("/")
	if v, err = parseValue(f, value); err != nil {
		return v, mask, err
	}
	if masked {
		if mask, err = parseMask(f, m); err != nil {
			return v, mask, err
		}
	}
	return v.And(mask), mask, nil
}

// parseMask reads a mask: of an address also as the length of a prefix.
func parseMask(f Field, w word) (Value, error) {
	i := f.info()
	if (i.style == styleIPv4 || i.style == styleIPv6) && !strings.ContainsAny(w.text, ".:") {
		n, err := w.uint(8)
		if err == nil && n > uint64(i.bits) {
			err = w.errorf("%s: a prefix of %s has at most %d bits", w.text, f, i.bits)
		}
		if err != nil {
			return Value{}, err
		}
		return lowBits(uint16(n)).Shl(uint(i.bits) - uint(n)), nil
	}
	return parseValue(f, w)
}

// parseValue reads a value of the field; numbers are taken for every field, since
// ovs-ofctl does so too.
func parseValue(f Field, w word) (Value, error) {
	i := f.info()
	switch i.style {
	case styleMAC:
		if strings.Contains(w.text, ":") {
			return parseMAC(w)
		}
	case styleIPv4, styleIPv6:
		a, err := netip.ParseAddr(w.text)
		if err != nil || a.Is4() != (i.style == styleIPv4) || a.Zone() != "" {
			return Value{}, w.errorf("%q: not an address for %s", w.text, f)
		}
		if a.Is4() {
			return IP(a), nil
		}
		return valueOf16(a.As16()), nil
	case stylePort:
		n, err := parsePort(w)
		return U(uint64(n)), err
	}
	v, ok := parseHex128(w.text)
	if !ok {
		n, err := w.uint(64)
		if err != nil {
			return Value{}, err
		}
		v = U(n)
	}
	if !v.AndNot(f.FullMask()).IsZero() && !(f == VLANVID && v.AndNot(lowBits(16)).IsZero()) {
		return Value{}, w.errorf("%s: %s has %d bits", w.text, f, i.bits)
	}
	return v.And(f.FullMask()), nil
}

// valueOf16 differs from IP in that an IPv4-mapped address stays of 128 bits.
func valueOf16(b [16]byte) (v Value) {
	for _, c := range b {
		v = v.Shl(8).Or(U(uint64(c)))
	}
	return v
}

func parseHex128(s string) (Value, bool) {
	h, ok := strings.CutPrefix(s, "0x")
	if !ok || h == "" || len(h) > 32 {
		return Value{}, false
	}
	split := max(0, len(h)-16)
	lo, err := strconv.ParseUint(h[split:], 16, 64)
	if err != nil {
		return Value{}, false
	}
	var hi uint64
	if split > 0 {
		if hi, err = strconv.ParseUint(h[:split], 16, 64); err != nil {
			return Value{}, false
		}
	}
	return Value{hi, lo}, true
}

// parseMAC reads six colon-separated octets of one or two hexadecimal digits.
func parseMAC(w word) (Value, error) {
	octets := strings.Split(w.text, ":")
	var v uint64
	for _, o := range octets {
		n, err := strconv.ParseUint(o, 16, 8)
		if err != nil || len(octets) != 6 || len(o) > 2 {
			return Value{}, w.errorf("%q: not an Ethernet address", w.text)
		}
		v = v<<8 | n
	}
	return U(v), nil
}

// parsePort reads a port number or the name of a reserved port.
func parsePort(w word) (uint32, error) {
	for n, name := range reservedPorts {
		if strings.EqualFold(name, w.text) || n == PortAny && strings.EqualFold(w.text, "none") {
			return n, nil
		}
	}
	n, err := w.uint(32)
	if err != nil {
		return 0, w.errorf("%q: not a port number or reserved port", w.text)
	}
	// ovs-ofctl also takes the 16-bit numbers of OpenFlow 1.0 for reserved ports.
	if wide := uint32(n) | 0xffff0000; n <= 0xffff && reservedPorts[wide] != "" {
		return wide, nil
	}
	return uint32(n), nil
}

// parseFlags reads +a-b, a|b or VALUE[/MASK].
func parseFlags(f Field, w word, names []string) (v, mask Value, err error) {
	full := f.flagBits()
	if w.text != "" && (w.text[0] == '+' || w.text[0] == '-') {
		return parseSignedFlags(w, names)
	}
	value, m, masked := w.cut("/")
	if n, err := value.uint(int(f.Bits())); err == nil {
		mask = full
		if masked {
			k, err := m.uint(64)
			if err != nil {
				return v, mask, err
			}
			mask = U(k).And(full)
		}
		return U(n).And(mask), mask, nil
	}
	for _, name := range strings.Split(w.text, "|") {
		bit, ok := flagBit(names, name)
		if !ok {
			return v, full, w.errorf("%q: unknown flag of %s", name, f)
		}
		v = v.Or(bit)
	}
	return v, full, nil
}

func parseSignedFlags(w word, names []string) (v, mask Value, err error) {
	for rest := w; rest.text != ""; {
		sign := rest.text[0]
		if sign != '+' && sign != '-' {
			return v, mask, rest.errorf("%q: want + or - before a flag", rest.text)
		}
		rest = rest.from(1)
		n := strings.IndexAny(rest.text, "+-")
		if n < 0 {
			n = len(rest.text)
		}
		bit, ok := flagBit(names, rest.text[:n])
		if !ok {
			return v, mask, rest.errorf("%q: unknown flag", rest.text[:n])
		}
		mask = mask.Or(bit)
		if sign == '+' {
			v = v.Or(bit)
		}
		rest = rest.from(n)
	}
	return v.And(mask), mask, nil
}

func flagBit(names []string, name string) (Value, bool) {
	for i, n := range names {
		if n == name {
			return U(1 << i), true
		}
	}
	return Value{}, false
}
