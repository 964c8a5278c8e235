package controller

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
)

// oneWire is a wire between two hosts, and one within host1.
const oneWire = `name: wire
hosts:
  - {name: host1, tep: 192.168.200.20}
  - {name: host2, tep: 192.168.200.21}
tenants:
  - name: t
    networks:
      - {name: w, type: wire, encap: gre, carrier: propagate}
      - {name: patch, type: wire, encap: gre, carrier: propagate}
ports:
  - {name: a, network: t/w}
  - {name: b, network: t/w}
  - {name: c, network: t/patch}
  - {name: d, network: t/patch}
`

// cable is a rig with the wires, on simulated switches.
type cable struct {
	*rig
	switches map[string]*sim.Switch
	cut      map[string]func() // disconnects a switch
}

// place is where a port is plugged in: on both hosts they have the same numbers.
type place struct {
	host   string
	ofport uint32
}

func places() map[string]place {
	return map[string]place{"a": {"host1", 1}, "b": {"host2", 1}, "c": {"host1", 2}, "d": {"host1", 3}}
}

func newCable(t *testing.T, cfg *config.Config) *cable {
	t.Helper()
	r := start(t, cfg)
	r.apply(oneWire)
	c := &cable{rig: r, switches: map[string]*sim.Switch{}, cut: map[string]func(){}}
	for _, host := range []string{"host1", "host2"} {
		c.switches[host] = r.newSwitch(host)
	}
	for name, at := range places() {
		if err := c.switches[at.host].SetPort(ofp13.PortDesc{Number: at.ofport, Name: "v-" + name, MAC: [6]byte{2, 0, 0, 0, 1, byte(at.ofport)}}); err != nil {
			t.Fatal(err)
		}
	}
	c.plug("a", "b", "c", "d")
	for host := range c.switches {
		c.attach(host)
	}
	c.until(r.synced)
	return c
}

// restart stops the controller and runs another one.
func (c *cable) restart(cfg *config.Config, between func()) {
	for _, cut := range c.cut {
		cut()
	}
	c.stop()
	between()
	databases := c.databases
	c.rig = start(c.TB, cfg)
	c.databases = databases
	for host := range c.switches {
		c.attach(host)
	}
}

// attach connects the switch of a host.
func (c *cable) attach(host string) { c.cut[host] = c.connect(c.switches[host]) }

// plug shows these ports, and no others, on their hosts.
func (c *cable) plug(names ...string) {
	shown := map[string][]plugged{}
	for _, name := range names {
		at := places()[name]
		shown[at.host] = append(shown[at.host], plugged{name, at.ofport, 0})
	}
	c.show("host1", "192.168.200.20", shown["host1"]...)
	c.show("host2", "192.168.200.21", shown["host2"]...)
}

// guest brings a guest's interface up or takes it down.
func (c *cable) guest(name string, up bool) {
	c.Helper()
	at := places()[name]
	if err := c.switches[at.host].SetLink(at.ofport, up); err != nil {
		c.Fatal(err)
	}
}

func (c *cable) isDown(name string) bool {
	at := places()[name]
	p, _ := c.switches[at.host].Port(at.ofport)
	return openflow.IsDown(p)
}

// wait waits until these ports are held down, and no others, and stay so for longer than
// a link may take to settle.
func (c *cable) wait(held string) {
	c.Helper()
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	const steady = 40 // ticks: more than linkSettle
	for same := 0; same < steady; {
		same++
		for name := range places() {
			if c.isDown(name) != strings.Contains(held, name) {
				same = 0
			}
		}
		select {
		case <-tick.C:
		case <-limit.C:
			c.Fatalf("down are %s, want %q and nothing else", c.down(), held)
		}
	}
}

func (c *cable) down() (out []string) {
	for name := range places() {
		if c.isDown(name) {
			out = append(out, name)
		}
	}
	return out
}

// heldBecause waits until describe says why a port is held down.
func (c *cable) heldBecause(name, want string) {
	c.Helper()
	c.until(func() string {
		st := c.c.view().portStatus(c.c.engine.load().Port(name))
		if strings.Contains(st.HeldDown, want) && strings.Contains(st.Message, want) {
			return ""
		}
		return fmt.Sprintf("port %s is held down because %q, want %q", name, st.HeldDown, want)
	})
}

func TestCarrierFollowsTheOtherEnd(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	c.wait("")
	for _, ends := range [][2]string{{"a", "b"}, {"b", "a"}, {"c", "d"}, {"d", "c"}} {
		near, far := ends[0], ends[1]
		c.guest(near, false)
		c.wait(far)
		c.heldBecause(far, "port "+near+", the other end of wire t/")
		c.guest(near, true)
		c.wait("")
	}
	if st := c.c.view().portStatus(c.c.engine.load().Port("a")); st.HeldDown != "" {
		t.Errorf("let go, and still said to be held down: %+v", st)
	}
}

