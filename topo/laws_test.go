package topo_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

var (
	someTenants  = []string{"red", "blue"}
	someNetworks = []string{"red/a", "red/b", "red/c", "blue/a", "blue/b"}
	someHosts    = []string{"h1", "h2", "h3"}
	somePorts    = []string{"p1", "p2", "p3", "p4", "p5"}
)

// randomTxn puts a few random changes, sensible and not, into a Txn.
func randomTxn(t *rapid.T, s *topo.Snapshot) *topo.Txn {
	x := s.Begin()
	pick := func(from []string) string { return rapid.SampledFrom(from).Draw(t, "name") }
	for range rapid.IntRange(1, 6).Draw(t, "changes") {
		switch rapid.IntRange(0, 19).Draw(t, "change") {
		case 0:
			x.PutTenant(topo.Tenant{Name: pick(someTenants)})
		case 1, 2, 3:
			full := pick(someNetworks)
			tenant, name := full[:len(full)-2], full[len(full)-1:]
			n := topo.Network{Tenant: tenant, Name: name, Encap: topo.Encap(rapid.IntRange(1, 3).Draw(t, "encap")),
				Key: uint32(rapid.IntRange(0, 3).Draw(t, "key")), Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
				Answer: topo.Answer(rapid.IntRange(0, 1).Draw(t, "answer"))}
			if rapid.IntRange(0, 3).Draw(t, "wire") == 0 {
				n.Type, n.Subnets, n.Answer = topo.TypeWire, nil, topo.AnswerBound
				n.Carrier = topo.Carrier(rapid.IntRange(0, 1).Draw(t, "carrier"))
			}
			x.PutTenant(topo.Tenant{Name: tenant})
			x.PutNetwork(n)
		case 4, 5, 6:
			p := topo.Port{Name: pick(somePorts)}
			if rapid.Bool().Draw(t, "trunk") {
				p.Trunk = &topo.Trunk{}
				for i, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(someNetworks), 1, 3, rapid.ID[string]).Draw(t, "networks") {
					p.Trunk.VLANs = append(p.Trunk.VLANs, topo.SubPort{VLAN: uint16(i + 1), Network: n})
				}
			} else {
				p.Network = pick(someNetworks)
				if n := s.Network(p.Network); n != nil && n.IsWire() {
					x.PutPort(p)
					continue
				}
				p.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 5).Draw(t, "address"))})}
			}
			if rapid.IntRange(0, 2).Draw(t, "profile") > 0 {
				p.Profile, p.MACs = topo.ProfileSwitch, rapid.IntRange(0, 3).Draw(t, "macs")
			}
			p.MigrateTo = rapid.SampledFrom([]string{"", "", topo.AnyHost, "h2"}).Draw(t, "migrate_to")
			x.PutPort(p)
		case 7:
			x.PutHost(topo.Host{Name: pick(someHosts), TEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(1, 4).Draw(t, "tep"))})})
		case 8:
			x.ObserveHost(pick(someHosts), netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(1, 4).Draw(t, "tep"))}),
				[4]uint32{topo.GRE: uint32(rapid.IntRange(0, 1).Draw(t, "tunnel"))})
		case 9, 10, 11:
			x.Bind(pick(somePorts), bound(pick(someHosts), uint32(rapid.IntRange(1, 5).Draw(t, "ofport")), byte(rapid.IntRange(1, 6).Draw(t, "iface"))))
		case 12:
			switch rapid.IntRange(0, 4).Draw(t, "delete") {
			case 0:
				_ = x.DeletePort(pick(somePorts))
			case 1:
				_ = x.DeleteNetwork(pick(someNetworks))
			case 2:
				_ = x.DeleteHost(pick(someHosts))
			case 3:
				_ = x.DeleteTenant(pick(someTenants))
			case 4:
				x.ForgetHost(pick(someHosts))
			}
		case 14, 15, 16, 17:
			randomLearning(t, s, x)
		case 13:
			if rapid.Bool().Draw(t, "release") {
				x.ReleaseKeys(s.Revision())
			} else {
				x.Unbind(pick(someHosts), iface(byte(rapid.IntRange(1, 6).Draw(t, "iface"))))
			}
		case 18:
			port := pick(somePorts)
			if m, ok := s.Migration(port); ok {
				x.Activate(port, m.Standby)
			}
		case 19:
			port := pick(somePorts)
			if m, ok := s.Migration(port); ok && rapid.Bool().Draw(t, "watch") {
				x.Watch(port, m.Standby)
			}
			if p := s.Port(port); p != nil {
				x.Yielded(pick(someHosts), []topo.ID{p.ID})
			}
		}
	}
	return x
}

