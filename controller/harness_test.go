package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait of a test; nothing waits that long when all is well.
const deadline = time.Minute

// twoHosts is the example of the design.
const twoHosts = `name: two-hosts
underlay: {subnet: 192.168.200.0/24, mtu: 1500}
hosts:
  - {name: host1, tep: 192.168.200.20}
  - {name: host2, tep: 192.168.200.21}
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
      - {name: mgmt, encap: geneve, subnets: [10.9.0.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a,  network: red/web,  host: host1, netns: red-a,  addresses: [10.1.1.1]}
  - {name: red-b,  network: red/web,  host: host2, netns: red-b,  addresses: [10.1.1.2]}
  - {name: blue-a, network: blue/web, host: host1, netns: blue-a, addresses: [10.1.1.1]}
  - {name: blue-b, network: blue/web, host: host2, netns: blue-b, addresses: [10.1.1.2]}
`

// withoutHost2 is what is left of it when host2 is given up.
var withoutHost2 = strings.NewReplacer("key: 1000001", "key: 1000009",
	"  - {name: host2, tep: 192.168.200.21}\n", "", "host: host2, ", "").Replace(twoHosts)

// tunnelPort is the number of the hosts' tunnel ports.
func tunnelPort(e topo.Encap) uint32 { return 1000 + uint32(e) }

// rig is a controller that runs in this process, with a client.
type rig struct {
	testing.TB
	c      *Controller
	client *api.Client
	stop   func()
	// mute says that the hosts that are shown have an ovs-vswitchd that has not yet said
	// that it runs the bridge.
	mute bool
	// underlay carries what the hosts' switches send by their tunnels.
	underlay *sim.Underlay
	// databases are those of the hosts that were shown.
	databases map[string]*hostDatabase
}

// ctx is a context for one wait.
func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	r.Cleanup(cancel)
	return ctx
}

func testConfig(dir string) *config.Config {
	cfg := config.Default()
	cfg.StateDir = dir
	cfg.APISocket = filepath.Join(dir, "api.sock")
	cfg.OpenFlowListen, cfg.OVSDBListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Settle, cfg.AuditInterval, cfg.KeyLinger = 0, 0, 0
	return cfg
}

// start runs a controller until the end of the test, or stop.
func start(t testing.TB, cfg *config.Config) *rig {
	t.Helper()
	c, err := New(cfg, Deps{Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	client, err := api.NewClient(cfg.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, c: c, client: client, underlay: sim.NewUnderlay(), databases: map[string]*hostDatabase{}}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		client.Close()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(deadline):
			t.Error("the controller did not stop")
		}
	}
	t.Cleanup(r.stop)
	if _, err := client.Version(r.ctx()); err != nil { // it runs once it answers
		t.Fatal(err)
	}
	return r
}

func (r *rig) apply(text string) *api.Plan {
	r.Helper()
	p, err := r.client.Apply(r.ctx(), api.TopologyBody{Name: "test.yaml", Text: text})
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// until waits until ok, which is asked again whenever anything changes. It fails
// with what ok says is missing.
func (r *rig) until(ok func() string) {
	r.Helper()
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	for {
		changed := r.c.changed.wait()
		missing := ok()
		if missing == "" {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			r.Fatalf("waited in vain: %s", missing)
		}
	}
}

// ifaceUUID is the row of a host's interface; plug is another for each time
// that it is plugged.
func ifaceUUID(host, name string, plug int) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%s/%d", host, name, plug))
}

// plugged is an interface as a host shows it.
type plugged struct {
	ifaceID string
	ofport  uint32
	plug    int
}

// hostDatabase stands for a host's database, and for the session with it.
type hostDatabase struct {
	mu    sync.Mutex
	facts *ovsdb.Facts
	told  func(*ovsdb.Facts) // is called with the lock held
}

func (d *hostDatabase) Facts() *ovsdb.Facts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.facts
}

func (d *hostDatabase) NoteHeld(_ context.Context, devices map[string]bool) error {
	d.set(func(f *ovsdb.Facts) { f.Held = devices })
	return nil
}