// Both guests down, either returning first: while one is down the other sees it, and
// when both are up neither is held.
func TestCarrierWithBothEndsDown(t *testing.T) {
	for _, first := range []string{"a", "b"} {
		t.Run(first, func(t *testing.T) {
			second := map[string]string{"a": "b", "b": "a"}[first]
			c := newCable(t, testConfig(t.TempDir()))
			c.guest("a", false)
			c.wait("b")
			c.guest("b", false) // which nobody can see
			c.wait("b")
			c.guest(first, true)
			c.wait(first) // for second is still down
			c.guest(second, true)
			c.wait("")
		})
	}
}

// Both guests down at once, which each end sees of itself: neither is held, so that
// either can be seen to return.
func TestCarrierWithBothEndsDownAtOnce(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	c.cut["host1"]()
	c.cut["host2"]()
	c.guest("a", false)
	c.guest("b", false)
	c.attach("host1")
	c.attach("host2")
	c.until(c.synced)
	c.wait("")
	c.guest("b", true)
	c.wait("b")
	c.guest("a", true)
	c.wait("")
}

func TestCarrierOfAnEndThatIsUnplugged(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	c.plug("a", "c", "d")
	c.wait("a")
	c.heldBecause("a", "wire t/w is not plugged in")
	c.plug("a", "b", "c", "d")
	c.wait("")
	// An interface that somebody took down on the host is an end without link.
	at := places()["b"]
	p, _ := c.switches[at.host].Port(at.ofport)
	p.Config, p.State = ofp13.PortConfigDown, ofp13.PortStateLinkDown
	if err := c.switches[at.host].SetPort(p); err != nil {
		t.Fatal(err)
	}
	c.wait("ab") // b by somebody, a by the controller
	c.heldBecause("a", "port b, the other end of wire t/w, has no link")
	c.databases["host2"].set(func(f *ovsdb.Facts) {
		f.Interfaces = maps.Clone(f.Interfaces)
		for id, i := range f.Interfaces {
			if i.Name == "v-b" {
				i.AdminState, i.LinkState = "down", "down"
				f.Interfaces[id] = i
			}
		}
	})
	want := "interface v-b is down on host2, and not because of this controller: ip link set v-b up"
	if st := c.c.view().portStatus(c.c.engine.load().Port("b")); st.State != api.StateBinding || st.Message != want {
		t.Errorf("b is %s: %q, want %q", st.State, st.Message, want)
	}
	p.Config, p.State = 0, 0
	if err := c.switches[at.host].SetPort(p); err != nil {
		t.Fatal(err)
	}
	c.wait("")
}

// What is held is let go when the option, the wire or the port goes away.
func TestCarrierIsLetGo(t *testing.T) {
	for name, without := range map[string]string{
		"option":  strings.Replace(oneWire, "{name: w, type: wire, encap: gre, carrier: propagate}", "{name: w, type: wire, encap: gre}", 1),
		"type":    strings.Replace(oneWire, "{name: w, type: wire, encap: gre, carrier: propagate}", "{name: w, encap: gre}", 1),
		"port":    strings.NewReplacer("  - {name: b, network: t/w}\n", "", "  - {name: a, network: t/w}\n", "").Replace(oneWire),
		"network": strings.NewReplacer("  - {name: b, network: t/w}\n", "", "  - {name: a, network: t/w}\n", "", "      - {name: w, type: wire, encap: gre, carrier: propagate}\n", "").Replace(oneWire),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCable(t, testConfig(t.TempDir()))
			c.guest("a", false)
			c.wait("b")
			c.apply(without)
			c.wait("")
		})
	}
}

// A switch that is away changes nothing, and is caught up with when it is back.
func TestCarrierWhileAHostIsAway(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	c.cut["host1"]()
	c.guest("a", false)
	c.wait("")
	c.attach("host1")
	c.wait("b")
	c.cut["host2"]() // which holds b down
	c.guest("a", true)
	c.wait("b")
	c.attach("host2")
	c.wait("")
	c.guest("b", false)
	c.wait("a")
	c.cut["host2"]() // whose end is what is down
	c.guest("b", true)
	c.wait("a")
	c.attach("host2")
	c.wait("")
}

// A controller that is started anew knows which ports are down because of it: it goes
// on holding them, and lets them go, and leaves others' alone.
func TestCarrierAcrossRestart(t *testing.T) {
	for name, back := range map[string]bool{"end still down": false, "end back meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.Settle = time.Minute // or until all hosts have shown their ports
			c := newCable(t, cfg)
			c.guest("a", false)
			c.wait("b")
			c.restart(cfg, func() { c.guest("a", back) })
			// One host after the other shows its ports: until then nothing is known of
			// its ends, and nothing changes.
			c.show("host1", "192.168.200.20", plugged{"a", 1, 0}, plugged{"c", 2, 0}, plugged{"d", 3, 0})
			c.wait("b")
			c.plug("a", "b", "c", "d")
			if !back {
				c.wait("b")
				c.guest("a", true)
			}
			c.wait("")
		})
	}
}

