package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// The peers of MigrationGap.
const (
	peerMigration       = "ofctl-lab"
	peerMigrationVM     = "ofctl-lab, a virtual machine under qemu"
	peerMigrationByHand = "by hand, NORMAL and gratuitous ARP"
	peerPause           = "the guest's own pause"
)

// migrationPace is the datagrams a second by which the gap is measured.
const migrationPace = 1000

// MigrationGap is how long a guest that is migrated live is missed by a third host.
func MigrationGap() harness.Benchmark {
	return harness.Benchmark{
		Name:  "migration-gap",
		Title: "how long a guest that is migrated live is missed on a third host",
		Means: fmt.Sprintf("How long a live migration cuts a guest off. A guest on a third host sends it %d datagrams a second, and the guest, a "+
			"namespace, goes over to the other host: it is attached there beforehand, its old interface goes down, the addresses go to the "+
			"new one, and it announces itself by RARP, as qemu does, and by gratuitous ARP. Every datagram that is lost stands for a "+
			"millisecond, and one more for the interval in which nothing can be seen. The limit is the pause of the guest itself, from its old interface going down until it "+
			"has announced itself on the new one. By hand there is a learning bridge on each host, a tunnel from the third to the other two, and nobody "+
			"to be told: bridges learn from the announcement where the guest is. They also learn from whoever else says so, and while they have not learned they flood, to both places: "+
			"the detail says how many datagrams came twice. By hand the first migration in each direction takes milliseconds, and those that follow within seconds about 300: "+
			"the announcement then meets the flow that the last one has left in the datapath (Open vSwitch keeps it for ten idle seconds), and a bridge learns from it only at the next look at the statistics; with the flows purged beforehand (revalidator/purge) each takes milliseconds. OVN's way, a port of two chassis (requested-chassis=A,B with activation-strategy=rarp), is not among the peers. "+
			"The virtual machine is migrated by qemu's own live migration between two hosts, while it is asked for as many echoes a second; the gap is the most of them that are lost "+
			"one after the other. What qemu says of its downtime (query-migrate) ends when the last of the memory has been sent: loading it and going on, which the guest "+
			"takes on the other side, is not in it, and is in the gap. silent_ms is from the last frame on the old tap to the first on the new one, whoever is to be "+
			"thanked for it, and follow_ms from that frame until frames for the guest come there: what the overlay alone takes. A guest that qemu does not bring back to "+
			"life, as 7.2 does under TCG now and then (hung_guests), is started again, and the migration repeated.", migrationPace),
		Unit:   "ms",
		Better: harness.Lower,
		Comparisons: []harness.Comparison{
			{Peer: peerMigration, Against: peerPause, Aim: 1, Plus: 10},
			{Peer: peerMigration, Against: peerMigrationByHand},
			{Peer: peerMigrationVM, Detail: "over_downtime_ms", Aim: 10},
			{Peer: peerMigrationVM, Detail: "follow_ms"},
		},
		Setup: setUpMigration,
	}
}

// migration is a lab with a guest that goes from host to host.
type migration struct {
	lab         *overlay.Lab
	moving      overlay.Port // where it is now
	guest, peer *netdev.Namespace
	// handover is what is waited for when the guest goes over to a host.
	handover func(overlay.Port, string) lab.Handover
	// warmUp is how many datagrams come before the migration, and after it.
	warmUp int
	close  []func() error
}

var (
	migrationNetwork = overlay.Network{Name: "net0", Encap: "gre", Key: tenantKey}
	migrationMoving  = overlay.Port{ID: 1, Network: migrationNetwork.Name, Host: overlay.Host1}
	migrationPeer    = overlay.Port{ID: 2, Network: migrationNetwork.Name, Host: overlay.Host3}
)

func setUpMigration(ctx context.Context, size harness.Size) (_ *harness.Bench, err error) {
	warmUp := 200
	if size.Smallest {
		warmUp = 20
	}
	b := &harness.Bench{Scale: migrationPace, Load: fmt.Sprintf("%d datagrams a second, three hosts", migrationPace)}
	var open []io.Closer
	b.Close = func() error {
		var err error
		for _, m := range slices.Backward(open) {
			err = errors.Join(err, m.Close())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	ours, err := ourMigration(ctx, warmUp)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", peerMigration, err)
	}
	open = append(open, ours)
	hand, err := migrationByHand(ctx, warmUp)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", peerMigrationByHand, err)
	}
	open = append(open, hand)
	vm := harness.Peer{Name: peerMigrationVM, Role: harness.Ours}
	machine, lacks := migrationMachine(ctx)
	if lacks != nil {
		vm.Missing = lacks.Error()
	} else {
		qemu, err := newVMMigration(ctx, machine, warmUp)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peerMigrationVM, err)
		}
		open = append(open, qemu)
		vm.Run = qemu.gap
	}
	b.Peers = []harness.Peer{
		{Name: peerMigration, Role: harness.Ours, Run: ours.gap},
		vm,
		{Name: peerMigrationByHand, Role: harness.Rival, Run: hand.gap},
		{Name: peerPause, Role: harness.Limit, Run: ours.pause},
	}
	return b, nil
}

