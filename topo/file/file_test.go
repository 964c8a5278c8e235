package file_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// example is the topology of the documentation.
func example(tb testing.TB) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "two-hosts.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestBad holds every mistake against its message. Each testdata/*.txtar has the
// topology files; the one called NAME.err is what is wrong with NAME.
func TestBad(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no test data:", err)
	}
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, f := range a.Files {
			want[f.Name] = string(f.Data)
		}
		changed := false
		var out []txtar.File
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".err") {
				continue
			}
			t.Run(f.Name, func(t *testing.T) {
				_, err := file.Parse(f.Name, f.Data)
				if err == nil {
					t.Fatal("it was accepted")
				}
				got := err.Error() + "\n"
				out = append(out, f, txtar.File{Name: f.Name + ".err", Data: []byte(got)})
				if d := cmp.Diff(want[f.Name+".err"], got); d != "" {
					changed = true
					if os.Getenv("UPDATE") == "" {
						t.Errorf("(-want +got; UPDATE=1 writes it)\n%s", d)
					}
				}
			})
		}
		if changed && os.Getenv("UPDATE") != "" {
			a.Files = out
			if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestExample(t *testing.T) {
	f, err := file.Parse("two-hosts.yaml", example(t))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "two-hosts" || f.Underlay.MTU != 1500 || f.Underlay.Subnets[0] != netip.MustParsePrefix("192.168.200.0/24") {
		t.Errorf("%+v", f)
	}
	s, changes, err := file.Check(f, topo.Empty())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Ports()) != 5 || len(changes.Objects) != 2+2+3+5 || s.Network("red/mgmt").Key != topo.FirstAllocatedVNI {
		t.Error("ports, changes, allocated key:", len(s.Ports()), len(changes.Objects), s.Network("red/mgmt"))
	}
	sw := s.Port("sw1-et1")
	if sw.Profile != topo.ProfileSwitch || sw.Trunk.Native.Network != "red/mgmt" || sw.Trunk.VLANs[1].VLAN != 20 ||
		sw.Host != "host1" || sw.Netns != "sw1" || sw.Interface != "et1" {
		t.Errorf("%+v", sw)
	}
}

// TestBlockStyle: the same in block style, and with addresses on a trunk.
func TestBlockStyle(t *testing.T) {
	f, err := file.Parse("x", []byte(`
name: "10"
hosts:
  - name: h1
    tep: 2001:db8::1
tenants:
- name: red
  networks:
  - name: web
    encap: gre
    key: 0xfffffffe
    subnets:
    - 10.1.1.0/24
    - 2001:db8:1::/64
ports:
- name: a
  uuid: 0B54B0B2-1B7A-4B38-8B3B-5A1C7B6E7B11
  mac: 02-00-00-00-00-0A
  trunk:
    vlans:
      7:
        network: red/web
        addresses:
        - 10.1.1.1
        - 2001:db8:1::1
`))
	if err != nil {
		t.Fatal(err)
	}
	p := f.Topology.Ports[0]
	if f.Name != "10" || f.Topology.Networks[0].Key != 0xfffffffe || p.UUID != uuid.MustParse("0b54b0b2-1b7a-4b38-8b3b-5a1c7b6e7b11") ||
		p.MAC != (topo.MAC{2, 0, 0, 0, 0, 10}) || p.Trunk.VLANs[0].Addresses[1] != netip.MustParseAddr("2001:db8:1::1") {
		t.Errorf("%+v %+v", f, p)
	}
	// What the commit on another base finds is located, too.
	base := topo.Empty().Begin()
	base.PutTenant(topo.Tenant{Name: "old"})
	base.PutNetwork(topo.Network{Tenant: "old", Name: "n", Encap: topo.GRE, Key: 0xfffffffe})
	s, _, err := base.Commit()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = file.Check(f, s)
	var e *file.Error
	if !errors.As(err, &e) || e.Line != 11 || e.Column != 10 || e.Problem == nil {
		t.Error(err)
	}
	other := errors.New("another error")
	if f.Locate(other) != other || f.Locate(nil) != nil {
		t.Error("Locate changed what is no Problem")
	}
}

