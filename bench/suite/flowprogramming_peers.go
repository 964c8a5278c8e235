package suite

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
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
	var peers []harness.Peer
	for _, peer := range p.programmers(ctx) {
		if peer.do != nil {
			peer.Run = sample(peer.do)
		}
		peers = append(peers, peer.Peer)
	}
	return peers
}

func (p *programming) programmers(ctx context.Context) []programmingPeer {
	ours := func(name string, s flows.Step) programmingPeer {
		return programmingPeer{harness.Peer{Name: name, Role: harness.Ours}, p.commit(s)}
	}
	return append([]programmingPeer{
		ours(peerSession, flows.Step{Ops: p.ops}),
		ours(peerSessionBundle, flows.Step{Ops: p.ops, Atomic: true}),
		{harness.Peer{Name: peerRaw, Role: harness.Limit}, p.sendRaw(p.raw)},
		{harness.Peer{Name: peerRawBundle, Role: harness.Limit}, p.sendRaw(p.bundle)},
		p.ofnet(ctx),
		p.osken(ctx),
	}, p.ofctls(ctx)...)
}

// sendRaw writes bytes that were encoded beforehand and waits for the barrier's reply.
func (p *programming) sendRaw(bytes []byte) programmer {
	return func(ctx context.Context, _ *bridge.Bridge) (effort, error) {
		conn, err := rawDial(ctx, bridge.Addr)
		if err != nil {
			return effort{}, err
		}
		defer conn.Close()
		return inProcess(p.flows, func() error { return rawSend(conn, bytes) })
	}
}

// commit is the project's own session, from flows as values: it encodes them
// within the time that counts.
func (p *programming) commit(step flows.Step) programmer {
	return func(ctx context.Context, _ *bridge.Bridge) (effort, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", bridge.Addr)
		if err != nil {
			return effort{}, err
		}
		conn, err := openflow.Connect(ctx, nc, openflow.Options{})
		if err != nil {
			return effort{}, err
		}
		e, err := inProcess(p.flows, func() error { return conn.Commit(ctx, []flows.Step{step}) })
		return e, errors.Join(err, conn.Close())
	}
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
		return runPeer(ctx, b, func(addr netip.AddrPort) *exec.Cmd {
			return exec.Command(file, "-listen", addr.String(), "-flows", fmt.Sprint(int(p.flows)))
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
		return runPeer(ctx, b, func(addr netip.AddrPort) *exec.Cmd {
			cmd := exec.Command("osken-manager", "--ofp-listen-host", addr.Addr().String(),
				"--ofp-tcp-listen-port", fmt.Sprint(addr.Port()), filepath.Join(top, oskenApp))
			// Python would write what it compiled beside the source.
			cmd.Env = append(os.Environ(), fmt.Sprintf("OSKEN_FLOWS=%d", int(p.fewer)), "PYTHONDONTWRITEBYTECODE=1")
			return cmd
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

// runPeer starts a program that programs the first bridge that connects to addr, lets the
// bridge connect, and takes the program's own word on what it took.
func runPeer(ctx context.Context, b *bridge.Bridge, command func(addr netip.AddrPort) *exec.Cmd) (effort, error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	addr, err := freeAddr()
	if err != nil {
		return effort{}, err
	}
	cmd := command(addr)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return effort{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		cancel() // whatever waits for it
	}()
	context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // Wait says how it ended
	// Only once it listens: a bridge whose first try is refused waits a second before the next.
	connectErr := waitListening(ctx, addr)
	if connectErr == nil {
		connectErr = b.Connect(ctx, addr.String())
	}
	if connectErr != nil {
		cancel()
	}
	if err := errors.Join(connectErr, <-ended); err != nil {
		return effort{}, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	var res peerResult
	if err := json.Unmarshal(stdout.Bytes(), &res); err != nil {
		return effort{}, fmt.Errorf("%s wrote %q: %w", cmd.Path, &stdout, err)
	}
	return effort{workload.Flows(res.Flows), seconds(res.Seconds), seconds(res.CPUSeconds), res.PSSBytes}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// freeAddr is a loopback address that nobody listens on.
func freeAddr() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), l.Close()
}

// waitListening waits until somebody listens on an IPv4 address of this network
// namespace. It does not connect: a peer would take that for a bridge.
func waitListening(ctx context.Context, addr netip.AddrPort) error {
	// As proc(5) has it: the address as a number of this machine, and state 0A, listening.
	ip := addr.Addr().As4()
	want := fmt.Sprintf(": %08X:%04X 00000000:0000 0A ", binary.NativeEndian.Uint32(ip[:]), addr.Port())
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		sockets, err := os.ReadFile("/proc/self/net/tcp")
		if err != nil {
			return err
		}
		if bytes.Contains(sockets, []byte(want)) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("nobody listens on %s: %w", addr, context.Cause(ctx))
		}
	}
}

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
