package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// vmMigration is a lab with a virtual machine that goes from host to host, and a
// namespace on a third host that asks it.
type vmMigration struct {
	lab     *overlay.Overlay
	machine lab.Machine
	moving  overlay.Port      // where it is now
	peer    *netdev.Namespace // that asks
	warmUp  int
}

const (
	// bootTimeout bounds the boot of a virtual machine, which takes ten seconds under TCG
	// where the machine has nothing else to do.
	bootTimeout = 3 * time.Minute
	// vmMigrationTimeout bounds one migration, and goOnTimeout what the guest takes to
	// answer after it.
	vmMigrationTimeout = time.Minute
	goOnTimeout        = 15 * time.Second
	// vmAttempts is how many migrations a sample may take: qemu 7.2 under TCG has been
	// seen to bring about one guest in ten not back to life.
	vmAttempts = 5
)

// errHung is a guest that does not go on after its migration.
var errHung = errors.New("the guest does not answer after its migration")

// newVMMigration boots the machine and waits for its first answer.
func newVMMigration(ctx context.Context, machine lab.Machine, warmUp int) (_ *vmMigration, err error) {
	o, err := overlay.StartMachine(ctx, machine, migrationPeer.Guest(0))
	if err != nil {
		return nil, err
	}
	m := &vmMigration{lab: o, machine: machine, moving: migrationMoving, warmUp: warmUp}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	t := overlay.Topology{Networks: []overlay.Network{migrationNetwork}, Ports: []overlay.Port{migrationMoving, migrationPeer}}
	if _, err := o.Apply(ctx, t); err != nil {
		return nil, err
	}
	if err := o.AllowMigration(ctx, migrationMoving); err != nil {
		return nil, err
	}
	if err := o.Up(ctx, t); err != nil {
		return nil, err
	}
	if m.peer, err = o.Guest(migrationPeer); err != nil {
		return nil, err
	}
	return m, m.boot(ctx)
}

// boot waits until the guest is up.
func (m *vmMigration) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	return m.lab.AwaitMachine(ctx, m.machine)
}

// Close removes the lab.
func (m *vmMigration) Close() error {
	var err error
	if m.peer != nil {
		err = m.peer.Close()
	}
	return errors.Join(err, m.lab.Close())
}

// gap is how long the guest was missed, in one migration.
func (m *vmMigration) gap(ctx context.Context) (harness.Sample, error) {
	for hung := range vmAttempts {
		s, err := m.migrate(ctx)
		if err == nil {
			s.Detail["hung_guests"] = float64(hung)
		}
		if !errors.Is(err, errHung) {
			return s, err
		}
		if err := m.powerCycle(ctx); err != nil {
			return s, err
		}
	}
	return harness.Sample{}, fmt.Errorf("%w, %d times one after the other", errHung, vmAttempts)
}

// powerCycle brings a guest that hangs back.
func (m *vmMigration) powerCycle(ctx context.Context) error {
	if err := m.lab.PowerOff(ctx, m.machine); err != nil {
		return err
	}
	if err := m.lab.PowerOn(ctx, m.machine); err != nil {
		return err
	}
	return m.boot(ctx)
}

func (m *vmMigration) migrate(ctx context.Context) (s harness.Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, vmMigrationTimeout)
	defer cancel()
	from, to := m.moving, m.moving
	if to.Host = overlay.Host1; from.Host == to.Host {
		to.Host = overlay.Host2
	}
	// A new one each time: what is still in an old one are replies to others.
	wire, err := overlay.Wire(m.peer)
	if err != nil {
		return s, err
	}
	defer wire.Close()
	p, err := traffic.StartPacedEcho(wire, station(migrationPeer), station(m.moving), migrationPace)
	if err != nil {
		return s, err
	}
	defer func() {
		_, cerr := p.End()
		err = errors.Join(err, cerr)
	}()
	if err := p.More(ctx, m.warmUp); err != nil {
		return s, err
	}
	source, err := m.watch(ctx, from)
	if err != nil {
		return s, err
	}
	defer source.end()
	var destination *tapTimes
	defer func() {
		if destination != nil {
			destination.end()
		}
	}()
	h := m.lab.Handover(from, to.Host)
	done, err := m.lab.MigrateMachine(ctx, m.machine, to.Host, func(ctx context.Context) (err error) {
		if destination, err = m.watch(ctx, to); err != nil {
			return err
		}
		return h.Prepared(ctx)
	})
	if err != nil {
		return s, err
	}
	m.moving = to
	m.machine.Host = to.Host
	if err := h.Over(ctx); err != nil {
		return s, err
	}
	gctx, gcancel := context.WithTimeout(ctx, goOnTimeout)
	defer gcancel()
	if err := p.More(gctx, m.warmUp); err != nil {
		if ctx.Err() == nil {
			err = errHung // not joined: Paced says no more than that
		}
		return s, err
	}
	c, err := p.End()
	if err != nil {
		return s, err
	}
	source.end()
	destination.end()
	return vmGap(c, done.Downtime, source, destination)
}

// vmGap is the gap, and its parts.
func vmGap(c traffic.PacedCounts, downtime time.Duration, source, destination *tapTimes) (harness.Sample, error) {
	if source.last.IsZero() || destination.first.IsZero() || destination.followed.IsZero() {
		return harness.Sample{}, errors.New("the guest's frames were not seen on both of its taps")
	}
	gap := time.Second / migrationPace * time.Duration(c.InARow+1)
	return harness.Sample{Value: ms(gap), Detail: map[string]float64{
		"over_downtime_ms": ms(gap - downtime),
		"downtime_ms":      ms(downtime),
		"silent_ms":        ms(destination.first.Sub(source.last)),
		"follow_ms":        ms(destination.followed.Sub(destination.first)),
		"twice_datagrams":  float64(c.Twice),
	}}, nil
}

// tapTimes are moments on a tap of the guest, by the kernel's clock. They may be read
// after end.
type tapTimes struct {
	first, last time.Time // frame from the guest, or from qemu for it
	followed    time.Time // the first frame for the guest after first

	conn   *netdev.PacketConn
	cancel context.CancelFunc
	done   chan struct{}
}

// watch looks at the tap of the guest on a host until ctx is done, the tap goes, or end.
func (m *vmMigration) watch(ctx context.Context, at overlay.Port) (*tapTimes, error) {
	host, _, err := m.lab.Host(at.Host)
	if err != nil {
		return nil, err
	}
	conn, err := host.OpenPacket(at.Tap())
	if err := errors.Join(err, host.Close()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &tapTimes{conn: conn, cancel: cancel, done: make(chan struct{})}
	go t.watch(ctx, at.MAC())
	return t, nil
}

func (t *tapTimes) watch(ctx context.Context, mac []byte) {
	defer close(t.done)
	for f, err := range t.conn.Frames(ctx) {
		if err != nil {
			return // the tap has gone: what was seen on it counts
		}
		switch {
		case len(f.Data) < 12:
		case f.Direction == netdev.Received && bytes.Equal(f.Data[6:12], mac):
			t.last = f.Time
			if t.first.IsZero() {
				t.first = f.Time
			}
		case f.Direction == netdev.Sent && !t.first.IsZero() && t.followed.IsZero() && bytes.Equal(f.Data[:6], mac):
			t.followed = f.Time
		}
	}
}

// end ends the look at the tap. It may be called again.
func (t *tapTimes) end() {
	t.cancel()
	<-t.done
	t.conn.Close() // what it says has no meaning after a second call
}