// set makes a picture with a change in it.
func (d *hostDatabase) set(change func(*ovsdb.Facts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := *d.facts
	change(&f)
	d.facts = &f
	d.told(d.facts)
}

// show puts what a host's database would say in front of the binder.
func (r *rig) show(host, tep string, ports ...plugged) {
	r.Helper()
	h, err := r.c.hosts.get(host)
	if err != nil {
		r.Fatal(err)
	}
	f := &ovsdb.Facts{
		Identity: ovsdb.Identity{Host: host, TEP: netip.MustParseAddr(tep), Version: "3.1.0", Peer: "test"},
		Bridge: ovsdb.BridgeFacts{
			Present: true, Name: "br-int", DatapathID: 1, DatapathType: "netdev", Intended: "netdev",
			FailMode: "secure", Protocols: []string{"OpenFlow13"},
		},
		Interfaces: map[uuid.UUID]ovsdb.Interface{},
	}
	if r.mute {
		f.Bridge.DatapathID = 0
	}
	add := func(i ovsdb.Interface) { f.Interfaces[i.UUID] = i }
	for n, typ := range []string{"gre", "vxlan", "geneve"} {
		add(ovsdb.Interface{UUID: ifaceUUID(host, typ, 0), Name: "ofctl-" + typ + "0", Type: typ, OFPort: uint32(1001 + n), LinkState: "up",
			Options: map[string]string{"key": "flow", "remote_ip": "flow"}})
	}
	for _, p := range ports {
		add(ovsdb.Interface{UUID: ifaceUUID(host, p.ifaceID, p.plug), Name: "v-" + p.ifaceID, IfaceID: p.ifaceID, OFPort: p.ofport, LinkState: "up"})
	}
	h.db.Store(&sessionState{connected: true, peer: "test", since: time.Now()})
	d := r.databases[host]
	if d == nil {
		d = &hostDatabase{facts: &ovsdb.Facts{}}
		r.databases[host] = d
	}
	d.mu.Lock()
	d.told = func(f *ovsdb.Facts) { h.facts.Store(f); h.binder.ring(); r.c.changed.notify() }
	d.mu.Unlock()
	d.set(func(had *ovsdb.Facts) {
		f.Held = had.Held
		*had = *f
	})
	var db database = d
	h.database.Store(&db)
	h.carrier.ring()
}

// connect has a switch keep a session with the controller, as Open vSwitch
// does, until the end of the test or until the function returned is called.
func (r *rig) connect(s *sim.Switch) (disconnect func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			// A switch that is refused or cut off tries again a little later.
			_ = s.Dial(ctx, "tcp", r.c.OpenFlowAddr().String())
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	disconnect = func() { cancel(); <-ended }
	r.Cleanup(disconnect)
	return disconnect
}

// newSwitch is a switch for a host that the overlay knows, with its tunnel ports at the
// underlay.
func (r *rig) newSwitch(host string) *sim.Switch {
	r.Helper()
	th := r.c.engine.load().Host(host)
	if th == nil {
		r.Fatalf("no host %s", host)
		return nil
	}
	s, ports := sim.New(datapathID(th.UUID)), map[string]uint32{}
	for e := topo.GRE; e <= topo.Geneve; e++ {
		ports[e.String()] = tunnelPort(e)
		if err := s.SetPort(ofp13.PortDesc{Number: tunnelPort(e), Name: tunnelName(e)}); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.underlay.Join(th.TEP, s, ports); err != nil {
		r.Fatal(err)
	}
	return s
}

// portIs says what is missing for a port to be in a state.
func (r *rig) portIs(name string, want api.State) func() string {
	return func() string {
		p := r.c.engine.load().Port(name)
		if p == nil {
			return "no port " + name
		}
		st := r.c.view().portStatus(p)
		if st.State == want {
			return ""
		}
		b, _ := json.Marshal(st)
		return fmt.Sprintf("port %s is not %s: %s", name, want, b)
	}
}

// synced says what is missing for every connected switch to be up to date.
func (r *rig) synced() string {
	w := r.c.view().wait(0)
	if w.Done {
		return ""
	}
	return fmt.Sprintf("%+v", w.Pending)
}

// twoHostRig is twoHosts applied, with all ports plugged and both switches connected.
func twoHostRig(t *testing.T, cfg *config.Config) (*rig, *sim.Switch, *sim.Switch) {
	t.Helper()
	r := start(t, cfg)
	r.apply(twoHosts)
	s1, s2 := r.newSwitch("host1"), r.newSwitch("host2")
	r.plugAll()
	r.connect(s1)
	r.connect(s2)
	r.allUp()
	return r, s1, s2
}

func (r *rig) plugAll() {
	r.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0})
	r.show("host2", "192.168.200.21", plugged{"red-b", 1, 0}, plugged{"blue-b", 2, 0})
}

func (r *rig) allUp() {
	r.Helper()
	for _, p := range []string{"red-a", "red-b", "blue-a", "blue-b"} {
		r.until(r.portIs(p, api.StateUp))
	}
	r.until(r.synced)
}
