package flows_test

import (
	"net/netip"

	"pgregory.net/rapid"

	. "github.com/ofctl-lab/ofctl-lab/flows"
)

// someGroup is the one group that random flows refer to.
const someGroup = GroupMin + 1

// protocols are matches from which random ones grow.
var protocols = []string{
	"", "", "arp", "ip", "ipv6", "udp", "tcp", "udp6", "tcp6", "sctp", "icmp", "icmp6",
	"icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=136,icmp_code=0", "dl_type=0x88cc",
}

func anyField(t *rapid.T) Field {
	f, _ := ByName(rapid.SampledFrom(fieldNames()).Draw(t, "field"))
	return f
}

func fieldNames() []string {
	var names []string
	for f := InPort; f.Valid(); f++ {
		names = append(names, f.Name())
	}
	return names
}

func anyValue(t *rapid.T, f Field) Value {
	m := f.FullMask()
	v := Value{Hi: rapid.Uint64().Draw(t, "hi") & m.Hi, Lo: rapid.Uint64().Draw(t, "lo") & m.Lo}
	if f == InPort {
		v.Lo = v.Lo%0xfeff + 1
	}
	return v
}

func anyMask(t *rapid.T, f Field) Value {
	if rapid.Bool().Draw(t, "full") {
		return f.FullMask()
	}
	m := anyValue(t, f)
	if f.Bits() == 128 {
		// ovs-ofctl takes an IPv6 mask that begins with a digit for a prefix length.
		m.Hi |= 0xf << 60
	}
	return m
}

// anyMatch grows a match by fields that are valid in it.
func anyMatch(t *rapid.T) Match {
	f, err := ParseFlow(rapid.SampledFrom(protocols).Draw(t, "protocol") + " actions=drop")
	if err != nil {
		t.Fatal(err)
	}
	m := f.Match
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		f := anyField(t)
		if _, taken := m.Get(f); taken || f == EthType {
			continue
		}
		mask := f.FullMask()
		if f.Maskable() {
			mask = anyMask(t, f)
		}
		grown := Normalize(&Flow{Match: m.WithMask(f, anyValue(t, f), mask)}).Match
		if grown.Validate() == nil {
			m = grown
		}
	}
	return m
}

func anySubfield(t *rapid.T, bits uint16) Subfield {
	f := anyField(t)
	return Subfield{Field: f, Offset: rapid.Uint16Range(0, 40).Draw(t, "offset"), Bits: bits}
}

func anyAction(t *rapid.T) Action {
	port := rapid.SampledFrom([]uint32{1, 2, 3000, 0xfeff, PortInPort, PortLocal}).Draw(t, "port")
	switch rapid.IntRange(0, 30).Draw(t, "action") {
	case 0:
		return Output{Port: port}
	case 1:
		a := ToController{MaxLen: rapid.SampledFrom([]uint16{0, 14, 0xffff}).Draw(t, "len"),
			Meter: rapid.SampledFrom([]uint32{0, 0, MeterMin, 0xffff0000}).Draw(t, "meter")}
		if rapid.Bool().Draw(t, "long") {
			a.Reason, a.ID = PacketInReason(rapid.IntRange(0, 5).Draw(t, "reason")), rapid.Uint16().Draw(t, "id")
			a.UserData, a.Pause = anyBytes(t, 0, 9), rapid.Bool().Draw(t, "pause")
		}
		return a
	case 2:
		return OutputReg{Src: anySubfield(t, 16), MaxLen: 0xffff}
	case 3:
		return ToGroup{ID: someGroup}
	case 4:
		return Move{Src: anySubfield(t, 16), Dst: anySubfield(t, 16)}
	case 5:
		return PushVLAN{EtherType: rapid.SampledFrom([]uint16{0x8100, 0x88a8}).Draw(t, "tpid")}
	case 6:
		return PopVLAN{}
	case 7:
		return DecTTL{}
	case 8:
		return Resubmit{Port: port, Table: rapid.Byte().Draw(t, "table")}
	case 9:
		return anyCT(t)
	case 10:
		return CTClear{}
	case 11:
		return OutputTrunc{Port: port, MaxLen: rapid.SampledFrom([]uint32{14, 100, 1 << 31}).Draw(t, "len")}
	case 12:
		return PushMPLS{EtherType: rapid.SampledFrom([]uint16{0x8847, 0x8848}).Draw(t, "mpls")}
	case 13:
		return PopMPLS{EtherType: rapid.SampledFrom([]uint16{0x0800, 0x8847, 0x1234}).Draw(t, "inner")}
	case 14:
		return rapid.SampledFrom([]Action{DecMPLSTTL{}, PopQueue{}, Exit{}}).Draw(t, "plain")
	case 15:
		return Push{Src: anySubfield(t, rapid.Uint16Range(1, 48).Draw(t, "bits"))}
	case 16:
		return Pop{Dst: anySubfield(t, rapid.Uint16Range(1, 48).Draw(t, "bits"))}
	case 17:
		return SetQueue{ID: rapid.SampledFrom([]uint32{0, 7, 0xfffffffe}).Draw(t, "queue")}
	case 18:
		return CheckLarger{Len: rapid.Uint16().Draw(t, "len"), Dst: anySubfield(t, 1)}
	case 19:
		n := 6 + 8*rapid.IntRange(0, 3).Draw(t, "words")
		return Note{Data: anyBytes(t, n, n)}
	case 20:
		return FinTimeout{Idle: rapid.Uint16().Draw(t, "idle"), Hard: rapid.Uint16().Draw(t, "hard")}
	case 21:
		ids := anyBytes(t, 2, 9)
		return DecTTL{IDs: ids[:len(ids)&^1]}
	case 22:
		var as []Action
		for range rapid.IntRange(1, 3).Draw(t, "cloned") {
			as = append(as, anyAction(t))
		}
		return NewClone(as...)
	}
	f := anyField(t)
	mask := anyMask(t, f)
	v := anyValue(t, f)
	return SetField{Field: f, Value: Value{Hi: v.Hi & mask.Hi, Lo: v.Lo & mask.Lo}, Mask: mask}
}

