package sim

import (
	"encoding/binary"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// multipart answers a multipart request.
func (ses *session) multipart(h ofp13.Header, b []byte) ([]byte, *ofp13.Error) {
	m, err := ofp13.DecodeMultipart(b, h.Type)
	if err != nil {
		return nil, refuse(ofp13.ErrBadRequest, 6)
	}
	var entries [][]byte
	add := func(e []byte, err error) {
		// What cannot be encoded was never accepted.
		if err == nil {
			entries = append(entries, e)
		}
	}
	st := ses.sw.store
	switch m.Type {
	case ofp13.MultipartDesc:
		add(ofp13.AppendSwitchDesc(nil, ofp13.SwitchDesc{Manufacturer: "ofctl-lab", Hardware: "sim", Software: "sim"}), nil)
	case ofp13.MultipartFlow, ofp13.MultipartAggregate:
		f, err := ofp13.DecodeFlowStatsRequest(m.Body)
		if err != nil {
			return nil, refuse(ofp13.ErrBadRequest, 6)
		}
		var sum ofp13.Aggregate
		for _, s := range sorted(st.flows) {
			if f.Table != ofp13.AllTables && f.Table != s.Flow.Table || (uint64(s.Flow.Cookie)^f.Cookie)&f.CookieMask != 0 {
				continue
			}
			sum.Flows++
			sum.Packets += s.Packets
			sum.Bytes += s.Bytes
			if m.Type == ofp13.MultipartFlow {
				add(ofp13.AppendFlowStats(nil, s))
			}
		}
		if m.Type == ofp13.MultipartAggregate {
			add(ofp13.AppendAggregate(nil, sum), nil)
		}
	case ofp13.MultipartGroupDesc:
		for _, g := range sorted(st.groups) {
			add(ofp13.AppendGroupDesc(nil, g))
		}
	case ofp13.MultipartMeterConfig:
		if len(m.Body) < 8 {
			return nil, refuse(ofp13.ErrBadRequest, 6)
		}
		which := binary.BigEndian.Uint32(m.Body)
		if which != ofp13.AllMeters && st.meters[which] == nil {
			return nil, refuse(ofp13.ErrMeterModFailed, 3) // UNKNOWN_METER
		}
		for _, e := range sorted(st.meters) {
			if which == ofp13.AllMeters || e.ID == which {
				add(ofp13.AppendMeterConfig(nil, e))
			}
		}
	case ofp13.MultipartPortDesc:
		for _, p := range sorted(ses.sw.ports) {
			add(ofp13.AppendPortDesc(nil, p), nil)
		}
	case ofp13.MultipartPortStats:
		// Nobody counts here, which has a value of its own.
		for _, p := range sorted(ses.sw.ports) {
			add(ofp13.AppendPortStats(nil, ofp13.PortStats{Number: p.Number,
				Received: ofp13.NoCount, Sent: ofp13.NoCount, Dropped: ofp13.NoCount, SendDrops: ofp13.NoCount}), nil)
		}
	default:
		return nil, refuse(ofp13.ErrBadRequest, 2) // BAD_STAT
	}
	return orBadLen(ofp13.AppendMultipartReply(nil, h.XID, m.Type, entries))
}
