package fleet

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// What a switch says of itself.
const (
	tables       = 254
	capabilities = 0x4f // statistics of flows, tables, ports, groups and queues, as Open vSwitch
)

// Multipart types that only switches of the fleet answer (OpenFlow 1.3.5 section A.3.5).
const (
	multipartTable         ofp13.MultipartType = 3
	multipartPort          ofp13.MultipartType = 4
	multipartQueue         ofp13.MultipartType = 5
	multipartGroup         ofp13.MultipartType = 6
	multipartGroupFeatures ofp13.MultipartType = 8
	multipartMeter         ofp13.MultipartType = 9
	multipartMeterFeatures ofp13.MultipartType = 11
	multipartTableFeatures ofp13.MultipartType = 12
)

// multipart answers a multipart request: the switch has ports, and tables that are empty.
func (s *emulated) multipart(h ofp13.Header, b []byte) error {
	m, err := ofp13.DecodeMultipart(b, h.Type)
	if err != nil {
		return err
	}
	var entries [][]byte
	switch m.Type {
	case ofp13.MultipartDesc:
		entries = [][]byte{ofp13.AppendSwitchDesc(nil, ofp13.SwitchDesc{
			Manufacturer: "ofctl-lab", Hardware: "emulated", Software: "bench/switch",
			Serial: fmt.Sprint(s.number + 1), Datapath: fmt.Sprintf("switch %d of a fleet", s.number+1),
		})}
	case ofp13.MultipartAggregate:
		entries = [][]byte{ofp13.AppendAggregate(nil, ofp13.Aggregate{})}
	case ofp13.MultipartPortDesc:
		for n := range s.fleet.opts.Ports {
			entries = append(entries, ofp13.AppendPortDesc(nil, ofp13.PortDesc{
				Number: uint32(n + 1), Name: fmt.Sprintf("p%d", n+1), State: ofp13.PortStateLive,
				MAC: [6]byte{0x06, 0, byte(s.number >> 8), byte(s.number), byte(n >> 8), byte(n)},
			}))
		}
	case multipartTable:
		for n := range tables {
			entries = append(entries, append([]byte{byte(n)}, make([]byte, 23)...))
		}
	case multipartPort:
		for n := range s.fleet.opts.Ports {
			entries = append(entries, binary.BigEndian.AppendUint32(nil, uint32(n+1)), make([]byte, 108))
		}
	case multipartGroupFeatures:
		entries = [][]byte{groupFeatures()}
	case multipartMeterFeatures:
		entries = [][]byte{meterFeatures()}
	case ofp13.MultipartFlow, ofp13.MultipartGroupDesc, ofp13.MultipartMeterConfig,
		multipartQueue, multipartGroup, multipartMeter, multipartTableFeatures:
		// Empty.
	default:
		return s.refuse(b, 2) // OFPBRC_BAD_MULTIPART
	}
	s.out, err = ofp13.AppendMultipartReply(s.out, h.XID, m.Type, entries)
	return err
}

// groupFeatures is an ofp_group_features: all four types, with weights and liveness,
// 2³² − 256 groups of each, and the actions of OpenFlow 1.3.
func groupFeatures() []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 0x0f)
	b = be.AppendUint32(b, 0x03)
	for range 4 {
		b = be.AppendUint32(b, 0xffffff00)
	}
	for range 4 {
		b = be.AppendUint32(b, 0x0fff9801)
	}
	return b
}

// meterFeatures is an ofp_meter_features: 1,000 meters that drop, by kbit/s or packets, with
// bursts and statistics.
func meterFeatures() []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 1000)
	b = be.AppendUint32(b, 1<<1)
	b = be.AppendUint32(b, 0x0f)
	return append(b, 1, 0, 0, 0) // bands, colours, padding
}
