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
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The peers of TapFirstPing.
const (
	peerTapNamespace = "ofctl-lab, a namespace that is plugged in"
	peerTapMachine   = "ofctl-lab, a virtual machine that is started again"
)

// tapPingInterval is between two echo requests to a machine that boots.
const tapPingInterval = 5 * time.Millisecond

// TapFirstPing is how long a virtual machine that is started again waits for its network.
func TapFirstPing() harness.Benchmark {
	return harness.Benchmark{
		Name:  "tap-first-ping",
		Title: "a virtual machine's tap appears, until its first ping across hosts",
		Means: fmt.Sprintf("How long a virtual machine is without its network after a power-cycle. Its power is cut, its port is down on all switches, and it is started "+
			"again. The clock runs from the moment at which its tap is in the host's namespace, as rtnetlink says, until a guest on a third host has its first echo reply, "+
			"asked for every %s. Nearly all of that is the machine's boot. port_up_ms is until the controller has the port up: its flows confirmed, long before anybody in the guest could send. "+
			"boot_ms is until the first frame that the guest sends, and answer_ms from that frame until the first echo reply: what the guest still waits for when it has come up, its own configuration of the "+
			"address among it. Beside it is a namespace, which has no boot, from the start of the ovs-vsctl that plugs it in, as in plug-first-ping-local.", tapPingInterval),
		Unit:   "ms",
		Better: harness.Lower,
		// Each is a boot, and the first is like the others.
		NoWarmUp: true,
		Comparisons: []harness.Comparison{
			{Peer: peerTapMachine},
			{Peer: peerTapMachine, Detail: "port_up_ms"},
			{Peer: peerTapMachine, Detail: "answer_ms"},
			{Peer: peerTapNamespace},
		},
		Setup: setUpTapping,
	}
}

func setUpTapping(ctx context.Context, _ harness.Size) (*harness.Bench, error) {
	plug, err := ourPlugging(ctx, localPorts(1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", peerTapNamespace, err)
	}
	b := &harness.Bench{Scale: 1, Load: "one guest and the one that asks", Close: plug.Close,
		Peers: []harness.Peer{{Name: peerTapNamespace, Role: harness.Ours, Run: plug.firstPing}}}
	vm := harness.Peer{Name: peerTapMachine, Role: harness.Ours}
	machine, lacks := migrationMachine(ctx)
	if lacks != nil {
		vm.Missing = lacks.Error()
		b.Peers = append(b.Peers, vm)
		return b, nil
	}
	m, err := newVMMigration(ctx, machine, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", peerTapMachine, err), b.Close())
	}
	b.Close = func() error { return errors.Join(m.Close(), plug.Close()) }
	vm.Run = m.firstPing
	b.Peers = append(b.Peers, vm)
	return b, nil
}

// firstPing is the time from the tap's appearance to the first echo reply.
func (m *vmMigration) firstPing(ctx context.Context) (harness.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := m.lab.PowerOff(ctx, m.machine); err != nil {
		return harness.Sample{}, err
	}
	if err := m.lab.Down(ctx, m.moving); err != nil {
		return harness.Sample{}, err
	}
	wire, err := overlay.Wire(m.peer)
	if err != nil {
		return harness.Sample{}, err
	}
	defer wire.Close()
	tap, err := m.awaitTap(ctx)
	if err != nil {
		return harness.Sample{}, err
	}
	up := concurrently(func() (time.Time, error) {
		err := m.lab.PortUp(ctx, m.moving)
		return time.Now(), err
	})
	answered := concurrently(func() (time.Time, error) {
		return traffic.NewEcho(wire, station(migrationPeer), station(m.moving)).FirstReply(ctx, tapPingInterval)
	})
	if err = m.lab.PowerOn(ctx, m.machine); err != nil {
		cancel()
	}
	seen, isUp, reply := <-tap, <-up, <-answered
	if err := errors.Join(err, seen.err, isUp.err, reply.err); err != nil {
		return harness.Sample{}, err
	}
	if reply.at.Before(seen.at) {
		return harness.Sample{}, fmt.Errorf("the first reply came %s before the guest's first frame", seen.at.Sub(reply.at))
	}
	// The kernel dates frames by the wall clock.
	since := func(at, start time.Time) float64 { return ms(at.Sub(start.Round(0))) }
	return harness.Sample{Value: since(reply.at, seen.appeared), Detail: map[string]float64{
		"port_up_ms": since(isUp.at.Round(0), seen.appeared),
		"boot_ms":    since(seen.at, seen.appeared),
		"answer_ms":  since(reply.at, seen.at),
	}}, nil
}

// moment is when something happened.
type moment struct {
	at  time.Time
	err error
	// appeared is when the tap did that is looked at, where it is one.
	appeared time.Time
}

func concurrently(f func() (time.Time, error)) <-chan moment {
	done := make(chan moment, 1)
	go func() {
		at, err := f()
		done <- moment{at: at, err: err}
	}()
	return done
}

// awaitTap tells when the machine's tap, which is not there, has appeared, and when the
// guest sent its first frame on it.
func (m *vmMigration) awaitTap(ctx context.Context) (<-chan moment, error) {
	host, _, err := m.lab.Host(m.moving.Host)
	if err != nil {
		return nil, err
	}
	if _, err := host.Link(m.moving.Tap()); err == nil {
		return nil, errors.Join(fmt.Errorf("the tap %s has not gone with its machine", m.moving.Tap()), host.Close())
	}
	links, err := host.WatchLinks()
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	done := make(chan moment, 1)
	go func() {
		t, err := firstFrame(ctx, host, links, m.moving)
		t.err = errors.Join(err, host.Close())
		links.Close() // closed already if ctx is done
		done <- t
	}()
	return done, nil
}

func firstFrame(ctx context.Context, host *netdev.Namespace, links *netdev.LinkWatch, p overlay.Port) (moment, error) {
	var t moment
	// A capture of an interface that is not up yet ends at once.
	for up := false; !up; {
		if err := links.Wait(ctx); err != nil {
			return t, err
		}
		link, err := host.Link(p.Tap())
		if err == nil && t.appeared.IsZero() {
			t.appeared = time.Now()
		}
		up = err == nil && link.Up
	}
	conn, err := host.OpenPacket(p.Tap())
	if err != nil {
		return t, err
	}
	defer conn.Close()
	for f, err := range conn.Frames(ctx) {
		if err != nil {
			return t, err
		}
		if f.Direction == netdev.Received && len(f.Data) >= 12 && bytes.Equal(f.Data[6:12], p.MAC()) {
			t.at = f.Time
			return t, nil
		}
	}
	return t, ctx.Err()
}
