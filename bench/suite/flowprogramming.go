package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/workload"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// FlowProgramming is how fast flows get into one empty bridge: from the first
// byte (or, for a program that is run, from its start) to the switch's word that all
// are in. Every sample has an Open vSwitch of its own, fresh, on TCP over loopback.
func FlowProgramming() harness.Benchmark {
	return harness.Benchmark{
		Name:   "flow-programming",
		Title:  "flows per second into one bridge",
		Unit:   "flows/s",
		Better: harness.Higher,
		Comparisons: []harness.Comparison{
			{Peer: peerSession, Against: peerRaw, Aim: 0.9},
			{Peer: peerSessionBundle, Against: peerRaw, Aim: 0.9},
			{Peer: peerSessionBundle, Against: peerOfctlBundle, Aim: 2},
			{Peer: peerSession, Against: peerOfnet, Aim: 2},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale := size.Scale
			if scale == 0 {
				scale = 50_000
			}
			if scale < 1 || scale > workload.MaxFlows {
				return nil, fmt.Errorf("%d flows: want 1 … %d", scale, workload.MaxFlows)
			}
			p := &programming{flows: workload.Flows(scale)}
			if err := p.prepare(ctx); err != nil {
				return nil, errors.Join(err, p.close())
			}
			return &harness.Bench{
				Scale: scale,
				Load:  fmt.Sprintf("%d flows of 5 matched fields and 4 actions", scale),
				Peers: p.peers(),
				Close: p.close,
			}, nil
		},
	}
}

// The peers of flow-programming.
const (
	peerRaw           = "raw bytes"
	peerRawBundle     = "raw bytes, bundle"
	peerSession       = "session"
	peerSessionBundle = "session, bundle"
	peerOfctl         = "ovs-ofctl add-flows"
	peerOfctlBundle   = "ovs-ofctl --bundle"
	peerOfnet         = "ofnet ofctrl"
)

// programming holds what the samples share: every form of the workload, made once.
type programming struct {
	flows       workload.Flows
	dir         string
	text        string // file for ovs-ofctl
	ofnet       string // the ofnet peer's binary
	raw, bundle []byte
	ops         []flows.Op
}

// namedProgrammer is a peer before it is measured.
type namedProgrammer struct {
	name string
	do   programmer
}

func (p *programming) programmers() []namedProgrammer {
	return []namedProgrammer{
		{peerRaw, p.sendRaw(p.raw)},
		{peerRawBundle, p.sendRaw(p.bundle)},
		{peerSession, p.commit(flows.Step{Ops: p.ops})},
		{peerSessionBundle, p.commit(flows.Step{Ops: p.ops, Atomic: true})},
		{peerOfctl, p.ofctl()},
		{peerOfctlBundle, p.ofctl("--bundle")},
		{peerOfnet, p.runOfnet},
	}
}

func (p *programming) peers() []harness.Peer {
	var peers []harness.Peer
	for _, n := range p.programmers() {
		peers = append(peers, harness.Peer{Name: n.name, Role: harness.Ours, Run: p.sample(n.do)})
	}
	return peers
}

func (p *programming) prepare(ctx context.Context) error {
	var err error
	if p.dir, err = os.MkdirTemp("", "ofctl-lab-figure-"); err != nil {
		return err
	}
	p.text = filepath.Join(p.dir, "flows.txt")
	f, err := os.Create(p.text)
	if err != nil {
		return err
	}
	if err := errors.Join(p.flows.WriteText(f), f.Close()); err != nil {
		return err
	}
	p.raw, p.bundle = rawFlows(p.flows), rawBundle(p.flows)
	for _, f := range p.flows.Flows() {
		p.ops = append(p.ops, flows.Op{Kind: flows.AddFlow, Flow: f})
	}
	p.ofnet = filepath.Join(p.dir, "ofnet-peer")
	return build.Program(ctx, ofnetDir, p.ofnet)
}

