package e2e

import (
	"bufio"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// rebootTopology is the lab's half: one host of its own, and its guests.
const rebootTopology = `
underlay: {subnet: 192.168.200.0/24, mtu: 1500}
hosts:
  - {name: host1, tep: 192.168.200.20}
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1, addresses: [10.1.1.1]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.1.1.1]}
`

// rebootGuests are attached on the hypervisor, in namespaces of their ports' names. Each
// is pinged by the guest of host1 in its network.
var rebootGuests = []rebootGuest{
	{"web1", "red/web", "10.1.1.7", "red-a"},
	{"web2", "blue/web", "10.1.1.8", "blue-a"},
}

type rebootGuest struct{ port, network, address, pingedBy string }

// lateGuest is attached in the moment before the power is cut.
var lateGuest = rebootGuest{"web3", "red/web", "10.1.1.9", "red-a"}

// TestReboot: a hypervisor whose power is cut comes back by itself. It has joined by the
// join command, and its guests have been attached once; after that nothing is typed.
func TestReboot(t *testing.T) {
	image := hostImage(t)
	l := up(t, "rb", rebootTopology)
	h := l.startHost(t, image)
	t.Logf("the kernel of the first boot started %s ago when the agent answered", time.Since(h.kernelStart(t)).Round(100*time.Millisecond))
	h.joined(t)
	var all []*pings
	for _, g := range rebootGuests {
		p := l.startPings(t, g.pingedBy, g.address)
		p.firstAfter(t, time.Time{})
		all = append(all, p)
	}
	before := h.state(t)
	t.Logf("%s\n%s", before.Datapath, strings.Join(before.Guests, "\n"))
	if !strings.Contains(before.Datapath, "system@ovs-system") {
		t.Fatalf("the hypervisor uses the datapath\n%s", before.Datapath)
	}

	// whole is the hypervisor as it has to be after a power-cycle.
	whole := func(t *testing.T) {
		t.Helper()
		within(t, waiting{limit: hostPatience, look: 200 * time.Millisecond}, hostName+" is ready", func() bool { return h.ready(t.Context()) == nil })
		for _, g := range rebootGuests {
			if s := l.portStatus(t, g.port); s.State != api.StateUp || s.Host != hostName {
				t.Errorf("port %s is %s on %s", g.port, s.State, s.Host)
			}
		}
		if d := cmp.Diff(before, h.state(t)); d != "" {
			t.Error("the hypervisor is not what it was (-before +after):\n", d)
		}
		if out := h.run(t, "systemctl is-active ofctl-lab-attach.service && ofctl-lab attach --restore"); !strings.Contains(out, "is as it was attached") {
			t.Error(out)
		}
		l.mustVerify(t)
	}
	// answers waits for the pings after a power-cycle, and says how long it took. In the
	// first second no kernel answers: what arrives then has been under way.
	answers := func(t *testing.T, reset time.Time) {
		t.Helper()
		var last time.Time
		for _, p := range all {
			if at := p.firstAfter(t, reset.Add(time.Second)); at.After(last) {
				last = at
			}
		}
		start := h.kernelStart(t)
		t.Logf("all pings are answered %.1f s after the start of the kernel, %.1f s after the reset",
			last.Sub(start).Seconds(), last.Sub(reset).Seconds())
		t.Log(h.run(t, `journalctl --no-pager -b -o short-monotonic -u 'ovs*' -u networking -u ofctl-lab-attach | grep -E 'Start|Finish|port' || true`))
	}

	t.Run("ifupdown", func(t *testing.T) {
		h.attach(t, lateGuest)
		answers(t, h.reset(t)) // at once: what attach has done is on the disk
		whole(t)
		l.mustPing(t, lateGuest.pingedBy, lateGuest.address)
	})
	t.Run("systemd-networkd", func(t *testing.T) {
		// It has the network up before Open vSwitch runs, so that the controller sees a
		// database whose switch is not there yet.
		h.useNetworkd(t)
		answers(t, h.reset(t))
		whole(t)
	})
	t.Run("in the middle of the start", func(t *testing.T) {
		first := h.reset(t)
		h.run(t, "true") // the agent is there before Open vSwitch is
		for _, p := range all {
			if p.answeredSince(first.Add(time.Second)) {
				t.Log("too late for the middle of the start: there are answers already")
			}
		}
		answers(t, h.reset(t))
		whole(t)
	})
	t.Run("without a controller", func(t *testing.T) {
		if err := l.m.StopController(t.Context(), l.name, lab.AtOnce); err != nil {
			t.Fatal(err)
		}
		reset := h.reset(t)
		// A switch that is started has no flows, and with fail_mode secure makes none of its own.
		within(t, waiting{limit: hostPatience, look: time.Second}, "the guests are attached again", func() bool {
			out, err := h.try(t.Context(), "systemctl is-active ofctl-lab-attach.service")
			return err == nil && out == "active"
		})
		if out := h.run(t, "ovs-ofctl -O OpenFlow13 dump-flows br-int | grep -c cookie || true"); out != "0" {
			t.Errorf("without a controller the switch has %s flows", out)
		}
		for _, p := range all {
			if p.answeredSince(reset.Add(time.Second)) {
				t.Errorf("%s is answered from %s without a controller", p.from, p.to)
			}
		}
		back := time.Now()
		if err := l.m.RestartController(t.Context(), l.name, lab.AtOnce); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			t.Logf("%s answers %.1f s after the controller was started", p.to, p.firstAfter(t, back).Sub(back).Seconds())
		}
		whole(t)
	})
}

// pings is a ping without an end from a guest of the lab's host.
type pings struct {
	from, to string

	mu   sync.Mutex
	last time.Time // of the newest answer
	all  []time.Time
}

func (l *testLab) startPings(t *testing.T, port, to string) *pings {
	t.Helper()
	p := &pings{from: port, to: to}
	ns := l.guestNamespace(t, port)
	cmd := exec.Command("ping", "-n", "-i", "0.2", to)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "bytes from "+to) {
				p.mu.Lock()
				p.last = time.Now()
				p.all = append(p.all, p.last)
				p.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	return p
}

// firstAfter waits for an answer later than a moment, and returns when it came.
func (p *pings) firstAfter(t *testing.T, moment time.Time) time.Time {
	t.Helper()
	var first time.Time
	within(t, waiting{limit: hostPatience, look: 50 * time.Millisecond}, p.to+" answers "+p.from, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := len(p.all) - 1; i >= 0 && p.all[i].After(moment); i-- {
			first = p.all[i]
		}
		return !first.IsZero()
	})
	return first
}

// answeredSince reports whether there was an answer after a moment.
func (p *pings) answeredSince(moment time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.After(moment)
}
