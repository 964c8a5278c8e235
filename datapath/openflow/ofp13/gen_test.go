package ofp13

import (
	"net/netip"

	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// allFields are the fields that there are.
func allFields() []flows.Field {
	var fs []flows.Field
	for f := flows.InPort; f.Valid(); f++ {
		fs = append(fs, f)
	}
	return fs
}

func genValue(t *rapid.T, f flows.Field) flows.Value {
	return and(f.FullMask(), flows.Value{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")})
}

func genMatch(t *rapid.T) flows.Match {
	var m flows.Match
	for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(allFields()), 0, 8, rapid.ID[flows.Field]).Draw(t, "fields") {
		mask := f.FullMask()
		if rapid.Bool().Draw(t, "masked") {
			mask = genValue(t, f)
		}
		m = m.WithMask(f, genValue(t, f), mask)
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// nameable are the fields that a Nicira action can name.
func nameable(f flows.Field) bool { c, _, _ := f.OXMHeader(); return c != classExperimenter }

func genSubfield(t *rapid.T, bits uint16) flows.Subfield {
	f := rapid.SampledFrom(allFields()).Filter(func(f flows.Field) bool { return nameable(f) && f.Bits() >= bits }).Draw(t, "sub")
	return flows.Subfield{Field: f, Bits: bits, Offset: uint16(rapid.IntRange(0, int(f.Bits()-bits)).Draw(t, "offset"))}
}

func genAction(t *rapid.T) flows.Action {
	switch rapid.IntRange(0, 25).Draw(t, "action") {
	case 0:
		return flows.Output{Port: rapid.Uint32().Filter(func(p uint32) bool { return p != flows.PortController }).Draw(t, "port")}
	case 1:
		a := flows.ToController{MaxLen: rapid.Uint16().Draw(t, "max len"), Meter: rapid.Uint32().Draw(t, "meter")}
		if rapid.Bool().Draw(t, "long") {
			a.Reason, a.ID = flows.PacketInReason(rapid.IntRange(0, 5).Draw(t, "reason")), rapid.Uint16().Draw(t, "id")
			a.UserData, a.Pause = genBytes(t, 0, 20), rapid.Bool().Draw(t, "pause")
		}
		return a
	case 2:
		return flows.OutputReg{Src: genSubfield(t, rapid.Uint16Range(1, 32).Draw(t, "bits")), MaxLen: rapid.Uint16().Draw(t, "max len")}
	case 3:
		return flows.ToGroup{ID: rapid.Uint32().Draw(t, "group")}
	case 4:
		f := rapid.SampledFrom(allFields()).Draw(t, "set")
		return flows.Set(f, genValue(t, f))
	case 5:
		s := genSubfield(t, rapid.Uint16Range(1, 8).Draw(t, "bits"))
		return flows.SetBits(s.Field, s.Offset, s.Bits, rapid.Uint64().Draw(t, "value"))
	case 6:
		bits := rapid.Uint16Range(1, 48).Draw(t, "bits")
		return flows.Move{Src: genSubfield(t, bits), Dst: genSubfield(t, bits)}
	case 7:
		return flows.PushVLAN{EtherType: rapid.Uint16().Draw(t, "ethertype")}
	case 8:
		return flows.PopVLAN{}
	case 9:
		return flows.DecTTL{}
	case 10:
		return flows.CTClear{}
	case 11:
		return genCT(t)
	case 13:
		return flows.OutputTrunc{Port: rapid.Uint32Range(0, 0xfeff).Draw(t, "port"), MaxLen: rapid.Uint32().Draw(t, "max len")}
	case 14:
		return flows.PushMPLS{EtherType: rapid.Uint16().Draw(t, "ethertype")}
	case 15:
		return flows.PopMPLS{EtherType: rapid.Uint16().Draw(t, "ethertype")}
	case 16:
		return rapid.SampledFrom([]flows.Action{flows.DecMPLSTTL{}, flows.PopQueue{}, flows.Exit{}}).Draw(t, "plain")
	case 17:
		return flows.Push{Src: genSubfield(t, rapid.Uint16Range(1, 48).Draw(t, "bits"))}
	case 18:
		return flows.Pop{Dst: genSubfield(t, rapid.Uint16Range(1, 48).Draw(t, "bits"))}
	case 19:
		return flows.SetQueue{ID: rapid.Uint32().Draw(t, "queue")}
	case 20:
		return flows.CheckLarger{Len: rapid.Uint16().Draw(t, "length"), Dst: genSubfield(t, 1)}
	case 21:
		n := 6 + 8*rapid.IntRange(0, 3).Draw(t, "words")
		return flows.Note{Data: genBytes(t, n, n)}
	case 22:
		return flows.FinTimeout{Idle: rapid.Uint16().Draw(t, "idle"), Hard: rapid.Uint16().Draw(t, "hard")}
	case 23:
		ids := genBytes(t, 2, 9)
		return flows.DecTTL{IDs: ids[:len(ids)&^1]}
	case 24:
		return flows.NewClone(flows.Normalize(&flows.Flow{Apply: genActions(t)}).Apply...)
	}
	port := rapid.OneOf(rapid.Uint32Range(0, 0xfeff), rapid.Uint32Range(0xffffff00, 0xffffffff)).Draw(t, "port")
	return flows.Resubmit{Port: port, Table: rapid.Uint8().Draw(t, "table")}
}

func genBytes(t *rapid.T, least, most int) string {
	return string(rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, "bytes"))
}

func genNAT(t *rapid.T) flows.NAT {
	n := flows.NAT{Kind: flows.NATKind(rapid.IntRange(0, 3).Draw(t, "nat"))}
	if n.Kind < flows.NATSource || rapid.Bool().Draw(t, "own address") {
		return n
	}
	size := rapid.SampledFrom([]int{4, 16}).Draw(t, "family")
	addr := func() netip.Addr {
		a, _ := netip.AddrFromSlice([]byte(genBytes(t, size, size)))
		return a
	}
	n.Min = addr()
	if rapid.Bool().Draw(t, "range") {
		n.Max = addr()
	}
	n.PortMin, n.PortMax = rapid.Uint16().Draw(t, "port"), rapid.Uint16().Draw(t, "port")
	n.Persistent, n.Hash, n.Random = rapid.Bool().Draw(t, "p"), rapid.Bool().Draw(t, "h"), rapid.Bool().Draw(t, "r")
	return n
}

func genCT(t *rapid.T) flows.CT {
	a := flows.CT{
		Commit: rapid.Bool().Draw(t, "commit"), Force: rapid.Bool().Draw(t, "force"), Zone: rapid.Uint16().Draw(t, "zone"),
		Table: rapid.Uint8().Draw(t, "table"), NAT: genNAT(t), MarkMask: rapid.Uint32().Draw(t, "mask"), LabelMask: genValue(t, flows.CTLabel),
	}
	a.Mark, a.Label = rapid.Uint32().Draw(t, "mark")&a.MarkMask, and(genValue(t, flows.CTLabel), a.LabelMask)
	if rapid.Bool().Draw(t, "zone of a field") {
		a.Zone, a.ZoneSrc = 0, genSubfield(t, 16)
	}
	return a
}

func genActions(t *rapid.T) []flows.Action {
	var as []flows.Action
	for range rapid.IntRange(0, 5).Draw(t, "actions") {
		as = append(as, genAction(t))
	}
	return as
}

func genFlow(t *rapid.T) *flows.Flow {
	f := &flows.Flow{
		Table: rapid.Uint8().Draw(t, "table"), Priority: rapid.Uint16().Draw(t, "priority"), Match: genMatch(t),
		Cookie: flows.Cookie(rapid.Uint64().Draw(t, "cookie")), IdleTimeout: rapid.Uint16().Draw(t, "idle"),
		HardTimeout: rapid.Uint16().Draw(t, "hard"), Meter: rapid.Uint32().Draw(t, "meter"), Apply: genActions(t),
		ClearActions: rapid.Bool().Draw(t, "clear"), Write: genActions(t), Goto: rapid.Uint8().Draw(t, "goto"),
		MetadataMask: rapid.Uint64().Draw(t, "metadata mask"),
	}
	f.Metadata = rapid.Uint64().Draw(t, "metadata") & f.MetadataMask
	return flows.Normalize(f)
}

func genGroup(t *rapid.T) *flows.Group {
	g := &flows.Group{ID: rapid.Uint32().Draw(t, "id"), Type: flows.GroupType(rapid.IntRange(0, 3).Draw(t, "type"))}
	for range rapid.IntRange(0, 4).Draw(t, "buckets") {
		b := flows.Bucket{
			Weight: rapid.Uint16().Draw(t, "weight"), WatchPort: rapid.Uint32().Draw(t, "port"), WatchGroup: rapid.Uint32().Draw(t, "group"),
			Actions: flows.Normalize(&flows.Flow{Apply: genActions(t)}).Apply,
		}
		g.Buckets = append(g.Buckets, b)
	}
	return g
}

func genMeter(t *rapid.T) *flows.Meter {
	m := &flows.Meter{ID: rapid.Uint32().Draw(t, "id"), Pktps: rapid.Bool().Draw(t, "pktps")}
	for range rapid.IntRange(0, 3).Draw(t, "bands") {
		m.Bands = append(m.Bands, flows.MeterBand{Rate: rapid.Uint32().Draw(t, "rate"), Burst: rapid.Uint32().Draw(t, "burst")})
	}
	return m
}

// must is b, or the end of the test.
func must(tb interface{ Fatal(...any) }) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
}