// randomLearning puts a sighting, plausible and not, into a Txn.
func randomLearning(t *rapid.T, s *topo.Snapshot, x *topo.Txn) {
	id := func(what string) topo.ID { return topo.ID(rapid.IntRange(0, 20).Draw(t, what)) }
	mac := topo.MAC{2, 0, 0, 0, 0, byte(rapid.IntRange(0, 9).Draw(t, "mac"))}
	if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
		mac = rapid.SampledFrom([]topo.MAC{{}, {1, 2, 3, 4, 5, 6}, topo.DeriveMAC(somePorts[0], 0), topo.DeriveMAC(somePorts[1], 0)}).Draw(t, "odd mac")
	}
	sight := topo.Sighting{Network: id("network"), Port: id("port"), MAC: mac, Host: "h1", OFPort: 1}
	if len(s.Ports()) > 0 && rapid.IntRange(0, 9).Draw(t, "known") > 0 {
		p := rapid.SampledFrom(s.Ports()).Draw(t, "at")
		sight.Port = p.ID
		if n := s.Network(p.Network); n != nil {
			sight.Network = n.ID
		} else if p.Trunk != nil {
			sight.Network = s.Network(rapid.SampledFrom(p.Trunk.VLANs).Draw(t, "vlan").Network).ID
		}
		if b := s.Bindings(p.Name); len(b) > 0 {
			sight.Host, sight.OFPort = b[0].Host, b[0].OFPort
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "learning") {
	case 0:
		x.Recall(sight)
	case 1:
		x.Unlearn(sight.Network, sight.MAC, sight.Port)
	default:
		x.Learn(sight)
	}
}

// checkLearned holds that what is learned is where it can be, once, and within limits.
func checkLearned(t *rapid.T, s *topo.Snapshot) {
	total := 0
	for _, p := range s.Ports() {
		all := s.Learned(p.Name)
		if len(all) > p.MACLimit() || len(all) > 0 && len(s.Bindings(p.Name)) == 0 {
			t.Fatalf("%d MACs are learned at port %s, whose limit is %d", len(all), p.Name, p.MACLimit())
		}
		total += len(all)
		for _, l := range all {
			if s.LearnedAt(l.Network.ID, l.MAC) != p || l.MAC.IsMulticast() || l.MAC.IsZero() {
				t.Fatalf("%s is learned at %s, and the index does not have it", l.MAC, p.Name)
			}
			for _, q := range s.PortsIn(l.Network.FullName()) {
				if q.MAC == l.MAC {
					t.Fatalf("%s is learned at %s and declared for %s", l.MAC, p.Name, q.Name)
				}
			}
		}
		for _, n := range s.Networks() {
			for _, m := range s.Segment(n.ID).Members {
				if m.Port != p {
					continue
				}
				if (m.Learned == nil) != (p.MACLimit() == 0) {
					t.Fatalf("what is learned at port %s is %v, and its limit is %d", p.Name, m.Learned, p.MACLimit())
				}
				if m.Learned != nil && m.Learned.Full != (len(all) == p.MACLimit()) {
					t.Fatalf("port %s has %d of %d MACs and Full is %v", p.Name, len(all), p.MACLimit(), m.Learned.Full)
				}
			}
		}
	}
	if total != s.TotalLearned() {
		t.Fatalf("the ports have %d learned MACs, the networks %d", total, s.TotalLearned())
	}
}

func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := topo.Empty()
		ids := map[topo.ID]string{} // every ID ever given, and to whom
		for range rapid.IntRange(1, 25).Draw(t, "commits") {
			x := randomTxn(t, s)
			before := dump(s)
			next, changes, err := x.Commit()
			if after := dump(s); before != after {
				t.Fatalf("a commit changed the snapshot it began on:\n%s\n%s", before, after)
			}
			if err != nil {
				if next != s || !changes.Empty() {
					t.Fatal("a refused commit has effects")
				}
				continue
			}
			if next == s && !changes.Empty() || next != s && next.Revision() != s.Revision()+1 {
				t.Fatal("changes without another revision, or the other way round")
			}
			checkInvariants(t, next, ids)
			checkLearned(t, next)
			checkWires(t, next)
			checkSharing(t, s, next, changes)
			s = next
		}
		d := s.Desired()
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again topo.Desired
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		back, err := topo.Restore(again)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(back.Desired()); string(got) != string(text) {
			t.Fatalf("restored\n%s\nfrom\n%s", got, text)
		}
		// What is in place already is no change.
		y := s.Begin()
		y.Replace(d.Topology())
		if same, _, err := y.Commit(); err != nil || same != s {
			t.Fatal("replacing the topology by itself:", err)
		}
	})
}