// A controller that has lost its store knows from the hosts what was held, by whom, and
// lets it go.
func TestCarrierWithoutItsStore(t *testing.T) {
	for name, back := range map[string]bool{"end still down": false, "end back meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			c := newCable(t, testConfig(t.TempDir()))
			c.guest("a", false)
			c.wait("b")
			c.restart(testConfig(t.TempDir()), func() { c.guest("a", back) })
			c.apply(oneWire)
			c.plug("a", "b", "c", "d")
			if !back {
				c.wait("b")
				c.heldBecause("b", "port a, the other end of wire t/w, has no link")
				c.guest("a", true)
			}
			c.wait("")
		})
	}
}

// While a host's database is away nothing can be noted: nothing is held, and what is held
// is let go all the same.
func TestCarrierWithoutTheDatabase(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	away := func() { c.c.hosts.find("host2").database.Store(nil) }
	c.guest("a", false)
	c.wait("b")
	away()
	c.guest("a", true)
	c.wait("")
	c.guest("a", false)
	c.wait("")
	if held := c.databases["host2"].Facts().Held; !held["v-b"] {
		t.Errorf("host2's database is away, and has %v", held)
	}
	c.plug("a", "b", "c", "d") // the database is back
	c.wait("b")
	away()
	c.guest("a", true)
	c.wait("")
	c.plug("a", "b", "c", "d")
	c.until(func() string {
		if held := c.databases["host2"].Facts().Held; len(held) > 0 {
			return fmt.Sprintf("host2's database has %v", held)
		}
		return ""
	})
}

// Whatever guests, sessions and the controller do, in the end the ends show what they should.
func TestCarrierConverges(t *testing.T) {
	cfg := testConfig(t.TempDir())
	c := newCable(t, cfg)
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		switch random.IntN(5) {
		case 0:
			host := []string{"host1", "host2"}[random.IntN(2)]
			c.cut[host]()
			c.attach(host)
		default:
			c.guest([]string{"a", "b", "c", "d"}[random.IntN(4)], random.IntN(2) == 0)
		}
		if random.IntN(3) == 0 {
			c.until(c.synced)
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		c.guest(name, true)
	}
	c.wait("")
	c.guest("a", false)
	c.guest("d", false)
	c.wait("bc")
}

// A guest that shuts its end and opens it again and again cannot have the other one
// held, which is noted each time, as often as it likes.
func TestCarrierOfAnEndThatFlaps(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	set := func(up bool) {
		c.guest("a", up)
		for begun := time.Now(); c.isDown("b") == up; <-tick.C {
			if time.Since(begun) > deadline {
				t.Fatalf("a is up: %v, and b is down: %[1]v", up)
			}
		}
	}
	start := time.Now()
	for range 4 {
		set(false)
		set(true)
	}
	// At once, then after minHold, twice and four times that.
	if took := time.Since(start); took < 7*minHold {
		t.Errorf("held and let go 4 times in %s", took)
	}
	c.wait("")
}

func TestHoldTime(t *testing.T) {
	now := time.Now()
	r := release{}
	for i, want := range []time.Duration{0, minHold, 2 * minHold, 4 * minHold, 8 * minHold, 16 * minHold, maxHeld, maxHeld} {
		r.held = holdTime(r, now)
		if r.held != want {
			t.Errorf("hold %d lasts %s, want %s", i, r.held, want)
		}
		r.at, now = now, now.Add(flapTime-1)
	}
	if got := holdTime(r, r.at.Add(flapTime)); got != 0 {
		t.Errorf("an end that was calm for %s is held for %s", flapTime, got)
	}
}

func TestHolds(t *testing.T) {
	for _, v := range []struct {
		self, far link
		held      bool
		want      bool
	}{
		{linkUp, linkUp, false, false}, {linkUp, linkUp, true, false}, {linkDown, linkUp, false, false},
		{linkUp, linkDown, false, true}, {linkUp, linkDown, true, true},
		{linkDown, linkDown, false, false}, // or neither could be seen to return
		{linkUp, linkUnknown, false, false}, {linkUp, linkUnknown, true, true}, {linkDown, linkUnknown, false, false},
	} {
		if got := holds(v.self, v.far, v.held); got != v.want {
			t.Errorf("self %d, far %d, held %v: %v", v.self, v.far, v.held, got)
		}
	}
}
