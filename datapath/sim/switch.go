package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Switch is the switch. All methods may be called concurrently.
type Switch struct {
	datapathID uint64

	mu         sync.Mutex
	store      *store
	ports      map[uint32]ofp13.PortDesc
	unlinked   map[uint32]bool // ports whose other side has no link
	sessions   map[*session]bool
	generation *uint64 // of the last election, nil before the first
	faults     Faults
	counts     Counts

	attached map[uint32]Deliver
	tunnels  map[uint32]*trace.Tunnel
	pending  []delivery
	runner   *trace.Runner // of store and ports, nil when one has changed since
}

// Counts are how many messages of a kind the switch was sent, those within
// bundles included.
type Counts struct {
	FlowMods, GroupMods, MeterMods int
	Bundles                        int // that were committed
	Messages                       int // of any kind
}

// Mods is how many messages asked for a change.
func (c Counts) Mods() int { return c.FlowMods + c.GroupMods + c.MeterMods }

// Faults are what goes wrong from now on. The zero Faults are none.
type Faults struct {
	// RejectFlowMod makes the nth flow-mod from now on fail, counted from 1,
	// with the error Reject (OFPFMFC_TABLE_FULL if that is nil).
	RejectFlowMod int
	Reject        *ofp13.Error
	// CutAfter closes a connection when it has brought that many more messages.
	CutAfter int
	// Stall stops the switch from reading until the channel is closed.
	Stall <-chan struct{}
}

// New is an empty switch with a port PortLocal.
func New(datapathID uint64) *Switch {
	local := ofp13.PortDesc{Number: flows.PortLocal, Name: "br-int", MAC: [6]byte{2, 0, 0, 0, 0, 0xfe}}
	return &Switch{
		datapathID: datapathID,
		store:      newStore(),
		ports:      map[uint32]ofp13.PortDesc{local.Number: local},
		sessions:   map[*session]bool{},
		unlinked:   map[uint32]bool{},
		attached:   map[uint32]Deliver{},
		tunnels:    map[uint32]*trace.Tunnel{},
	}
}

// Inject replaces the faults.
func (s *Switch) Inject(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Counts are how many messages the switch was sent so far.
func (s *Switch) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// State is everything the switch holds, whoever put it there.
func (s *Switch) State() *flows.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.state()
}

// Restart is what a restart of the switch leaves: no flows, groups, meters and
// connections. Ports stay.
func (s *Switch) Restart() {
	s.mu.Lock()
	s.store, s.generation = newStore(), nil
	s.changed()
	s.mu.Unlock()
	s.Disconnect()
}

// Do makes one change as another controller would, or an operator with
// ovs-ofctl. The error is an *ofp13.Error.
func (s *Switch) Do(op flows.Op) error {
	b, err := ofp13.AppendOp(nil, 0, op)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed()
	if e := apply(s.store, b); e != nil {
		return e
	}
	return nil
}

// Hit counts packets against a flow; it reports whether the switch has it.
func (s *Switch) Hit(k flows.Key, packets, bytes uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.store.flows[k]
	if ok {
		st.Packets += packets
		st.Bytes += bytes
		s.store.flows[k] = st
	}
	return ok
}

