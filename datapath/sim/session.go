package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// maxQueued is how many bytes a session lets wait for a controller that does not
// read, before it stops reading from it.
const maxQueued = 1 << 20

// session is one connection to a controller. The switch's lock guards it, but
// for what waits to be written, which has its own.
type session struct {
	sw *Switch
	nc net.Conn

	role    ofp13.Role
	async   ofp13.AsyncConfig
	config  ofp13.Config
	bundles map[uint32]*bundle

	outMu  sync.Mutex
	room   *sync.Cond
	out    []byte
	closed bool
}

type bundle struct {
	flags    uint16
	messages []bundled
	closed   bool
}

// bundled is a message that waits for the commit of its bundle.
type bundled struct {
	do    func(*store) *ofp13.Error
	bytes []byte
}

func newSession(s *Switch, nc net.Conn) *session {
	all := [2]uint32{7, 7}
	ses := &session{
		sw: s, nc: nc, role: ofp13.RoleEqual, bundles: map[uint32]*bundle{}, config: ofp13.Config{MissSendLen: 128},
		async: ofp13.AsyncConfig{PacketIn: [2]uint32{7, 0}, PortStatus: all, FlowRemoved: [2]uint32{15, 0}},
	}
	ses.room = sync.NewCond(&ses.outMu)
	return ses
}

// queue hands a message to the writer. It never waits.
func (ses *session) queue(b []byte) {
	ses.outMu.Lock()
	defer ses.outMu.Unlock()
	ses.out = append(ses.out, b...)
	ses.room.Broadcast()
}

// drain waits until the controller has read enough of what is queued.
func (ses *session) drain() {
	ses.outMu.Lock()
	defer ses.outMu.Unlock()
	for len(ses.out) > maxQueued && !ses.closed {
		ses.room.Wait()
	}
}

// write is the writer; it ends when the session is closed.
func (ses *session) write() {
	for {
		ses.outMu.Lock()
		for len(ses.out) == 0 && !ses.closed {
			ses.room.Wait()
		}
		b := ses.out
		ses.out = nil
		closed := ses.closed
		ses.room.Broadcast()
		ses.outMu.Unlock()
		if closed {
			return
		}
		if _, err := ses.nc.Write(b); err != nil {
			ses.close()
			return
		}
	}
}

func (ses *session) close() {
	ses.outMu.Lock()
	defer ses.outMu.Unlock()
	ses.closed = true
	ses.room.Broadcast()
	ses.nc.Close()
}

// serve reads and answers messages until the connection ends.
func (ses *session) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(ses.write)
	defer wg.Wait()
	defer ses.close()
	hello, err := ofp13.AppendHello(nil, 0)
	if err != nil {
		return err
	}
	ses.queue(hello)
	ses.sw.mu.Lock()
	ses.sw.sessions[ses] = true
	ses.sw.mu.Unlock()
	defer func() {
		ses.sw.mu.Lock()
		delete(ses.sw.sessions, ses)
		ses.sw.mu.Unlock()
	}()
	br := bufio.NewReaderSize(ses.nc, 64<<10)
	for {
		if stall := ses.sw.stall(); stall != nil {
			select {
			case <-stall:
			case <-ctx.Done():
				return nil
			}
		}
		b, err := readMessage(br)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
			return nil
		}
		if err != nil {
			return err
		}
		if !ses.sw.admit() {
			return nil
		}
		ses.handle(b)
		ses.drain()
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var head [ofp13.HeaderLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	h, err := ofp13.ParseHeader(head[:])
	if err != nil {
		return nil, err
	}
	if h.Version != ofp13.Version && h.Type != ofp13.TypeHello {
		return nil, fmt.Errorf("sim: %v of version 0x%02x", h.Type, h.Version)
	}
	b := make([]byte, h.Length)
	copy(b, head[:])
	_, err = io.ReadFull(r, b[len(head):])
	return b, err
}

// stall is the channel to wait for before reading on, if there is one.
func (s *Switch) stall() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.Stall
}

// admit counts a message and reports whether the connection survives it.
func (s *Switch) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Messages++
	if s.faults.CutAfter > 0 {
		s.faults.CutAfter--
		return s.faults.CutAfter > 0
	}
	return true
}

// handle answers one message.
func (ses *session) handle(b []byte) {
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return
	}
	defer ses.sw.flush()
	ses.sw.mu.Lock()
	defer ses.sw.mu.Unlock()
	reply, e := ses.answer(h, b)
	if e != nil {
		ses.sendError(e, b)
	}
	if len(reply) > 0 {
		ses.queue(reply)
	}
}

// sendError answers the message b with an error.
func (ses *session) sendError(e *ofp13.Error, b []byte) {
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return
	}
	out := *e
	out.XID, out.Data = h.XID, b[:min(len(b), 64)]
	if m, err := ofp13.AppendError(nil, &out); err == nil {
		ses.queue(m)
	}
}

