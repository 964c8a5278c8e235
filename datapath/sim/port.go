package sim

import (
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// SetLink gives a port's other side, the guest's, a link or takes it away, and tells
// the controllers if that can be seen: a port that is down has no link either way.
func (s *Switch) SetLink(number uint32, up bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.ports[number]
	if !ok {
		return fmt.Errorf("sim: no port %d", number)
	}
	if up {
		delete(s.unlinked, number)
	} else {
		s.unlinked[number] = true
	}
	return s.update(p)
}

// Port is the port of that number; false if there is none.
func (s *Switch) Port(number uint32) (ofp13.PortDesc, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.ports[number]
	return p, ok
}

// portMod does a port-mod (section 7.3.4.3): the bit for down is the only one known.
func (s *Switch) portMod(m ofp13.PortMod) *ofp13.Error {
	p, ok := s.ports[m.Number]
	switch {
	case !ok:
		return refuse(ofp13.ErrPortModFailed, 0) // BAD_PORT
	case p.MAC != m.MAC:
		return refuse(ofp13.ErrPortModFailed, 1) // BAD_HW_ADDR
	case m.Mask&^ofp13.PortConfigDown != 0:
		return refuse(ofp13.ErrPortModFailed, 2) // BAD_CONFIG
	}
	p.Config = p.Config&^m.Mask | m.Config&m.Mask
	if err := s.update(p); err != nil {
		return refuse(ofp13.ErrPortModFailed, 0)
	}
	return nil
}

// update makes p what the port is, with the link that it has, and tells the
// controllers if that is another than before.
func (s *Switch) update(p ofp13.PortDesc) error {
	p.State &^= ofp13.PortStateLinkDown
	if p.Config&ofp13.PortConfigDown != 0 || s.unlinked[p.Number] {
		p.State |= ofp13.PortStateLinkDown
	}
	if s.ports[p.Number] == p {
		return nil
	}
	s.ports[p.Number] = p
	s.changed()
	return s.tellPort(ofp13.PortStatus{Reason: ofp13.PortModify, Port: p})
}