func TestByteOrderMark(t *testing.T) {
	f, err := file.Parse("x", []byte("\ufeffname: bom\n"))
	if err != nil || f.Name != "bom" {
		t.Errorf("a file that starts with a byte order mark: %+v, %v", f, err)
	}
}

func TestBounds(t *testing.T) {
	for name, data := range map[string]string{
		"bytes, more than":      strings.Repeat("#", file.MaxSize+1),
		"nested more than":      "name: " + strings.Repeat("[", 100_000),
		"beyond column 64":      strings.Repeat("- ", 100_000),
		"too many keys":         strings.Repeat("a: 1\n", 20_000),
		"more than 100000":      strings.Repeat("-\n", 100_001),
		"anchors, aliases":      "name: &a [*a, *a]",
		"not UTF-8":             "name: \xff",
		"control character":     "name: \"a\x00\"",
		"and 19000 more mistak": "name: x\nports: [" + strings.Repeat("1, ", 20_000) + "]",
	} {
		if _, err := file.Parse("x", []byte(data)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %.200v", name, err)
		}
	}
}

var valuesByEquality = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// TestFormatRoundTrip: Parse(Format(f)) == f for valid files.
func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := randomFile(t)
		text := file.Format(f)
		got, err := file.Parse("x", text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		if d := cmp.Diff(f, *got, valuesByEquality, cmpopts.IgnoreUnexported(file.File{}), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", text, d)
		}
		if again := file.Format(*got); string(again) != string(text) {
			t.Fatalf("%s\nis not canonical:\n%s", text, again)
		}
	})
}

