package explain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// world is two ports of one network, a trunk, and a port that is nowhere.
func world() *Overlay {
	return &Overlay{
		Hosts: []Host{{Name: "host1", ID: 1, TEP: netip.MustParseAddr("192.0.2.1"), Tunnels: map[string]uint32{"gre": 9}}},
		Networks: []Network{
			{Name: "red/web", ID: 5, Encap: "gre", Key: 7, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24"), netip.MustParsePrefix("fd00::/64")}},
			{Name: "red/db", ID: 6, Encap: "gre", Key: 8, Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}},
		},
		Ports: []Port{
			{Name: "a", ID: 11, MAC: topo.MAC{2, 0, 0, 0, 0, 1}, Host: "host1", OFPort: 1, Networks: []Membership{{Network: "red/web", Addresses: addrs("10.1.1.1", "fd00::1")}}},
			{Name: "b", ID: 12, MAC: topo.MAC{2, 0, 0, 0, 0, 2}, Host: "host1", OFPort: 2, Networks: []Membership{{Network: "red/web", Addresses: addrs("10.1.1.2", "fd00::2")}}},
			{Name: "trunk", ID: 13, MAC: topo.MAC{2, 0, 0, 0, 0, 3}, Host: "host1", OFPort: 3, Networks: []Membership{
				{Network: "red/web", Tagged: true, VLAN: 10, Addresses: addrs("10.1.1.3")}, {Network: "red/db", Tagged: true, VLAN: 20, Addresses: addrs("10.2.0.3")}}},
			{Name: "off", ID: 14, MAC: topo.MAC{2, 0, 0, 0, 0, 4}, Networks: []Membership{{Network: "red/web"}}},
		},
	}
}

