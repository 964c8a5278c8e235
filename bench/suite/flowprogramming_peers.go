package suite

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	"github.com/ofctl-lab/ofctl-lab/bench/workload"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// programmingPeer is a peer before it is measured; do is nil where it is missing.
type programmingPeer struct {
	harness.Peer
	do programmer
}

func (p *programming) peers(ctx context.Context) []harness.Peer {
	var all []harness.Peer
	for _, peer := range p.programmers(ctx) {
		if peer.do != nil {
			peer.Run = sample(peer.do)
		}
		all = append(all, peer.Peer)
	}
	return all
}

func (p *programming) programmers(ctx context.Context) []programmingPeer {
	ours := func(name string, do programmer) programmingPeer {
		return programmingPeer{harness.Peer{Name: name, Role: harness.Ours}, do}
	}
	return append([]programmingPeer{
		ours(peerSession, p.commit(flows.Step{Ops: p.ops})),
		ours(peerSessionBundle, p.commit(flows.Step{Ops: p.ops, Atomic: true})),
		ours(peerSessionTenth, p.commit(flows.Step{Ops: p.ops[:p.fewer]})),
		ours(peerSessionText, p.commitText),
		{harness.Peer{Name: peerRaw, Role: harness.Limit}, p.sendRaw(p.raw)},
		{harness.Peer{Name: peerRawBundle, Role: harness.Limit}, p.sendRaw(p.bundle)},
		p.ofnet(ctx),
		p.osken(ctx),
	}, p.ofctls(ctx)...)
}

// sendRaw writes bytes that were encoded beforehand and waits for the barrier's reply. Dialling
// and hello count, as they do for all that dial.
func (p *programming) sendRaw(bytes []byte) programmer {
	return func(ctx context.Context, _ *bridge.Bridge) (effort, error) {
		return inProcess(p.flows, func() error {
			conn, err := rawDial(ctx, bridge.Addr)
			if err != nil {
				return err
			}
			return errors.Join(rawSend(conn, bytes), conn.Close())
		})
	}
}

// commit is the project's own session, from flows as values: it connects and encodes them
// within the time that counts.
func (p *programming) commit(step flows.Step) programmer {
	return func(ctx context.Context, _ *bridge.Bridge) (effort, error) {
		return inProcess(workload.Flows(len(step.Ops)), func() error { return connectAndCommit(ctx, step) })
	}
}

// commitText does what ovs-ofctl --bundle add-flows does, with the same file: it parses the text,
// connects, and commits one bundle.
func (p *programming) commitText(ctx context.Context, _ *bridge.Bridge) (effort, error) {
	return inProcess(p.flows, func() error {
		f, err := os.Open(p.text)
		if err != nil {
			return err
		}
		defer f.Close()
		parsed, err := flows.ParseFlows(f)
		if err != nil {
			return fmt.Errorf("%s: %w", p.text, err)
		}
		step := flows.Step{Ops: make([]flows.Op, len(parsed)), Atomic: true}
		for i, f := range parsed {
			step.Ops[i] = flows.Op{Kind: flows.AddFlow, Flow: f}
		}
		return connectAndCommit(ctx, step)
	})
}

// connectAndCommit does one step in a session of its own.
func connectAndCommit(ctx context.Context, step flows.Step) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", bridge.Addr)
	if err != nil {
		return err
	}
	conn, err := openflow.Connect(ctx, nc, openflow.Options{})
	if err != nil {
		return err
	}
	return errors.Join(conn.Commit(ctx, []flows.Step{step}), conn.Close())
}

// ofctls are ovs-ofctl add-flows on the text form, message by message, and in a bundle.
func (p *programming) ofctls(ctx context.Context) []programmingPeer {
	plain := programmingPeer{Peer: harness.Peer{Name: peerOfctl, Role: harness.Rival}}
	bundle := programmingPeer{Peer: harness.Peer{Name: peerOfctlBundle, Role: harness.Rival}}
	version, err := exec.CommandContext(ctx, "ovs-ofctl", "--version").Output()
	if err != nil {
		plain.Missing = fmt.Sprintf("ovs-ofctl does not run (%v): apt-get install openvswitch-switch", err)
		bundle.Missing = plain.Missing
		return []programmingPeer{plain, bundle}
	}
	plain.Version = firstLine(version)
	bundle.Version = plain.Version
	plain.do = p.ofctl(effort{flows: p.fewer}, p.short)
	bundle.do = p.ofctl(effort{flows: p.flows}, p.text, "--bundle")
	return []programmingPeer{plain, bundle}
}