// answer does what a message asks for. What it returns is the reply, if the
// message has one.
func (ses *session) answer(h ofp13.Header, b []byte) ([]byte, *ofp13.Error) {
	badLen := refuse(ofp13.ErrBadRequest, 6)
	switch h.Type {
	case ofp13.TypeHello:
		if o, err := ofp13.DecodeHello(b); err != nil || !o.Accepts() {
			return nil, refuse(ofp13.ErrHelloFailed, 0)
		}
		return nil, nil
	case ofp13.TypeError, ofp13.TypeEchoReply:
		return nil, nil
	case ofp13.TypeEchoRequest:
		return orBadLen(ofp13.AppendEchoReply(nil, b))
	case ofp13.TypeBarrierRequest:
		return orBadLen(ofp13.AppendBarrierReply(nil, h.XID))
	case ofp13.TypeFeaturesRequest:
		return orBadLen(ofp13.AppendFeaturesReply(nil, h.XID, ofp13.Features{
			DatapathID: ses.sw.datapathID, Tables: tables, Capabilities: 0x4f,
		}))
	case ofp13.TypeGetConfigRequest:
		return orBadLen(ofp13.AppendConfig(nil, ofp13.TypeGetConfigReply, h.XID, ses.config))
	case ofp13.TypeSetConfig:
		c, err := ofp13.DecodeConfig(b, h.Type)
		if err != nil {
			return nil, badLen
		}
		ses.config = c
		return nil, nil
	case ofp13.TypeSetAsync:
		a, err := ofp13.DecodeSetAsync(b)
		if err != nil {
			return nil, badLen
		}
		ses.async = a
		return nil, nil
	case ofp13.TypeRoleRequest:
		return ses.setRole(h, b)
	case ofp13.TypeFlowMod, ofp13.TypeGroupMod, ofp13.TypeMeterMod:
		if ses.role == ofp13.RoleSlave {
			return nil, refuse(ofp13.ErrBadRequest, 10) // IS_SECONDARY
		}
		if e := ses.sw.count(b); e != nil {
			return nil, e
		}
		ses.sw.changed()
		return nil, apply(ses.sw.store, b)
	case ofp13.TypePortMod:
		if ses.role == ofp13.RoleSlave {
			return nil, refuse(ofp13.ErrBadRequest, 10) // IS_SECONDARY
		}
		m, err := ofp13.DecodePortMod(b)
		if err != nil {
			return nil, badLen
		}
		return nil, ses.sw.portMod(m)
	case ofp13.TypePacketOut:
		if ses.role == ofp13.RoleSlave {
			return nil, refuse(ofp13.ErrBadRequest, 10) // IS_SECONDARY
		}
		return nil, ses.sw.packetOut(b)
	case ofp13.TypeMultipartRequest:
		return ses.multipart(h, b)
	case ofp13.TypeExperimenter:
		return ses.experimenter(h, b)
	}
	return nil, refuse(ofp13.ErrBadRequest, 1) // BAD_TYPE
}

func orBadLen(b []byte, err error) ([]byte, *ofp13.Error) {
	if err != nil {
		return nil, refuse(ofp13.ErrBadRequest, 6)
	}
	return b, nil
}

// count counts a change and lets the injected fault refuse it.
func (s *Switch) count(b []byte) *ofp13.Error {
	switch ofp13.MsgType(b[1]) {
	case ofp13.TypeGroupMod:
		s.counts.GroupMods++
	case ofp13.TypeMeterMod:
		s.counts.MeterMods++
	case ofp13.TypeFlowMod:
		s.counts.FlowMods++
		if s.faults.RejectFlowMod == 0 {
			return nil
		}
		if s.faults.RejectFlowMod--; s.faults.RejectFlowMod == 0 {
			if s.faults.Reject != nil {
				return s.faults.Reject
			}
			return refuse(ofp13.ErrFlowModFailed, 1) // TABLE_FULL
		}
	}
	return nil
}

// setRole does a role request (section 6.3.6).
func (ses *session) setRole(h ofp13.Header, b []byte) ([]byte, *ofp13.Error) {
	r, err := ofp13.DecodeRole(b, h.Type)
	if err != nil {
		return nil, refuse(ofp13.ErrBadRequest, 6)
	}
	s := ses.sw
	switch r.Role {
	case ofp13.RoleNoChange, ofp13.RoleEqual:
	case ofp13.RoleMaster, ofp13.RoleSlave:
		if s.generation != nil && int64(r.Generation-*s.generation) < 0 {
			return nil, refuse(ofp13.ErrRoleRequestFailed, 0) // STALE
		}
		s.generation = &r.Generation
	default:
		return nil, refuse(ofp13.ErrRoleRequestFailed, 2) // BAD_ROLE
	}
	if r.Role == ofp13.RoleMaster {
		for other := range s.sessions {
			if other != ses && other.role == ofp13.RoleMaster {
				other.role = ofp13.RoleSlave
				told, err := ofp13.AppendRoleStatus(nil, 0, ofp13.RoleStatus{Role: other.role, Generation: r.Generation})
				if err == nil {
					other.queue(told)
				}
			}
		}
	}
	if r.Role != ofp13.RoleNoChange {
		ses.role = r.Role
	}
	out := ofp13.RoleMessage{Role: ses.role, Generation: ^uint64(0)}
	if s.generation != nil {
		out.Generation = *s.generation
	}
	return orBadLen(ofp13.AppendRole(nil, ofp13.TypeRoleReply, h.XID, out))
}

// experimenter does bundle control and bundle-add.
func (ses *session) experimenter(h ofp13.Header, b []byte) ([]byte, *ofp13.Error) {
	e, err := ofp13.DecodeExperimenter(b)
	switch {
	case err != nil:
		return nil, refuse(ofp13.ErrBadRequest, 6)
	case e.IsBundleControl():
		return ses.bundleControl(h, b)
	case e.IsBundleAdd():
		return nil, ses.bundleAdd(b)
	}
	return nil, refuse(ofp13.ErrBadRequest, 3) // BAD_EXPERIMENTER
}
