package topo_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// TestValidation puts one thing wrong into a valid topology and wants exactly
// the problems given, as "object|field|other".
func TestValidation(t *testing.T) {
	mac := topo.MAC{2, 0, 0, 0, 0, 1}
	prefix := netip.MustParsePrefix
	for name, c := range map[string]struct {
		wrong func(*topo.Topology)
		want  []string
	}{
		"nothing":          {func(*topo.Topology) {}, nil},
		"duplicate port":   {func(d *topo.Topology) { d.Ports = append(d.Ports, d.Ports[0]) }, []string{"port red-a|name|port red-a"}},
		"duplicate host":   {func(d *topo.Topology) { d.Hosts = append(d.Hosts, d.Hosts[0]) }, []string{"host h1|name|host h1"}},
		"duplicate tenant": {func(d *topo.Topology) { d.Tenants = append(d.Tenants, d.Tenants[0]) }, []string{"tenant red|name|tenant red"}},
		"duplicate network": {func(d *topo.Topology) { d.Networks = append(d.Networks, d.Networks[0]) },
			[]string{"network red/web|name|network red/web"}},
		"dangling network": {func(d *topo.Topology) { d.Ports[1].Network = "red/wbe"; d.Ports[1].Addresses = nil },
			[]string{"port red-b|network|network red/wbe"}},
		"dangling network on a trunk": {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].Network = "nope" },
			[]string{"port sw|trunk.vlans.20.network|network nope"}},
		"dangling host":   {func(d *topo.Topology) { d.Ports[1].Host = "h3" }, []string{"port red-b|host|host h3"}},
		"dangling tenant": {func(d *topo.Topology) { d.Networks[1].Tenant = "rde"; d.Ports[3].Trunk.Native = nil }, []string{"network rde/db|tenant|tenant rde"}},
		"overlapping subnets": {func(d *topo.Topology) { d.Networks[0].Subnets = append(d.Networks[0].Subnets, prefix("10.1.0.0/16")) },
			[]string{"network red/web|subnets.1|network red/web"}},
		"subnet with host bits":   {func(d *topo.Topology) { d.Networks[1].Subnets = []netip.Prefix{prefix("10.1.1.1/24")} }, []string{"network red/db|subnets.0|"}},
		"subnet of everything":    {func(d *topo.Topology) { d.Networks[1].Subnets = []netip.Prefix{prefix("0.0.0.0/0")} }, []string{"network red/db|subnets.0|"}},
		"subnet that is none":     {func(d *topo.Topology) { d.Networks[1].Subnets = []netip.Prefix{{}} }, []string{"network red/db|subnets.0|"}},
		"no answer":               {func(d *topo.Topology) { d.Networks[1].Answer = 2 }, []string{"network red/db|answer|"}},
		"multicast subnet":        {func(d *topo.Topology) { d.Networks[1].Subnets = []netip.Prefix{prefix("239.0.0.0/8")} }, []string{"network red/db|subnets.0|"}},
		"address outside":         {func(d *topo.Topology) { d.Ports[0].Addresses[0] = addr("10.1.2.1") }, []string{"port red-a|addresses.0|network red/web"}},
		"network address":         {func(d *topo.Topology) { d.Ports[0].Addresses[0] = addr("10.1.1.0") }, []string{"port red-a|addresses.0|network red/web"}},
		"broadcast address":       {func(d *topo.Topology) { d.Ports[0].Addresses[0] = addr("10.1.1.255") }, []string{"port red-a|addresses.0|network red/web"}},
		"invalid address":         {func(d *topo.Topology) { d.Ports[0].Addresses[0] = netip.Addr{} }, []string{"port red-a|addresses.0|network red/web"}},
		"address without subnets": {func(d *topo.Topology) { d.Ports[3].Trunk.Native.Addresses = []netip.Addr{addr("10.1.1.1")} }, []string{"port sw|trunk.native.addresses.0|network red/db"}},
		"duplicate address": {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].Addresses = []netip.Addr{addr("10.1.1.1")} },
			[]string{"port sw|trunk.vlans.20.addresses.0|port blue-a"}},
		"duplicate MAC":       {func(d *topo.Topology) { d.Ports[0].MAC, d.Ports[1].MAC = mac, mac }, []string{"port red-b|mac|port red-a"}},
		"same MAC, other net": {func(d *topo.Topology) { d.Ports[0].MAC, d.Ports[2].MAC = mac, mac }, nil},
		"multicast MAC":       {func(d *topo.Topology) { d.Ports[0].MAC = topo.MAC{1} }, []string{"port red-a|mac|"}},
		"VLAN 4095":           {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].VLAN = 4095 }, []string{"port sw|trunk.vlans.4095|"}},
		"VLAN 0":              {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].VLAN = 0 }, []string{"port sw|trunk.vlans.0|"}},
		"VLAN repeated":       {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].VLAN = 10 }, []string{"port sw|trunk.vlans.10|"}},
		"network twice on a trunk": {func(d *topo.Topology) { d.Ports[3].Trunk.VLANs[0].Network = "red/db" },
			[]string{"port sw|trunk.vlans.20|network red/db"}},
		"trunk of nothing":  {func(d *topo.Topology) { d.Ports[3].Trunk = &topo.Trunk{} }, []string{"port sw|trunk|"}},
		"network and trunk": {func(d *topo.Topology) { d.Ports[3].Network = "red/web" }, []string{"port sw|network|"}},
		"no network":        {func(d *topo.Topology) { d.Ports[3].Trunk = nil }, []string{"port sw||"}},
		"name with a slash": {func(d *topo.Topology) { d.Ports[3].Name = "a/b" }, []string{"port a/b|name|"}},
		"empty name":        {func(d *topo.Topology) { d.Ports[3].Name = "" }, []string{"port |name|"}},
		"long name":         {func(d *topo.Topology) { d.Ports[3].Name = strings.Repeat("x", 64) }, []string{"port " + strings.Repeat("x", 64) + "|name|"}},
		"name like a UUID":  {func(d *topo.Topology) { d.Ports[3].Name = "6f66ce1e-3d07-5c3a-9a5e-0fc700000001" }, []string{"port 6f66ce1e-3d07-5c3a-9a5e-0fc700000001|name|"}},
		"netns":             {func(d *topo.Topology) { d.Ports[3].Netns = "../x" }, []string{"port sw|netns|"}},
		"guest":             {func(d *topo.Topology) { d.Ports[3].Netns, d.Ports[3].Guest = "", "a/b" }, []string{"port sw|guest|"}},
		"guest and netns":   {func(d *topo.Topology) { d.Ports[3].Netns, d.Ports[3].Guest = "x", "x" }, []string{"port sw|netns|"}},
		"macs of a host":    {func(d *topo.Topology) { d.Ports[0].MACs = 5 }, []string{"port red-a|macs|"}},
		"too many macs":     {func(d *topo.Topology) { d.Ports[3].MACs = topo.MaxMACs + 1 }, []string{"port sw|macs|"}},
		"interface":         {func(d *topo.Topology) { d.Ports[3].Interface = "a-very-long-name" }, []string{"port sw|interface|"}},
		"TEP twice":         {func(d *topo.Topology) { d.Hosts[1].TEP = d.Hosts[0].TEP }, []string{"host h2|tep|host h1"}},
		"TEP is multicast":  {func(d *topo.Topology) { d.Hosts[1].TEP = addr("224.0.0.1") }, []string{"host h2|tep|"}},
		"UUID twice":        {func(d *topo.Topology) { d.Ports[1].UUID = topo.DeriveUUID("port", "red-a") }, []string{"port red-b|uuid|port red-a"}},
		"key twice":         {func(d *topo.Topology) { d.Networks[1].Encap, d.Networks[1].Key = topo.VXLAN, 7 }, []string{"network red/db|key|network blue/web"}},
		"all at once, sorted": {func(d *topo.Topology) {
			d.Ports[0].MAC = topo.MAC{1}
			d.Hosts[1].TEP = d.Hosts[0].TEP
			d.Networks[2].Key = 1 << 24
		}, []string{"host h2|tep|host h1", "network blue/web|key|", "port red-a|mac|"}},
	} {
		t.Run(name, func(t *testing.T) {
			tp := twoTenants()
			c.wrong(&tp)
			x := topo.Empty().Begin()
			x.Replace(tp)
			_, _, err := x.Commit()
			var got []string
			for _, p := range topo.Problems(err) {
				got = append(got, p.Object+"|"+p.Field+"|"+p.Other)
				if p.What == "" || p.Hint == "" || strings.HasSuffix(p.Hint, ".") {
					t.Errorf("what %q, hint %q", p.What, p.Hint)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q\n%v", got, c.want, err)
			}
		})
	}
}