// TestDescribe: what the interpreter reads back of a described packet, and that gopacket
// reads it too.
func TestDescribe(t *testing.T) {
	for _, c := range []struct{ port, text, want string }{
		{"a", "icmp,nw_dst=10.1.1.2", "icmp,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.1.1.1,nw_dst=10.1.1.2,nw_ttl=64,icmp_type=8"},
		{"a", "arp,arp_tpa=10.1.1.9", "arp,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.1.1.1,arp_tpa=10.1.1.9,arp_op=1,arp_sha=02:00:00:00:00:01"},
		{"a", "ip,nw_dst=10.1.1.9", "arp,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.1.1.1,arp_tpa=10.1.1.9,arp_op=1,arp_sha=02:00:00:00:00:01"},
		{"a", "ip,nw_dst=224.0.1.5", "dl_dst=01:00:5e:00:01:05"},
		{"a", "ip,nw_dst=10.1.1.255", "dl_dst=ff:ff:ff:ff:ff:ff"},
		{"a", "udp,nw_dst=10.1.1.2,nw_tos=184,nw_ttl=3,udp_src=5", "nw_tos=184,nw_ttl=3,tp_src=5,tp_dst=53"},
		{"a", "tcp,nw_dst=10.1.1.2,tcp_dst=443", "tp_src=49152,tp_dst=443,tcp_flags=syn"},
		{"a", "icmp6,ipv6_dst=fd00::2", "dl_dst=02:00:00:00:00:02,ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=64,icmp_type=128"},
		{"a", "icmp6,ipv6_dst=fd00::9", "dl_dst=33:33:ff:00:00:09,ipv6_src=fd00::1,ipv6_dst=ff02::1:ff00:9,nw_ttl=255,icmp_type=135,nd_target=fd00::9,nd_sll=02:00:00:00:00:01"},
		{"a", "sctp,nw_dst=10.1.1.2,dl_src=02:00:00:00:00:77", "dl_src=02:00:00:00:00:77"},
		{"a", "dl_type=0x88b5,dl_dst=01:80:c2:00:00:0e", "dl_dst=01:80:c2:00:00:0e,dl_type=0x88b5"},
		{"trunk", "icmp,nw_dst=10.1.1.2", "dl_vlan=10,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:02,nw_src=10.1.1.3"},
		{"trunk", "icmp,dl_vlan=20,nw_dst=10.1.1.2", "dl_vlan=20,dl_src=02:00:00:00:00:03,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.2.0.3,arp_tpa=10.1.1.2"},
	} {
		p, err := Describe(world(), c.port, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		read, err := trace.NewPacket(p.Port.OFPort, p.Frame)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := normal(read.String()); !strings.Contains(got, normal(c.want)) {
			t.Errorf("%s is\n%s, want in it\n%s", c.text, got, c.want)
		}
		if strings.HasPrefix(c.text, "ip,") || strings.HasPrefix(c.text, "dl_type") {
			continue // gopacket does not know what is in them
		}
		g := gopacket.NewPacket(p.Frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := g.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", c.text, e.Error())
		}
	}
}

// normal is a packet's text without what differs only in its words.
func normal(s string) string {
	return strings.NewReplacer("udp_src", "tp_src", "udp_dst", "tp_dst", "tcp_src", "tp_src", "tcp_dst", "tp_dst", "tcp_flags=0x002", "tcp_flags=syn", "tcp_flags=+syn", "tcp_flags=syn").Replace(s)
}

// TestRecogniseDoesNotGuess: a key that the controller chose says nothing; the port
// whose MAC is in a row shows its network, and the network's key then the tunnel port.
func TestRecogniseDoesNotGuess(t *testing.T) {
	parse := func(lines ...string) *Tables {
		tables := &Tables{}
		for _, l := range lines {
			f, err := flows.ParseFlow(l)
			if err != nil {
				t.Fatal(err)
			}
			tables.Flows = append(tables.Flows, f)
		}
		return tables
	}
	key := "cookie=0x0fc7010100000063, in_port=77,tun_id=7 actions=set_field:99->reg0,goto_table:10"
	member := "cookie=0x0fc704010000000b, table=60,reg0=99,dl_dst=02:00:00:00:00:01 actions=set_field:4->reg2,goto_table:90"
	for _, c := range []struct {
		allocated bool
		lines     []string
		id        topo.ID
		tunnel    uint32
	}{
		{false, []string{key}, 99, 77},
		{true, []string{key}, 0, 0},
		{true, []string{key, member}, 99, 77},
	} {
		o := world()
		o.Networks[0].Allocated = c.allocated
		o.Recognise(map[string]*Tables{"host1": parse(c.lines...)})
		if o.Networks[0].ID != c.id || o.Hosts[0].Tunnels["gre"] != c.tunnel || o.Networks[1].ID != 0 {
			t.Errorf("allocated %v, %d rows: %+v, tunnels %v", c.allocated, len(c.lines), o.Networks, o.Hosts[0].Tunnels)
		}
	}
}

func TestWireTakesEveryTag(t *testing.T) {
	o := world()
	o.Networks[0].Wire = true
	p, err := Describe(o, "a", "icmp,dl_vlan=30,nw_dst=10.1.1.2")
	if err != nil || p.Network != "red/web" || vlanOf(p.Frame) != 30 {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := FromFrame(o, "a", p.Frame); err != nil || again.Network != "red/web" {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestDescribeRefuses(t *testing.T) {
	for _, c := range []struct{ port, text, want string }{
		{"z", "icmp,nw_dst=10.1.1.2", "no port"},
		{"off", "icmp,nw_dst=10.1.1.2", "port off is not bound"},
		{"a", "", "what kind of packet"},
		{"a", "icmp", "say where the packet goes"},
		{"a", "arp", "arp_tpa"},
		{"a", "icmp,nw_dst=10.1.1.0/24", "a packet has one value of"},
		{"a", "icmp,nw_dst=10.1.1.2,in_port=2", "in_port"},
		{"a", "icmp,nw_dst=10.1.1.2,table=3", "describes a flow"},
		{"a", "icmp,nw_dst=10.1.1.2 actions=output:1", "describes a flow"},
		{"a", "icmp,nw_dst=10.1.1.2,tun_id=4", "no field of a frame"},
		{"a", "ip,nw_frag=yes,nw_dst=10.1.1.2", "--frame"},
		{"trunk", "icmp,nw_dst=10.3.0.1", "say which network is meant: dl_vlan=10 for red/web, dl_vlan=20 for red/db"},
		{"trunk", "icmp6,dl_vlan=10,ipv6_dst=fd00::2", "no address of that kind"},
	} {
		_, err := Describe(world(), c.port, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q from %s: %v, want %q", c.text, c.port, err, c.want)
		}
	}
}

// TestEveryCutOfAFrame: whatever is cut off, an error or a report, never a panic.
func TestEveryCutOfAFrame(t *testing.T) {
	p, err := Describe(world(), "a", "tcp,nw_dst=10.1.1.2")
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(p.Frame) {
		cut, err := FromFrame(world(), "a", bytes.Clone(p.Frame[:n]))
		bad := (*PacketError)(nil)
		if (n < trace.MinFrame) != errors.As(err, &bad) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if err == nil {
			told(t, cut, "actions=output:2")
		}
	}
}

// told traces a frame over one host with those flows.
func told(t *testing.T, p *Prepared, lines ...string) *Report {
	t.Helper()
	tables := &Tables{}
	for _, l := range lines {
		f, err := flows.ParseFlow(l)
		if err != nil {
			t.Fatal(err)
		}
		tables.Flows = append(tables.Flows, f)
	}
	return toldBy(t, p, tables)
}

func toldBy(t *testing.T, p *Prepared, tables *Tables) *Report {
	t.Helper()
	hosts := NewHosts(world())
	if err := hosts.Add("host1", tables); err != nil {
		t.Fatal(err)
	}
	r, unread, err := hosts.Trace(p, trace.Options{})
	if err != nil || len(unread) > 0 {
		t.Fatalf("unread %v, %v", unread, err)
	}
	return r
}

func describe(t *testing.T, text string) *Prepared {
	t.Helper()
	p, err := Describe(world(), "a", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConnectionStatesAreBranches(t *testing.T) {
	r := told(t, describe(t, "icmp,nw_dst=10.1.1.2"),
		"ip actions=ct(table=1)", "table=1,ip,ct_state=+new+trk actions=drop", "table=1,ip,ct_state=+est+trk actions=output:2")
	if r.Verdict != Unknown || len(r.Why) == 0 {
		t.Errorf("verdict %s, %q", r.Verdict, r.Why)
	}
	if len(r.Deliveries) == 0 || len(r.Deliveries[0].Assumes) != 1 || !strings.Contains(r.Deliveries[0].Assumes[0], "est") {
		t.Errorf("deliveries %+v", r.Deliveries)
	}
}

func TestWhatIsUnknownIsSaid(t *testing.T) {
	p := describe(t, "icmp,nw_dst=10.1.1.2")
	for _, c := range []struct {
		name, want string
		tables     *Tables
	}{
		{"NORMAL", "NORMAL", &Tables{Flows: []*flows.Flow{{Apply: []flows.Action{flows.Output{Port: flows.PortNormal}}}}}},
		{"a flow that cannot be read", "garbled", &Tables{Unread: []trace.Unread{{Why: "garbled"}}}},
		{"a host that was missed", "out of order", &Tables{Flows: []*flows.Flow{{Apply: []flows.Action{
			flows.Set(flows.TunIPv4Dst, flows.IP(netip.MustParseAddr("192.0.2.2"))), flows.Output{Port: 9}}}}}},
	} {
		o := world()
		o.Hosts = append(o.Hosts, Host{Name: "host2", TEP: netip.MustParseAddr("192.0.2.2")})
		hosts := NewHosts(o)
		hosts.Miss("host2", errors.New("host2 is out of order"))
		if err := hosts.Add("host1", c.tables); err != nil {
			t.Fatal(err)
		}
		r, unread, err := hosts.Trace(p, trace.Options{})
		if err != nil || len(unread) > 0 || r.Verdict != Unknown || !strings.Contains(strings.Join(r.Why, "\n"), c.want) {
			t.Errorf("%s: %+v, unread %v, %v", c.name, r, unread, err)
		}
	}
	// The control: what is known is not unknown.
	if r := told(t, p, "actions=output:2"); r.Verdict != Forwarded || r.Deliveries[0].Port != "b" {
		t.Errorf("verdict %s to %+v", r.Verdict, r.Deliveries)
	}
}

func TestDropNamesTheNearestFlow(t *testing.T) {
	r := told(t, describe(t, "icmp,nw_dst=10.1.1.2"), "priority=9,ip,nw_src=10.1.1.4,nw_dst=10.1.1.2 actions=output:2", "priority=9,arp actions=output:2", "priority=1 actions=drop")
	d := r.Hop.Branches[0].Drop
	if r.Verdict != Dropped || d == nil || d.Nearest == nil || len(d.Differs) != 1 || !strings.Contains(d.Differs[0], "nw_src=10.1.1.4") {
		t.Errorf("verdict %s, drop %+v", r.Verdict, d)
	}
}

func TestLiveCounts(t *testing.T) {
	r := told(t, describe(t, "icmp,nw_dst=10.1.1.2"), "actions=output:2")
	l := Expect(r)
	raw := r.Hop.Branches[0].Steps[0].Flow.Raw
	row, port := Counted{Host: "host1", Flow: raw}, Counted{Host: "host1", Port: 2}
	for _, c := range []struct {
		after  Counters
		agrees bool
	}{
		{Counters{row: 5, port: 8}, false},
		{Counters{row: 6, port: 8}, false},
		{Counters{row: 6, port: 9}, true},
		{Counters{row: 6}, true}, // the port's packets are not counted
		{Counters{port: 9}, false},
		{Counters{row: 4, port: 9}, false},
	} {
		if l.Count(Counters{row: 5, port: 8}, c.after); l.Agrees != c.agrees {
			t.Errorf("%v: agrees is %v: %+v", c.after, l.Agrees, l)
		}
	}
	if hosts := l.Hosts(); len(hosts) != 1 || hosts[0] != "host1" {
		t.Errorf("hosts %v", hosts)
	}
}

func TestReadPcap(t *testing.T) {
	var frames [][]byte
	name := filepath.Join(t.TempDir(), "c.pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriter(f)
	err = w.WriteFileHeader(65535, layers.LinkTypeEthernet)
	for i := range 3 {
		frames = append(frames, bytes.Repeat([]byte{byte(i)}, 60))
		length := 60
		if i == 2 {
			length = 61 // the last byte was not captured
		}
		err = errors.Join(err, w.WritePacket(gopacket.CaptureInfo{CaptureLength: 60, Length: length}, frames[i]))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := ReadPcap(bytes.NewReader(data), 2); err != nil || !bytes.Equal(b, frames[1]) {
		t.Errorf("packet 2: %x, %v", b, err)
	}
	for n, want := range map[int]string{3: "61 bytes, of which 60", 4: "it has 3 packets"} {
		if _, err := ReadPcap(bytes.NewReader(data), n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("packet %d: %v, want %q", n, err, want)
		}
	}
	if _, err := ReadPcap(bytes.NewReader(data[:40]), 1); err == nil {
		t.Error("a capture that is cut off is read")
	}
}

func FuzzFrame(f *testing.F) {
	p, err := Describe(world(), "a", "icmp,nw_dst=10.1.1.2")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hex.EncodeToString(p.Frame), "icmp,nw_dst=10.1.1.2")
	f.Add("", "tcp6,ipv6_dst=ff02::1,tcp_dst=1,dl_vlan=10,dl_vlan_pcp=3")
	f.Fuzz(func(t *testing.T, digits, text string) {
		if frame, err := ParseHex(digits); err == nil {
			if p, err := FromFrame(world(), "trunk", frame); err == nil {
				told(t, p, "priority=3,vlan_tci=0x1000/0x1000 actions=set_field:0->vlan_tci,output:2", "priority=2,ip actions=output:9")
			}
		}
		for _, port := range []string{"a", "trunk"} {
			if p, err := Describe(world(), port, text); err == nil {
				told(t, p, "actions=output:2")
			}
		}
	})
}
