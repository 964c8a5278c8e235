package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// bootPatience bounds the boot of a virtual machine without KVM on a busy machine.
const bootPatience = 4 * time.Minute

// guestImage is the directory of the guests' kernel and initramfs. Where it has not been
// made the test is skipped, and fails on CI.
func guestImage(t *testing.T) string {
	t.Helper()
	need.Have(t, need.GuestImage("../../.."))
	dir, err := filepath.Abs("../../../bin/guest")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The guest has no host, so that the lab does not start it.
const libvirtTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
ports:
  - {name: red-b, network: red/web, host: host2, addresses: [10.1.1.2]}
  - {name: red-c, network: red/web, host: host1, addresses: [10.1.1.3]}
guests:
  - name: vm1
    kernel: %[1]s/vmlinuz
    initrd: %[1]s/initramfs.img
    memory: 192
    nics: [{network: red/web, addresses: [10.1.1.1]}]
`

// hypervisor is a host of a lab with libvirt.
type hypervisor struct {
	*libvirttest.Daemon
	l    *testLab
	host string
}

// hypervisor starts libvirt on a host of the lab, under a command if there is one.
func (l *testLab) hypervisor(t *testing.T, host string, under ...string) *hypervisor {
	t.Helper()
	ns, err := l.m.Namespace(l.name, lab.Target{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &hypervisor{
		Daemon: libvirttest.Start(t, libvirttest.Options{Namespace: ns, OVSRunDir: filepath.Dir(l.m.DatabaseSocket(l.name, host)), Under: under}),
		l:      l, host: host,
	}
}

// guest runs `ofctl-lab guest` on the host.
func (h *hypervisor) guest(t *testing.T, args ...string) string {
	t.Helper()
	return h.l.run(t, append(append([]string{"guest"}, args...), "--connect", h.URI())...)
}

// answers waits until red-b gets an answer from vm1, after what.
func (l *testLab) answers(t *testing.T, what string) {
	t.Helper()
	l.answersFrom(t, "red-b", what)
}

// answersFrom is answers for another port.
func (l *testLab) answersFrom(t *testing.T, port, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	a := l.attachment(t, port)
	for {
		out, err := l.m.Output(ctx, l.name, lab.Target{Host: a.Host, Netns: netns(a)},
			"ping", "-n", "-c", "1", "-W", "1", "-I", device(a), "10.1.1.1")
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("after %s vm1 does not answer: %v\n%s", what, err, out)
		}
	}
}

// terminal is a console that is open. What it has shown is kept, up to the text that was
// waited for last.
type terminal struct {
	typed *io.PipeWriter
	ended chan error

	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{}
}

// console opens vm1's console, until the test ends or close is called.
func (h *hypervisor) console(t *testing.T) *terminal {
	t.Helper()
	in, typed := io.Pipe()
	c := &terminal{typed: typed, ended: make(chan error, 1), more: make(chan struct{}, 1)}
	conn, err := libvirt.Connect(t.Context(), h.URI())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer conn.Close()
		err := conn.Console(t.Context(), "vm1", libvirt.Streams{In: in, Out: c}, libvirt.ConsoleTake)
		_ = in.CloseWithError(errors.Join(io.ErrClosedPipe, err))
		c.ended <- err
	}()
	return c
}

func (c *terminal) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown.Write(p)
	select {
	case c.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (c *terminal) close(t *testing.T) {
	t.Helper()
	c.enter(t, string(rune(libvirt.Escape)))
	if err := <-c.ended; err != nil {
		t.Errorf("the console: %v", err)
	}
}

func (c *terminal) enter(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(c.typed, keys); err != nil {
		t.Fatalf("the console takes no %q: %v", keys, err)
	}
}

// await waits for a text that was not yet waited for.
func (c *terminal) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.NewTimer(bootPatience)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		found := bytes.Index(c.shown.Bytes(), []byte(text))
		if found >= 0 {
			c.shown.Next(found + len(text))
		}
		shown := c.shown.String()
		c.mu.Unlock()
		if found >= 0 {
			return
		}
		select {
		case <-c.more:
		case err := <-c.ended:
			t.Fatalf("the console has ended without %q: %v\n%s", text, err, shown)
		case <-deadline.C:
			t.Fatalf("%q does not come to the console, but\n%s", text, shown)
		}
	}
}