// checkWires holds that a wire has two ends at most, none of them on a trunk or with addresses.
func checkWires(t *rapid.T, s *topo.Snapshot) {
	for _, n := range s.Networks() {
		if !n.IsWire() {
			continue
		}
		if ports := s.PortsIn(n.FullName()); len(ports) > 2 || len(n.Subnets) > 0 {
			t.Fatalf("wire %s has %d ports and subnets %v", n.FullName(), len(ports), n.Subnets)
		}
		for _, m := range s.Segment(n.ID).Members {
			if m.Learned != nil {
				t.Fatalf("wire %s learns at port %s", n.FullName(), m.Port.Name)
			}
		}
		for _, p := range s.PortsIn(n.FullName()) {
			if p.Trunk != nil || len(p.Addresses) > 0 {
				t.Fatalf("port %s on wire %s: %+v", p.Name, n.FullName(), p)
			}
		}
	}
}

// checkInvariants recomputes from the outside what a Snapshot keeps as indexes.
func checkInvariants(t *rapid.T, s *topo.Snapshot, ids map[topo.ID]string) {
	give := func(id topo.ID, object string) {
		if id == 0 || id > topo.MaxID {
			t.Fatalf("%s has ID %d", object, id)
		}
		if was, ok := ids[id]; ok && was != object {
			t.Fatalf("ID %d was %s and is %s", id, was, object)
		}
		ids[id] = object
		if kind, name, ok := s.ObjectByID(id); !ok || kind+" "+name != object {
			t.Fatalf("ObjectByID(%d) = %s %s, want %s", id, kind, name, object)
		}
	}
	for _, v := range s.Tenants() {
		give(v.ID, "tenant "+v.Name)
	}
	type key struct {
		e topo.Encap
		k uint32
	}
	keys := map[key]string{}
	for _, r := range s.RetiredKeys() {
		keys[key{r.Encap, r.Key}] = "retired by " + r.Network
	}
	for _, n := range s.Networks() {
		give(n.ID, "network "+n.FullName())
		k := key{n.Encap, n.Key}
		if other, ok := keys[k]; ok {
			t.Fatalf("key %v is %s's and %s", k, n.FullName(), other)
		}
		keys[k] = n.FullName()
		if s.NetworkByKey(n.Encap, n.Key) != n || s.Network(n.FullName()) != n || s.Segment(n.ID).Network != n {
			t.Fatal("an index does not have", n.FullName())
		}
	}
	teps := map[netip.Addr]bool{}
	for _, h := range s.Hosts() {
		give(h.ID, "host "+h.Name)
		if h.TEP.IsValid() && teps[h.TEP] {
			t.Fatal("two hosts have", h.TEP)
		}
		teps[h.TEP] = true
	}
	want, down := map[topo.ID][]string{}, map[topo.ID][]string{}
	on := map[string]map[topo.ID]bool{}
	for _, p := range s.Ports() {
		give(p.ID, "port "+p.Name)
		if p.MAC.IsZero() || p.MAC.IsMulticast() || s.PortByIfaceID(p.UUID.String()) != p {
			t.Fatalf("%+v", p)
		}
		networks := []string{p.Network}
		if p.Trunk != nil {
			networks = nil
			for _, v := range p.Trunk.VLANs {
				networks = append(networks, v.Network)
			}
		}
		b := s.Bindings(p.Name)
		if len(b) == 0 {
			for _, name := range networks {
				if n := s.Network(name); n.Answer == topo.AnswerDeclared {
					down[n.ID] = append(down[n.ID], fmt.Sprintf("%06d", p.ID))
				}
			}
			continue
		}
		hosts, standby := []string{b[0].Host}, topo.Standby{}
		if m, ok := s.Migration(p.Name); ok {
			if m.Active != b[0] || m.Standby.Host == b[0].Host || p.MigrateTo == "" || !slices.Contains(b[1:], m.Standby) {
				t.Fatalf("%+v of the claims %+v", m, b)
			}
			hosts = append(hosts, m.Standby.Host)
			standby = topo.Standby{Host: s.Host(m.Standby.Host), OFPort: m.Standby.OFPort, Watched: m.Watched}
		}
		if n := len(s.Rivals(p.Name)); n != len(b)-len(hosts) {
			t.Fatalf("%d rivals among %d claims", n, len(b))
		}
		for _, name := range networks {
			id := s.Network(name).ID
			want[id] = append(want[id], seat(p.ID, b[0].Host, b[0].OFPort, standby))
			for _, h := range hosts {
				if on[h] == nil {
					on[h] = map[topo.ID]bool{}
				}
				on[h][id] = true
			}
		}
	}
	for _, n := range s.Networks() {
		var got []string
		for _, m := range s.Segment(n.ID).Members {
			if s.Port(m.Port.Name) != m.Port || s.Host(m.Host.Name) != m.Host {
				t.Fatal("a member of", n.FullName(), "is of an older snapshot")
			}
			got = append(got, seat(m.Port.ID, m.Host.Name, m.OFPort, m.Standby))
		}
		slices.Sort(want[n.ID])
		if !slices.Equal(got, want[n.ID]) {
			t.Fatalf("members of %s: %v, want %v", n.FullName(), got, want[n.ID])
		}
		got = nil
		for _, m := range s.Segment(n.ID).Down {
			if s.Port(m.Port.Name) != m.Port || m.Host != nil || m.OFPort != 0 || (m.Sub == nil) != (m.Port.Trunk == nil) {
				t.Fatalf("down in %s: %+v", n.FullName(), m)
			}
			got = append(got, fmt.Sprintf("%06d", m.Port.ID))
		}
		slices.Sort(down[n.ID])
		if !slices.Equal(got, down[n.ID]) {
			t.Fatalf("ports of %s that are down: %v, want %v", n.FullName(), got, down[n.ID])
		}
	}
	for _, h := range s.Hosts() {
		var got []topo.ID
		for _, seg := range s.SegmentsOn(h.Name) {
			if s.Segment(seg.Network.ID) != seg || !on[h.Name][seg.Network.ID] {
				t.Fatal("a host has a segment of an older snapshot, or one too many")
			}
			got = append(got, seg.Network.ID)
		}
		if len(got) != len(on[h.Name]) || !slices.IsSorted(got) {
			t.Fatalf("segments on %s: %v, want %v", h.Name, got, on[h.Name])
		}
	}
}