func (p *programming) close() error { return os.RemoveAll(p.dir) }

// programmer puts all flows into the bridge and says how long that took.
type programmer func(ctx context.Context, b *bridge.Bridge) (elapsed time.Duration, err error)

// sample runs a programmer against a fresh bridge and counts the flows.
func (p *programming) sample(do programmer) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (s harness.Sample, err error) {
		b, err := bridge.Start(ctx)
		if err != nil {
			return harness.Sample{}, err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		before, err := b.CPU()
		if err != nil {
			return harness.Sample{}, err
		}
		elapsed, err := do(ctx, b)
		if err != nil {
			return harness.Sample{}, err
		}
		after, err := b.CPU()
		if err != nil {
			return harness.Sample{}, err
		}
		n, err := b.FlowCount(ctx, workload.FlowTable)
		if err != nil {
			return harness.Sample{}, err
		}
		if n != int(p.flows) {
			return harness.Sample{}, fmt.Errorf("the bridge holds %d flows instead of %d", n, int(p.flows))
		}
		return harness.Sample{
			Value:  float64(p.flows) / elapsed.Seconds(),
			Detail: map[string]float64{"vswitchd_cpu_s": (after - before).Seconds(), "elapsed_s": elapsed.Seconds()},
		}, nil
	}
}

// sendRaw writes bytes that were encoded beforehand and waits for the barrier's reply.
func (p *programming) sendRaw(bytes []byte) programmer {
	return func(ctx context.Context, b *bridge.Bridge) (time.Duration, error) {
		conn, err := rawDial(ctx, bridge.Addr)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		start := time.Now()
		err = rawSend(conn, bytes)
		return time.Since(start), err
	}
}

// commit is the project's own session, from flows as values: it encodes them
// within the time that counts.
func (p *programming) commit(step flows.Step) programmer {
	return func(ctx context.Context, b *bridge.Bridge) (time.Duration, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", bridge.Addr)
		if err != nil {
			return 0, err
		}
		conn, err := openflow.Connect(ctx, nc, openflow.Options{})
		if err != nil {
			return 0, err
		}
		start := time.Now()
		err = conn.Commit(ctx, []flows.Step{step})
		elapsed := time.Since(start)
		return elapsed, errors.Join(err, conn.Close())
	}
}

// ofctl runs ovs-ofctl add-flows on the text form; it ends with a barrier of its own.
func (p *programming) ofctl(options ...string) programmer {
	return func(ctx context.Context, b *bridge.Bridge) (time.Duration, error) {
		start := time.Now()
		_, err := b.Ofctl(ctx, append(options, "add-flows", "tcp:"+bridge.Addr, p.text)...)
		return time.Since(start), err
	}
}

// ofnetTimeout bounds one run of the ofnet peer, whose connection may hang.
const ofnetTimeout = 2 * time.Minute

// runOfnet lets the ofnet peer do it, and takes its own clock, which starts
// when the bridge is connected.
func (p *programming) runOfnet(ctx context.Context, b *bridge.Bridge) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, ofnetTimeout)
	defer cancel()
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	cmd := b.Command(ctx, p.ofnet, "-listen", addr, "-flows", fmt.Sprint(int(p.flows)))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	connectErr := b.Connect(ctx, addr)
	if connectErr != nil {
		cancel()
	}
	line, readErr := io.ReadAll(io.LimitReader(out, 4096))
	if err := errors.Join(connectErr, readErr, cmd.Wait()); err != nil {
		return 0, fmt.Errorf("ofnet-peer: %w", err)
	}
	var res struct{ Seconds float64 }
	if err := json.Unmarshal(line, &res); err != nil {
		return 0, fmt.Errorf("ofnet-peer wrote %q: %w", line, err)
	}
	return time.Duration(res.Seconds * float64(time.Second)), nil
}

// freeAddr is a loopback address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ofnetDir is the ofnet peer's module, seen from the top of the source tree.
const ofnetDir = "bench/peers/ofnet"
