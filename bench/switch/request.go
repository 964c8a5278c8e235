package fleet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// appendHello appends a hello that offers versions, as Open vSwitch does: the highest of them
// in the header, all in the bitmap.
func appendHello(b []byte, versions []uint8) ([]byte, error) {
	var bitmap uint32
	for _, v := range versions {
		if v < 1 || v > 31 {
			return b, fmt.Errorf("fleet: OpenFlow version 0x%02x: want wire numbers of 1 … 31", v)
		}
		bitmap |= 1 << v
	}
	if !slices.Contains(versions, version) {
		return b, errors.New("fleet: the versions offered lack 4, OpenFlow 1.3, which is the one the switches speak")
	}
	b = append(b, slices.Max(versions), byte(ofp13.TypeHello), 0, 16, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(append(b, 0, 1, 0, 8), bitmap), nil
}

// request takes whatever is no packet-out, and answers as a switch that holds no flows.
func (s *emulated) request(b []byte) error {
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return err
	}
	if s.phase == greeting {
		return s.greet(h, b)
	}
	if h.Version != version {
		return fmt.Errorf("the controller sent %v of version 0x%02x after OpenFlow 1.3 was negotiated", h.Type, h.Version)
	}
	switch h.Type {
	case ofp13.TypeFlowMod:
		s.stats.FlowMods++
		return nil
	case ofp13.TypeGroupMod, ofp13.TypeMeterMod, ofp13.TypePortMod, ofp13.TypeTableMod:
		s.stats.Mods++
		return nil
	case ofp13.TypeError:
		s.stats.Errors++
		return nil
	}
	s.stats.Others++
	switch h.Type {
	case ofp13.TypeEchoRequest:
		s.out, err = ofp13.AppendEchoReply(s.out, b)
	case ofp13.TypeBarrierRequest:
		s.out, err = ofp13.AppendBarrierReply(s.out, h.XID)
	case ofp13.TypeFeaturesRequest:
		s.out, err = ofp13.AppendFeaturesReply(s.out, h.XID, ofp13.Features{
			DatapathID: uint64(s.number) + 1, Tables: tables, Capabilities: capabilities,
		})
		s.introduced()
	case ofp13.TypeGetConfigRequest:
		s.out, err = ofp13.AppendConfig(s.out, ofp13.TypeGetConfigReply, h.XID, s.config)
	case ofp13.TypeSetConfig:
		s.config, err = ofp13.DecodeConfig(b, h.Type)
	case ofp13.TypeRoleRequest:
		err = s.setRole(h, b)
	case ofp13.TypeGetAsyncRequest:
		// Every reason for masters and equals; a slave is told of ports only.
		s.out = appendReply(s.out, ofp13.TypeGetAsyncReply, h.XID, 7, 0, 7, 7, 15, 0)
	case ofp13.TypeQueueGetConfigRequest:
		port := uint32(0xffffffff)
		if len(b) >= headerLen+4 {
			port = binary.BigEndian.Uint32(b[headerLen:])
		}
		s.out = appendReply(s.out, ofp13.TypeQueueGetConfigReply, h.XID, port, 0)
	case ofp13.TypeMultipartRequest:
		err = s.multipart(h, b)
	case ofp13.TypeExperimenter:
		err = s.refuse(b, 3) // OFPBRC_BAD_EXPERIMENTER
	case ofp13.TypeHello, ofp13.TypeEchoReply, ofp13.TypeSetAsync, ofp13.TypePacketOut:
		// Nothing to say; what kinds of messages the controller wants is not asked: it is loaded.
	default:
		err = s.refuse(b, 1) // OFPBRC_BAD_TYPE
	}
	if err != nil {
		return fmt.Errorf("the controller's %v: %w", h.Type, err)
	}
	return nil
}

// greet takes the first message.
func (s *emulated) greet(h ofp13.Header, b []byte) error {
	if h.Type == ofp13.TypeError {
		e, err := ofp13.DecodeError(b)
		if err != nil {
			return err
		}
		return fmt.Errorf("the controller refused the hello: %w", e)
	}
	hello, err := ofp13.DecodeHello(b)
	switch {
	case err != nil:
		return fmt.Errorf("the controller began with something else: %w", err)
	case !hello.Accepts():
		return fmt.Errorf("the controller offers %v; the fleet speaks OpenFlow 1.3", hello)
	}
	s.phase = asked
	return nil
}

// introduced notes that the controller knows the switch.
func (s *emulated) introduced() {
	if s.phase != asked {
		return
	}
	s.phase = probing
	if s.fleet.opts.InFlight == 0 {
		s.serves()
	}
}

// setRole does what is asked: each switch has one controller only.
func (s *emulated) setRole(h ofp13.Header, b []byte) error {
	r, err := ofp13.DecodeRole(b, h.Type)
	if err != nil {
		return err
	}
	if r.Role == ofp13.RoleMaster || r.Role == ofp13.RoleSlave {
		s.role.Generation = r.Generation
	}
	if r.Role != ofp13.RoleNoChange {
		s.role.Role = r.Role
	}
	s.out, err = ofp13.AppendRole(s.out, ofp13.TypeRoleReply, h.XID, s.role)
	return err
}

// refuse answers with an error of type OFPET_BAD_REQUEST.
func (s *emulated) refuse(b []byte, code uint16) error {
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return err
	}
	s.out, err = ofp13.AppendError(s.out, &ofp13.Error{Type: ofp13.ErrBadRequest, Code: code, XID: h.XID, Data: b[:min(len(b), 64)]})
	return err
}

// appendReply appends a message that consists of 32-bit words.
func appendReply(b []byte, t ofp13.MsgType, xid uint32, words ...uint32) []byte {
	b = append(b, version, byte(t))
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+4*len(words)))
	b = binary.BigEndian.AppendUint32(b, xid)
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}