// migrationMachine is the guest as a virtual machine; the error says what it lacks here.
func migrationMachine(ctx context.Context) (lab.Machine, error) {
	mtu, err := topo.MTU(overlay.UnderlayMTU, topo.GRE, false)
	if err != nil {
		return lab.Machine{}, err
	}
	return migrationMoving.Machine(ctx, mtu)
}

func ourMigration(ctx context.Context, warmUp int) (*migration, error) {
	o, err := overlay.Start(ctx, migrationMoving.Guest(0), migrationPeer.Guest(0))
	if err != nil {
		return nil, err
	}
	m := &migration{lab: o.Lab, moving: migrationMoving, warmUp: warmUp, handover: o.Handover, close: []func() error{o.Close}}
	t := overlay.Topology{Networks: []overlay.Network{migrationNetwork}, Ports: []overlay.Port{migrationMoving, migrationPeer}}
	if _, err = o.Apply(ctx, t); err == nil {
		err = o.AllowMigration(ctx, migrationMoving)
	}
	if err == nil {
		err = o.Up(ctx, t)
	}
	return m.open(ctx, err)
}

// migrationByHand is bridges that learn, and a tunnel from the third host to each of the
// others: between those there is none, or broadcasts would go round for ever.
func migrationByHand(ctx context.Context, warmUp int) (*migration, error) {
	l, err := overlay.StartLab(ctx, migrationMoving.Guest(0), migrationPeer.Guest(0))
	if err != nil {
		return nil, err
	}
	nothing := func(context.Context) error { return nil }
	m := &migration{lab: l, moving: migrationMoving, warmUp: warmUp, close: []func() error{l.Close},
		handover: func(overlay.Port, string) lab.Handover { return lab.Handover{Prepared: nothing, Over: nothing} }}
	for _, host := range l.Hosts() {
		args := []string{"ovs-vsctl", "--timeout=10", "set", "bridge", lab.IntegrationBridge, "fail_mode=" + failStandalone}
		for _, other := range l.Hosts() {
			if (host == overlay.Host3) != (other == overlay.Host3) {
				tunnel := "to-" + other
				args = append(args, "--", "add-port", lab.IntegrationBridge, tunnel,
					"--", "set", "interface", tunnel, "type=gre", fmt.Sprintf("options:key=%d", tenantKey), "options:remote_ip="+overlay.TEP(other).String())
			}
		}
		if _, err = l.Run(ctx, host, args...); err != nil {
			break
		}
		// The flow that a bridge in standalone mode has anyway, said in so many words.
		if _, err = l.Run(ctx, host, "ovs-ofctl", "add-flow", lab.IntegrationBridge, "priority=0,actions=NORMAL"); err != nil {
			break
		}
	}
	return m.open(ctx, err)
}

// open opens the guests. m is closed if err is not nil or this fails.
func (m *migration) open(ctx context.Context, err error) (*migration, error) {
	if err == nil {
		m.guest, err = m.lab.Guest(m.moving)
	}
	if err == nil {
		m.close = append(m.close, m.guest.Close)
		m.peer, err = m.lab.Guest(migrationPeer)
	}
	if err == nil {
		m.close = append(m.close, m.peer.Close)
		err = m.lab.FixNeighbour(ctx, migrationPeer, m.moving)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Close removes the lab.
func (m *migration) Close() error {
	var err error
	for _, c := range slices.Backward(m.close) {
		err = errors.Join(err, c())
	}
	return err
}

// migrationTimeout bounds one migration and the datagrams around it.
const migrationTimeout = 30 * time.Second

// migrate moves the guest to the other host under traffic.
func (m *migration) migrate(ctx context.Context) (c traffic.PacedCounts, away time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, migrationTimeout)
	defer cancel()
	to := overlay.Host1
	if m.moving.Host == to {
		to = overlay.Host2
	}
	p, err := traffic.StartPaced(m.peer, m.guest, m.moving.Addr(), migrationPace)
	if err != nil {
		return c, 0, err
	}
	defer func() {
		counts, cerr := p.End()
		c, err = counts, errors.Join(err, cerr)
	}()
	if err := p.More(ctx, m.warmUp); err != nil {
		return c, 0, err
	}
	if away, err = m.lab.Migrate(ctx, m.moving, to, m.handover(m.moving, to)); err != nil {
		return c, 0, err
	}
	m.moving.Host = to
	return c, away, p.More(ctx, m.warmUp)
}

// gap is how long the guest was missed.
func (m *migration) gap(ctx context.Context) (harness.Sample, error) {
	c, away, err := m.migrate(ctx)
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{Value: ms(time.Second/migrationPace) * float64(c.Lost+1),
		Detail: map[string]float64{"away_ms": ms(away), "twice_datagrams": float64(c.Twice)}}, nil
}

// pause is how long the guest had no interface.
func (m *migration) pause(ctx context.Context) (harness.Sample, error) {
	_, away, err := m.migrate(ctx)
	return harness.Sample{Value: ms(away)}, err
}
