package offload

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestMain(m *testing.M) {
	if os.Getenv("OFFLOAD_TEST_CHILD") != "" {
		holdTrial()
	}
	goleak.VerifyTestMain(m)
}

// need skips, loudly, where nothing can be tried.
func need(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a trial needs root, for namespaces")
	}
	if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		t.Skip("SKIPPED: no Open vSwitch:", err)
	}
}

// The userspace datapath of Open vSwitch 3.1 and 3.5 passes on unfinished
// checksums as they are; without this the trial could be one that always passes.
func TestUserspaceDatapath(t *testing.T) {
	need(t)
	started := time.Now()
	v := Try(t.Context(), "netdev")
	t.Logf("%v: %+v", time.Since(started), v)
	if !v.Tried || v.Passes || v.Mode() != netdev.OffloadsOff || !strings.Contains(v.Finding, "UDP datagram") {
		t.Errorf("%+v", v)
	}
}

func TestKernelDatapath(t *testing.T) {
	need(t)
	if _, err := os.Stat("/sys/module/openvswitch"); err != nil {
		t.Skip("SKIPPED: this kernel has no module openvswitch, or it is not loaded")
	}
	started := time.Now()
	v := Try(t.Context(), "system")
	t.Logf("%v: %+v", time.Since(started), v)
	if !v.Tried || !v.Passes || v.Mode() != netdev.OffloadsOn {
		t.Errorf("%+v", v)
	}
}

// A Linux bridge in the place of a datapath carries frames as they are.
func TestBridge(t *testing.T) {
	need(t)
	ns, guests := furnished(t)
	if _, err := ns.EnsureBridge("trial"); err != nil {
		t.Fatal(err)
	}
	for _, dev := range []string{portOne, portTwo} {
		if _, err := ns.Configure(dev, netdev.LinkConfig{Master: "trial"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ns.Configure("trial", netdev.LinkConfig{State: netdev.Up}); err != nil {
		t.Fatal(err)
	}
	passes, finding, err := guests.exchange(t.Context(), bulkTimeout)
	if err != nil || !passes {
		t.Errorf("passes %v: %s, %v", passes, finding, err)
	}
}

// A datapath that finishes checksums and loses long frames is found out by TCP.
func TestLosesLongFrames(t *testing.T) {
	need(t)
	ns, guests := furnished(t)
	var ports [2]*netdev.PacketConn
	for i, dev := range []string{portOne, portTwo} {
		var err error
		if ports[i], err = ns.OpenPacket(dev); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for i := range ports {
		group.Go(func() {
			for f, err := range ports[i].Frames(t.Context()) {
				if err != nil || f.Direction != netdev.Received || len(f.Data) > 1514 {
					continue
				}
				_ = ports[1-i].Send(finished(f))
			}
		})
	}
	passes, finding, err := guests.exchange(t.Context(), time.Second)
	if err != nil || passes || !strings.Contains(finding, "by TCP, segmented by the device, did not arrive") {
		t.Errorf("passes %v: %s, %v", passes, finding, err)
	}
	for _, p := range ports {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
}

// finished is the frame with its checksums calculated.
func finished(f netdev.Frame) []byte {
	p := f.Packet()
	if p.TransportLayer() == nil {
		return f.Data
	}
	var parts []gopacket.SerializableLayer
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.UDP:
			if l.Checksum == 0 {
				return f.Data
			}
			_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
			parts = append(parts, l)
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
			parts = append(parts, l)
		case *layers.Ethernet:
			parts = append(parts, l)
		case *layers.IPv4:
			parts = append(parts, l)
		}
	}
	parts = append(parts, gopacket.Payload(p.TransportLayer().LayerPayload()))
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true}, parts...); err != nil {
		return f.Data
	}
	return b.Bytes()
}

// furnished is a namespace with the two ports of a datapath that is not there yet.
func furnished(t *testing.T) (*netdev.Namespace, table) {
	t.Helper()
	ns, err := netdev.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	guests, err := furnish(ns)
	t.Cleanup(func() {
		if err := errors.Join(guests.Close(), ns.Close()); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns, guests
}

func TestNotTried(t *testing.T) {
	need(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("PATH", os.Getenv("PATH"))
	for _, c := range []struct {
		name, datapath, path, want string
		ctx                        context.Context
	}{
		{"no such type", "dpdk", "", `no datapath type "dpdk"`, t.Context()},
		{"no Open vSwitch", "netdev", "/nowhere", "ovs-vswitchd", t.Context()},
		{"cancelled", "netdev", "", "canceled", cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.path != "" {
				t.Setenv("PATH", c.path)
			}
			v := Try(c.ctx, c.datapath)
			if v.Tried || v.Passes || v.Mode() != netdev.OffloadsOff || !strings.Contains(v.Finding, c.want) {
				t.Errorf("%+v; want %q", v, c.want)
			}
		})
	}
}

// holdTrial makes a scratch datapath, says so, and waits to be killed.
func holdTrial() {
	s, err := start(context.Background(), "netdev", kinds["netdev"])
	if err == nil {
		err = s.await(context.Background(), "prepared")
	}
	if err == nil {
		_, err = furnish(s.ns)
	}
	if err == nil {
		err = s.proceed(context.Background(), "wired")
	}
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		os.Exit(1)
	}
	_, _ = io.WriteString(os.Stdout, "wired")
	select {}
}

// What a trial has made and started goes with its process, also when that is killed.
func TestKilled(t *testing.T) {
	need(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "OFFLOAD_TEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	n, _ := out.Read(said)
	daemons := running(t)
	if string(said[:n]) != "wired" || len(daemons) < 3 {
		t.Errorf("it says %q, and has started %v", said[:n], daemons)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var ee *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ee) {
		t.Fatal(err)
	}
	tick, end := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for {
		left := 0
		for _, dir := range daemons {
			if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && exe != "" {
				left++
			}
		}
		if left == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%d of %v are still there", left, daemons)
		}
	}
}

// running are the processes of scratch datapaths: the script and what it has started.
func running(t *testing.T) []string {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		ns, err := os.Readlink(filepath.Join(dir, "ns/pid"))
		if err != nil || ns == home {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if strings.Contains(string(line), "trial") {
			found = append(found, dir)
		}
	}
	return found
}
