package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestDoctorJudgesDatapath: each state of the bridge's datapath has its result, and what is
// wrong has a command that mends it.
func TestDoctorJudgesDatapath(t *testing.T) {
	for name, c := range map[string]struct {
		datapathState
		result, finding, fix string
	}{
		"kernel":                     {datapathState{runs: true, inUse: "", intended: "system", kernel: true}, resultOK, "kernel's datapath", ""},
		"kernel's cannot be opened":  {datapathState{inUse: "system"}, resultFail, "cannot open the system datapath", "modprobe openvswitch"},
		"userspace cannot":           {datapathState{inUse: "netdev", kernel: true}, resultFail, "does not run", "log"},
		"userspace, as asked":        {datapathState{runs: true, inUse: "netdev", intended: "netdev", kernel: true}, resultOK, "as intended", ""},
		"userspace, unmarked":        {datapathState{runs: true, inUse: "netdev"}, resultOK, "userspace", ""},
		"fall-back":                  {datapathState{runs: true, inUse: "netdev", intended: "system", fallback: "no module"}, resultWarn, "a fall-back: no module", "modprobe openvswitch"},
		"fall-back no more needed":   {datapathState{runs: true, inUse: "netdev", intended: "system", fallback: "no module", kernel: true}, resultWarn, "has it now", "datapath_type=system"},
		"turned":                     {datapathState{runs: true, inUse: "netdev", intended: "system", kernel: true}, resultFail, "made for the kernel's", "datapath_type=system"},
		"turned before it was noted": {datapathState{runs: true, inUse: "netdev", kernel: true}, resultWarn, "although the kernel has one", "br-set-external-id br-int ofctl-lab-datapath netdev"},
	} {
		t.Run(name, func(t *testing.T) {
			d := checkup{bridge: "br-int"}
			d.judgeDatapath(c.datapathState)
			if len(d.findings) != 1 {
				t.Fatalf("%d findings", len(d.findings))
			}
			f := d.findings[0]
			if f.Result != c.result || !strings.Contains(f.Finding, c.finding) || !strings.Contains(f.Fix, c.fix) || (f.Fix == "") != (c.fix == "") {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestDoctorFindsPeers: tunnel endpoints are read off flows and groups, and the next hop off
// what ovs-vswitchd says of its routes.
func TestDoctorFindsPeers(t *testing.T) {
	got := peers(` cookie=0x1, table=60, actions=set_field:192.168.200.21->tun_dst,set_field:0x10000->reg2,goto_table:90
 group_id=5,type=all,bucket=actions=set_field:fd00::2->tun_ipv6_dst,resubmit(,90),bucket=actions=set_field:192.168.200.21->tun_dst
 actions=set_field:999.1.1.1->tun_dst,set_field:192.168.200.9->tun_src,set_field:0x7->tun_id`)
	want := []netip.Addr{netip.MustParseAddr("192.168.200.21"), netip.MustParseAddr("fd00::2")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	peer := netip.MustParseAddr("192.0.2.9")
	for text, hop := range map[string]string{
		"src 192.0.2.1\ngateway 0.0.0.0\ndev br-phy":      "192.0.2.9",
		"src 192.0.2.1\ngateway ::\ndev br-phy":           "192.0.2.9",
		"src 192.0.2.1\ngateway 192.0.2.254\ndev br-phy":  "192.0.2.254",
		"src ::1\ngateway ::ffff:192.0.2.254\ndev br-phy": "192.0.2.254",
		"gateway": "192.0.2.9",
		"":        "192.0.2.9",
	} {
		if got := nextHop(text, peer); got != netip.MustParseAddr(hop) {
			t.Errorf("%q: %s, want %s", text, got, hop)
		}
	}
}
