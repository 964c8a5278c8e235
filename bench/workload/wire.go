package workload

import "encoding/binary"

// FlowModLen is the length in bytes of each flow-mod of Flows.
const FlowModLen = 48 + 48 + 72

// AppendFlowMod appends flow i as an OFPT_FLOW_MOD of OpenFlow 1.3 (section
// A.3.4.1) with the given xid.
//
// This is the fixed message for the one shape, written down by hand, and on
// purpose not the project's encoder: as the yardstick of what the switch can take it
// must not depend on what is measured against it.
func (f Flows) AppendFlowMod(b []byte, i int, xid uint32) []byte {
	be := binary.BigEndian
	b = append(b, 4, 14) // OFP 1.3, OFPT_FLOW_MOD
	b = be.AppendUint16(b, FlowModLen)
	b = be.AppendUint32(b, xid)
	b = be.AppendUint64(b, f.cookie(i))
	b = be.AppendUint64(b, 0)   // cookie_mask
	b = append(b, FlowTable, 0) // OFPFC_ADD
	b = be.AppendUint32(b, 0)   // idle and hard timeout
	b = be.AppendUint16(b, flowPriority)
	b = be.AppendUint32(b, 0xffffffff) // OFP_NO_BUFFER
	b = be.AppendUint32(b, 0xffffffff) // OFPP_ANY
	b = be.AppendUint32(b, 0xffffffff) // OFPG_ANY
	b = be.AppendUint32(b, 0)          // flags, pad

	b = be.AppendUint16(b, 1)  // OFPMT_OXM
	b = be.AppendUint16(b, 45) // without padding
	b = appendOXM(b, oxmMetadata, be.AppendUint64(nil, f.metadata(i)))
	dst, addr := f.mac(0x02, i), f.addr(i)
	b = appendOXM(b, oxmEthDst, dst[:])
	b = appendOXM(b, oxmEthType, []byte{0x08, 0x00})
	b = appendOXM(b, oxmIPProto, []byte{6})
	b = appendOXM(b, oxmIPv4Dst, addr[:])
	b = append(b, 0, 0, 0)

	b = be.AppendUint16(b, 4) // OFPIT_APPLY_ACTIONS
	b = be.AppendUint16(b, 72)
	b = be.AppendUint32(b, 0)
	src, hop := f.mac(0x0a, 0), f.mac(0x06, i)
	b = appendSetField(b, oxmEthSrc, src[:])
	b = appendSetField(b, oxmEthDst, hop[:])
	b = appendSetField(b, oxmTunnelID, be.AppendUint64(nil, f.key(i)))
	b = be.AppendUint16(b, 0)  // OFPAT_OUTPUT
	b = be.AppendUint16(b, 16) //mut
	b = be.AppendUint32(b, 1)
	return be.AppendUint64(b, 0) // max_len, pad
}

// OXM field numbers of OFPXMC_OPENFLOW_BASIC (section A.2.3.7).
const (
	oxmMetadata = 2
	oxmEthDst   = 3
	oxmEthSrc   = 4
	oxmEthType  = 5
	oxmIPProto  = 10
	oxmIPv4Dst  = 12
	oxmTunnelID = 38
)

func appendOXM(b []byte, field byte, value []byte) []byte {
	b = append(b, 0x80, 0x00, field<<1, byte(len(value)))
	return append(b, value...)
}

// appendSetField appends an OFPAT_SET_FIELD whose value makes 16 bytes of it when padded.
func appendSetField(b []byte, field byte, value []byte) []byte {
	start := len(b)
	b = append(b, 0, 25, 0, 16)
	b = appendOXM(b, field, value)
	return append(b, make([]byte, 16-(len(b)-start))...)
}