func randomFile(t *rapid.T) file.File {
	name := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}`),
		rapid.SampledFrom([]string{"true", "No", "null", "1", "1.5", "0x10", "1e3", "NaN", "y", "012", "1-2", "1.1.1.1", "x.", "A-"}))
	names := func(n int, label string) []string {
		return rapid.SliceOfNDistinct(name, 0, n, rapid.ID[string]).Draw(t, label)
	}
	f := file.File{Name: name.Draw(t, "name"), Underlay: file.Underlay{MTU: rapid.IntRange(1400, 9000).Draw(t, "mtu")}}
	if rapid.Bool().Draw(t, "underlay") {
		f.Underlay.Subnets = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		if rapid.Bool().Draw(t, "second") {
			f.Underlay.Subnets = append(f.Underlay.Subnets, netip.MustParsePrefix("2001:db8::/32"))
		}
	}
	for i, h := range names(3, "hosts") {
		f.Topology.Hosts = append(f.Topology.Hosts, topo.Host{Name: h, TEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Declared: true})
	}
	var networks []string
	key := uint32(1)
	for _, tenant := range names(3, "tenants") {
		v := topo.Tenant{Name: tenant}
		if rapid.Bool().Draw(t, "uuid") {
			v.UUID = uuid.NewSHA1(uuid.NameSpaceDNS, []byte(tenant))
		}
		f.Topology.Tenants = append(f.Topology.Tenants, v)
		for _, n := range names(3, "networks") {
			v := topo.Network{Tenant: tenant, Name: n, Encap: topo.Encap(rapid.IntRange(1, 3).Draw(t, "encap")),
				Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8:1::/48")},
				Answer:  topo.Answer(rapid.IntRange(0, 1).Draw(t, "answer"))}
			if rapid.Bool().Draw(t, "key") {
				v.Key, key = key, key+1
			}
			if rapid.IntRange(0, 3).Draw(t, "wire") == 0 {
				v.Type, v.Subnets, v.Answer = topo.TypeWire, nil, topo.AnswerBound
				v.Carrier = topo.Carrier(rapid.IntRange(0, 1).Draw(t, "carrier"))
				f.Topology.Networks = append(f.Topology.Networks, v)
				for _, end := range []string{"one", "two"}[:rapid.IntRange(0, 2).Draw(t, "ends")] {
					f.Topology.Ports = append(f.Topology.Ports, topo.Port{Name: fmt.Sprintf("wire-%d-%s", len(f.Topology.Networks), end), Network: v.FullName()})
				}
				continue
			}
			f.Topology.Networks = append(f.Topology.Networks, v)
			networks = append(networks, v.FullName())
		}
	}
	if len(networks) == 0 {
		return f
	}
	addresses := func(i, j int) []netip.Addr {
		if rapid.Bool().Draw(t, "addresses") {
			return nil
		}
		v6 := netip.MustParseAddr("2001:db8:1::").As16()
		v6[14], v6[15] = byte(i+1), byte(j)
		return []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i + 1), byte(j)}), netip.AddrFrom16(v6)}
	}
	for i, p := range names(4, "ports") {
		v := topo.Port{Name: p, Profile: topo.Profile(rapid.IntRange(0, 1).Draw(t, "profile"))}
		if v.Profile == topo.ProfileSwitch {
			v.MACs = rapid.IntRange(0, topo.MaxMACs).Draw(t, "macs")
		}
		if rapid.Bool().Draw(t, "place") && len(f.Topology.Hosts) > 0 {
			v.Host, v.Netns, v.Interface = f.Topology.Hosts[0].Name, name.Draw(t, "netns"), fmt.Sprint("eth", i)
		}
		if rapid.Bool().Draw(t, "mac") {
			v.MAC = topo.MAC{2, 0, 0, 0, 1, byte(i)}
		}
		if rapid.Bool().Draw(t, "migrate_to") {
			v.MigrateTo = topo.AnyHost
		}
		if rapid.Bool().Draw(t, "trunk") {
			v.Trunk = &topo.Trunk{}
			for j, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(networks), 1, len(networks), rapid.ID[string]).Draw(t, "on") {
				s := topo.SubPort{VLAN: uint16(j * 400), Network: n, Addresses: addresses(i, j)}
				if j == 0 {
					v.Trunk.Native = &s
				} else {
					v.Trunk.VLANs = append(v.Trunk.VLANs, s)
				}
			}
		} else {
			v.Network = rapid.SampledFrom(networks).Draw(t, "network")
			v.Addresses = addresses(i, 200)
		}
		f.Topology.Ports = append(f.Topology.Ports, v)
	}
	randomGuests(t, &f, networks)
	return f
}

func FuzzParse(f *testing.F) {
	f.Add(example(f))
	archives, _ := filepath.Glob("testdata/*.txtar")
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range a.Files {
			f.Add(x.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := file.Parse("x", data)
		if err != nil {
			if v != nil {
				t.Fatal("a file and an error")
			}
			lines := 1 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r")
			for _, e := range strings.Split(err.Error(), "\n") {
				var line, column int
				if n, _ := fmt.Sscanf(e, "x:%d:%d: ", &line, &column); n == 2 && (line < 1 || column < 1 || line > lines+1) {
					t.Fatalf("%q in %d lines", e, lines)
				}
			}
			return
		}
		text := file.Format(*v)
		again, err := file.Parse("x", text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		if string(file.Format(*again)) != string(text) {
			t.Fatalf("not canonical:\n%s", text)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	f := file.File{Name: "large", Underlay: file.Underlay{MTU: file.DefaultMTU}}
	f.Topology.Tenants = []topo.Tenant{{Name: "red"}}
	for i := range 5000 {
		n := topo.Network{Tenant: "red", Name: fmt.Sprintf("n%d", i), Encap: topo.GRE}
		f.Topology.Networks = append(f.Topology.Networks, n)
		f.Topology.Ports = append(f.Topology.Ports, topo.Port{Name: fmt.Sprintf("p%d", i), Network: n.FullName()})
	}
	text := file.Format(f)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := file.Parse("x", text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLargeBlockStyle: the bound on keys is on those of one mapping, not of all.
func TestLargeBlockStyle(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: x\ntenants:\n- name: red\n  networks:\n  - name: web\n    encap: gre\nports:\n")
	for i := range 6000 {
		fmt.Fprintf(&b, "- name: p%d\n  network: red/web\n", i)
	}
	if _, err := file.Parse("x", []byte(b.String())); err != nil {
		t.Errorf("%.200v", err)
	}
}