// SetPort adds a port or changes one, and tells the controllers.
func (s *Switch) SetPort(p ofp13.PortDesc) error {
	if p.Number == 0 || p.Number >= flows.PortMax && p.Number != flows.PortLocal {
		return fmt.Errorf("sim: port number %d: want 1 … %d, or PortLocal", p.Number, flows.PortMax-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unlinked, p.Number)
	reason := ofp13.PortAdd
	if _, ok := s.ports[p.Number]; ok {
		reason = ofp13.PortModify
	}
	s.ports[p.Number] = p
	s.changed()
	return s.tellPort(ofp13.PortStatus{Reason: reason, Port: p})
}

// DeletePort removes a port and tells the controllers.
func (s *Switch) DeletePort(number uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.ports[number]
	if !ok {
		return fmt.Errorf("sim: no port %d", number)
	}
	delete(s.ports, number)
	delete(s.unlinked, number)
	s.changed()
	return s.tellPort(ofp13.PortStatus{Reason: ofp13.PortDelete, Port: p})
}

func (s *Switch) tellPort(ps ofp13.PortStatus) error {
	b, err := ofp13.AppendPortStatus(nil, 0, ps)
	if err != nil {
		return err
	}
	for ses := range s.sessions {
		slave := 0
		if ses.role == ofp13.RoleSlave {
			slave = 1
		}
		if ses.async.PortStatus[slave]&(1<<ps.Reason) != 0 {
			ses.queue(b)
		}
	}
	return nil
}

// SendPacketIn sends a packet-in to every controller that is no slave.
func (s *Switch) SendPacketIn(p ofp13.PacketIn) error {
	b, err := ofp13.AppendPacketIn(nil, 0, p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ses := range s.sessions {
		if ses.role != ofp13.RoleSlave {
			ses.queue(b)
		}
	}
	return nil
}

// Disconnect cuts all connections.
func (s *Switch) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ses := range s.sessions {
		ses.nc.Close()
	}
}

// Dial connects to a controller and serves the connection until it ends, as a
// bridge does. It does not try again.
func (s *Switch) Dial(ctx context.Context, network, address string) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return s.Serve(ctx, nc)
}

// Serve speaks OpenFlow on a connection until the connection or the context
// ends. It owns nc. It returns nil when the controller closed the connection.
func (s *Switch) Serve(ctx context.Context, nc net.Conn) error {
	ses := newSession(s, nc)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	err := ses.serve(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// apply does one flow-, group- or meter-mod.
func apply(st *store, b []byte) *ofp13.Error {
	do, e := prepare(b)
	if e != nil {
		return e
	}
	return do(st)
}

// prepare decodes a flow-, group- or meter-mod and checks what can be checked
// without looking at what the switch holds. It returns what does the rest.
func prepare(b []byte) (func(*store) *ofp13.Error, *ofp13.Error) {
	switch ofp13.MsgType(b[1]) {
	case ofp13.TypeFlowMod:
		m, err := ofp13.DecodeFlowMod(b)
		if err != nil {
			return nil, decodeError(err, m.Flow == nil)
		}
		return func(st *store) *ofp13.Error { return st.flowMod(m) }, checkFlowMod(m)
	case ofp13.TypeGroupMod:
		m, err := ofp13.DecodeGroupMod(b)
		if err != nil {
			return nil, decodeError(err, m.Group == nil)
		}
		return func(st *store) *ofp13.Error { return st.groupMod(m) }, checkGroupMod(m)
	case ofp13.TypeMeterMod:
		m, err := ofp13.DecodeMeterMod(b)
		if err != nil {
			return nil, refuse(ofp13.ErrMeterModFailed, 8) // BAD_BAND
		}
		return func(st *store) *ofp13.Error { return st.meterMod(m) }, nil
	}
	return nil, refuse(ofp13.ErrBadRequest, 1) // BAD_TYPE
}

// decodeError finds the error for a message that could not be decoded.
func decodeError(err error, whole bool) *ofp13.Error {
	switch {
	case whole:
		return refuse(ofp13.ErrBadRequest, 6) // BAD_LEN
	case isA[*ofp13.UnknownFieldError](err):
		return refuse(ofp13.ErrBadMatch, 6) // BAD_FIELD
	case isA[*ofp13.UnknownActionError](err):
		return refuse(ofp13.ErrBadAction, 0) // BAD_TYPE
	}
	return refuse(ofp13.ErrBadAction, 1) // BAD_LEN
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// sorted are the values of m by ascending key.
func sorted[K ~uint32 | ~string, V any](m map[K]V) []V {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	vs := make([]V, len(keys))
	for i, k := range keys {
		vs[i] = m[k]
	}
	return vs
}