// ofctl runs ovs-ofctl add-flows, which ends with a barrier of its own, or waits for its bundle.
func (p *programming) ofctl(e effort, file string, options ...string) programmer {
	return func(ctx context.Context, b *bridge.Bridge) (effort, error) {
		args := append([]string{"-O", "OpenFlow13"}, options...)
		cmd := b.Command(ctx, "ovs-ofctl", append(args, "add-flows", "tcp:"+bridge.Addr, file)...)
		start := time.Now()
		out, err := cmd.CombinedOutput()
		e.elapsed = time.Since(start)
		if err != nil {
			return effort{}, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
		}
		e.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return e, nil
	}
}

// ofnetDir is the ofnet peer's module, seen from the top of the source tree.
const ofnetDir = "bench/peers/ofnet"

// ofnet builds the ofnet peer. It times itself from the bridge's connection on.
func (p *programming) ofnet(ctx context.Context) programmingPeer {
	peer := programmingPeer{Peer: harness.Peer{Name: peerOfnet, Role: harness.Rival}}
	file := filepath.Join(p.dir, "ofnet-peer")
	if err := build.Program(ctx, ofnetDir, file); err != nil {
		peer.Missing = fmt.Sprintf("it is built from the source tree, with Go and its modules (make bench-deps): %v", err)
		return peer
	}
	peer.Version = moduleVersion(file, "github.com/contiv/ofnet")
	peer.do = func(ctx context.Context, b *bridge.Bridge) (effort, error) {
		return runPeer(ctx, b, peers.Spec{
			Name: peerOfnet, Program: file, Port: 6653,
			Args: []string{"-listen", ":6653", "-flows", fmt.Sprint(int(p.flows))},
		})
	}
	return peer
}

// moduleVersion is the version of a module in a Go program, empty if it says none.
func moduleVersion(file, module string) string {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return module + " " + dep.Version
		}
	}
	return ""
}

// oskenApp is the os-ken application, seen from the top of the source tree.
const oskenApp = "bench/peers/osken-flows/flows.py"

// osken runs an application of os-ken. It times itself from the bridge's connection on.
func (p *programming) osken(ctx context.Context) programmingPeer {
	peer := programmingPeer{Peer: harness.Peer{Name: peerOSKen, Role: harness.Rival}}
	// The manager's own --version is the number of a library.
	version, err := exec.CommandContext(ctx, "/usr/bin/python3", "-c", "import os_ken; print(os_ken.__version__)").Output()
	if err == nil {
		_, err = exec.LookPath("osken-manager")
	}
	if err != nil {
		peer.Missing = fmt.Sprintf("os-ken does not run (%v): apt-get install python3-os-ken", err)
		return peer
	}
	top, err := build.Top(ctx)
	if err != nil {
		peer.Missing = fmt.Sprintf("its application is in the source tree: %v", err)
		return peer
	}
	peer.Version = "os-ken " + firstLine(version)
	peer.do = func(ctx context.Context, b *bridge.Bridge) (effort, error) {
		return runPeer(ctx, b, peers.Spec{
			Name: peerOSKen, Program: "osken-manager", Port: 6653,
			// At the default level each event would be tested against a lower one; see bench/peers/osken.
			Args: []string{"--default-log-level", "30", "--ofp-tcp-listen-port", "6653", filepath.Join(top, oskenApp)},
			// Python would write what it compiled beside the source.
			Env: []string{fmt.Sprintf("OSKEN_FLOWS=%d", int(p.fewer)), "PYTHONDONTWRITEBYTECODE=1"},
		})
	}
	return peer
}

// peerTimeout bounds one run of a peer that is a program, whose connection may hang.
const peerTimeout = 2 * time.Minute

// peerResult is the line of JSON that such a peer writes.
type peerResult struct {
	Flows      int
	Seconds    float64
	CPUSeconds float64 `json:"cpu_seconds"`
	PSSBytes   int64   `json:"pss_bytes"`
}

// runPeer starts a program that programs the first bridge that connects to it, lets the
// bridge connect, and takes the program's own word on what it took.
func runPeer(ctx context.Context, b *bridge.Bridge, spec peers.Spec) (e effort, err error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var stdout bytes.Buffer
	spec.Stdout = &stdout
	p, err := peers.Start(ctx, spec)
	if err != nil {
		return effort{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	// Only now that it listens: a bridge whose first try is refused waits a second before the next.
	if err := b.Connect(ctx, p.Addr()); err != nil {
		return effort{}, p.Explain(err)
	}
	if err := p.Wait(ctx); err != nil {
		return effort{}, err
	}
	var res peerResult
	if err := json.Unmarshal(stdout.Bytes(), &res); err != nil {
		return effort{}, fmt.Errorf("%s wrote %q: %w", spec.Name, &stdout, err)
	}
	return effort{workload.Flows(res.Flows), seconds(res.Seconds), seconds(res.CPUSeconds), res.PSSBytes}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// ownCPU is the user and system time that this process has used.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("CPU time of this process: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
