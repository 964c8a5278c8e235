package ofp13

import "encoding/binary"

// PortMod is an OFPT_PORT_MOD: it changes those bits of a port's configuration that
// are in Mask.
type PortMod struct {
	Number uint32
	// MAC is the port's own address; the switch refuses another one
	// (OFPPMFC_BAD_HW_ADDR), which is its check that the number is still this port's.
	MAC          [6]byte
	Config, Mask uint32 // PortConfigDown and the like
}

// AppendPortMod appends an OFPT_PORT_MOD (OpenFlow 1.3.5 section 7.3.4.3). What the
// port advertises stays: an advertise of zero asks for no change.
func AppendPortMod(dst []byte, xid uint32, m PortMod) ([]byte, error) {
	start := len(dst)
	dst = zeros(u32(begin(dst, TypePortMod, xid), m.Number), 4)
	dst = zeros(append(dst, m.MAC[:]...), 2)
	return end(zeros(u32(u32(dst, m.Config), m.Mask), 8), start)
}

// DecodePortMod reads an OFPT_PORT_MOD; what it advertises is not looked at.
func DecodePortMod(b []byte) (PortMod, error) {
	_, p, err := message(b, TypePortMod, 40)
	if err != nil {
		return PortMod{}, err
	}
	return PortMod{
		Number: binary.BigEndian.Uint32(p),
		MAC:    [6]byte(p[8:14]),
		Config: binary.BigEndian.Uint32(p[16:]),
		Mask:   binary.BigEndian.Uint32(p[20:]),
	}, nil
}