func anyBytes(t *rapid.T, least, most int) string {
	return string(rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, "bytes"))
}

func anyNAT(t *rapid.T) NAT {
	n := NAT{Kind: NATKind(rapid.IntRange(0, 3).Draw(t, "nat"))}
	if n.Kind < NATSource || rapid.IntRange(0, 3).Draw(t, "own address") == 0 {
		return n
	}
	of := rapid.SampledFrom([][2]string{{"10.0.0.1", "10.0.0.9"}, {"fd00::1", "fd00::9"}}).Draw(t, "family")
	n.Min = netip.MustParseAddr(of[0])
	if rapid.Bool().Draw(t, "range") {
		n.Max = netip.MustParseAddr(of[1])
	}
	if rapid.Bool().Draw(t, "port") {
		n.PortMin = rapid.Uint16Range(1, 1000).Draw(t, "first")
		n.PortMax = rapid.SampledFrom([]uint16{0, 1001}).Draw(t, "last")
	}
	n.Persistent = rapid.Bool().Draw(t, "persistent")
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 1:
		n.Hash = true
	case 2:
		n.Random = true
	}
	return n
}

func anyCT(t *rapid.T) CT {
	a := CT{Table: rapid.Byte().Draw(t, "table"), Commit: rapid.Bool().Draw(t, "commit"), Zone: rapid.Uint16().Draw(t, "zone")}
	if a.Commit {
		a.Force = rapid.Bool().Draw(t, "force")
		a.MarkMask = rapid.SampledFrom([]uint32{0, 0xffffffff, 0xff0, 0xf0f}).Draw(t, "mask")
		a.Mark = rapid.Uint32().Draw(t, "mark") & a.MarkMask
		a.LabelMask = rapid.SampledFrom([]Value{{}, CTLabel.FullMask(), {Hi: 7, Lo: 0xf0}}).Draw(t, "label mask")
		a.Label = Value{Hi: rapid.Uint64().Draw(t, "hi") & a.LabelMask.Hi, Lo: rapid.Uint64().Draw(t, "lo") & a.LabelMask.Lo}
	}
	a.NAT = anyNAT(t)
	if rapid.IntRange(0, 3).Draw(t, "from a field") == 0 {
		a.Zone, a.ZoneSrc = 0, Subfield{Field: Reg3, Offset: 16, Bits: 16}
	}
	return a
}

// anyFlow is a random valid flow of ours, in normal form.
var anyFlow = rapid.Custom(func(t *rapid.T) *Flow {
	f := &Flow{
		Table: rapid.ByteRange(0, 253).Draw(t, "table"), Priority: rapid.Uint16().Draw(t, "priority"), Match: anyMatch(t),
		Cookie:      NewCookie(rapid.Byte().Draw(t, "feature"), 1, rapid.Uint32().Draw(t, "owner")),
		IdleTimeout: rapid.SampledFrom([]uint16{0, 0, 60000}).Draw(t, "idle"),
		HardTimeout: rapid.SampledFrom([]uint16{0, 0, 60001}).Draw(t, "hard"),
	}
	if f.Table < 253 && rapid.Bool().Draw(t, "goto") {
		f.Goto = rapid.ByteRange(f.Table+1, 253).Draw(t, "to")
	}
	if rapid.Bool().Draw(t, "metadata") {
		f.MetadataMask = rapid.Uint64().Draw(t, "mask")
		f.Metadata = rapid.Uint64().Draw(t, "value") & f.MetadataMask
	}
	f.ClearActions = rapid.IntRange(0, 9).Draw(t, "clear") == 0
	for range rapid.IntRange(0, 5).Draw(t, "actions") {
		// Normalize first: a set-field under any mask is several.
		with := *f
		with.Apply = append(with.Apply[:len(with.Apply):len(with.Apply)], anyAction(t))
		if n := Normalize(&with); n.Validate() == nil {
			f = n
		}
	}
	return f
})

// randomFlows are n flows of different Keys, the same at every call.
func randomFlows(n int) []*Flow {
	seen := map[Key]bool{}
	var fs []*Flow
	for seed := 0; len(fs) < n; seed++ {
		if f := anyFlow.Example(seed); !seen[f.Key()] {
			seen[f.Key()] = true
			fs = append(fs, f)
		}
	}
	return fs
}