func TestDeletingWhatIsNeeded(t *testing.T) {
	tp := twoTenants()
	tp.Ports[0].Host = "h1"
	s := replace(t, topo.Empty(), tp)
	got := refused(t, s, func(x *topo.Txn) {
		if err := errorsOf(x.DeleteHost("h1"), x.DeleteTenant("blue"), x.DeleteNetwork("red/db")); err != nil {
			t.Error(err)
		}
	})
	wantIn(t, got, "host h1: port red-a is still declared", "tenant blue: the tenant still has network blue/web", "network red/db: the network still has port sw")
	// All together they may go.
	empty := replace(t, s, topo.Topology{})
	if len(empty.Ports())+len(empty.Networks())+len(empty.Tenants())+len(empty.Hosts()) != 0 || len(empty.Encaps()) != 0 {
		t.Error("something is left")
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestParseMAC(t *testing.T) {
	for s, ok := range map[string]bool{"02:00:00:00:00:aF": true, "02-00-00-00-00-01": true, "02:00-00:00:00:01": false,
		"02:00:00:00:00:0g": false, "02:00:00:00:00:0": false, "": false, "02x00x00x00x00x01": false, "é2:00:00:00:00:1": false} {
		if _, err := topo.ParseMAC(s); (err == nil) != ok {
			t.Errorf("ParseMAC(%q): %v", s, err)
		}
	}
}