// seat is where a port is, as text.
func seat(port topo.ID, host string, ofport uint32, standby topo.Standby) string {
	return fmt.Sprintf("%06d@%s:%d%+v", port, host, ofport, standby)
}

// checkSharing holds that what is equal is the same pointer, and what differs is
// among the changes.
func checkSharing(t *rapid.T, old, next *topo.Snapshot, c topo.Changes) {
	changed := map[string]bool{}
	for _, o := range c.Objects {
		changed[o.Kind+" "+o.Name] = true
	}
	for _, p := range next.Ports() {
		was := old.Port(p.Name)
		if same := was != nil && reflect.DeepEqual(was, p); same != (was == p) || same == changed["port "+p.Name] {
			t.Fatal("port", p.Name, "is equal and not shared, or not among the changes")
		}
	}
	for _, h := range next.Hosts() {
		was := old.Host(h.Name)
		if same := was != nil && *was == *h; same != (was == h) || same == changed["host "+h.Name] {
			t.Fatal("host", h.Name, "is equal and not shared, or not among the changes")
		}
	}
	var differ []topo.ID
	for _, n := range next.Networks() {
		a, b := old.Segment(n.ID), next.Segment(n.ID)
		if a == nil || a.Network != b.Network || !slices.Equal(a.Members, b.Members) || !slices.Equal(a.Down, b.Down) {
			differ = append(differ, n.ID)
		} else if a != b {
			t.Fatal("segment", n.ID, "is equal and not shared")
		}
		if a == nil {
			continue
		}
		for _, m := range b.Members {
			i := slices.IndexFunc(a.Members, func(o *topo.Member) bool { return *o == *m })
			if i >= 0 && a.Members[i] != m {
				t.Fatal("a member is equal and not shared")
			}
		}
		for _, m := range b.Down {
			i := slices.IndexFunc(a.Down, func(o *topo.Member) bool { return *o == *m })
			if i >= 0 && a.Down[i] != m {
				t.Fatal("a port that is down is equal and not shared")
			}
		}
	}
	for _, n := range old.Networks() {
		if next.Segment(n.ID) == nil {
			differ = append(differ, n.ID)
		}
	}
	slices.SortFunc(differ, cmp.Compare)
	if !slices.Equal(differ, c.Segments) {
		t.Fatalf("segments %v differ, and the changes have %v", differ, c.Segments)
	}
	a, b := old.Desired(), next.Desired()
	a.Revision, b.Revision = 0, 0
	if reflect.DeepEqual(a, b) == c.Desired {
		t.Fatal("Changes.Desired is", c.Desired)
	}
}

// dump is everything that a Snapshot tells, as text.
func dump(s *topo.Snapshot) string {
	text, _ := json.Marshal(s.Desired())
	out := string(text)
	for _, n := range s.Networks() {
		for _, m := range s.Segment(n.ID).Members {
			out += fmt.Sprintf("\n%s %s %s %d", n.FullName(), m.Port.Name, m.Host.Name, m.OFPort)
		}
	}
	for _, n := range s.Networks() {
		for _, m := range s.Segment(n.ID).Down {
			out += fmt.Sprintf("\n%s %s down", n.FullName(), m.Port.Name)
		}
	}
	for _, h := range s.Hosts() {
		out += fmt.Sprintf("\n%+v", *h)
	}
	for _, p := range s.Ports() {
		out += fmt.Sprintf("\n%v", s.Learned(p.Name))
	}
	return out + fmt.Sprintf("\n%v %v", s.Unclaimed(), s.Conflicts())
}
