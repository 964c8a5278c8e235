package pipeline

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func TestFormatOptions(t *testing.T) {
	o := FormatOptions(
		func(id topo.ID) string { return map[topo.ID]string{7: "red/web"}[id] },
		func(p uint32) string { return map[uint32]string{3: "red-a", 101: "gre0"}[p] })
	for _, c := range []struct{ raw, want string }{
		{"tun_id=0xf4241,in_port=101 actions=set_field:0x7->reg0,set_field:0x1->reg1,goto_table:10",
			"tun_id=1000001,in_port=gre0 actions=set_field:red/web->network,set_field:tunnel->origin,goto_table:spoof_guard"},
		{"reg0=0x7,in_port=3 actions=set_field:0x3->reg2,goto_table:90",
			"network=red/web,in_port=red-a actions=set_field:red-a->egress,goto_table:output"},
		{"reg0=0x7,reg1=0,reg2=0x10000 actions=set_field:0xf4241->tun_id,output:101",
			"network=red/web,origin=local,egress=tunnel actions=set_field:1000001->tun_id,output:gre0"},
		// What has no name stays a number: of a network its ID, as in cookies.
		{"reg0=0x9,reg2=0x4,in_port=4 actions=output:NXM_NX_REG2[]", "network=9,egress=4,in_port=4 actions=output:egress[]"},
		// A mask is no name.
		{"reg0=0x7/0xff actions=drop", "network=0x7/0xff actions=drop"},
		{"actions=move:OXM_OF_IN_PORT[0..15]->NXM_NX_REG2[0..15],load:0->OXM_OF_IN_PORT[0..15]",
			"actions=move:OXM_OF_IN_PORT[0..15]->egress[0..15],load:0->OXM_OF_IN_PORT[0..15]"},
	} {
		f, err := flows.ParseFlow(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Format(o); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.raw, got, c.want)
		}
	}
	group := flows.Group{ID: GroupBase | 7, Buckets: []flows.Bucket{
		{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.ToGroup{ID: GroupBase | 2<<24 | 7}}},
		{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.ToGroup{ID: 1}}},
	}}
	if got, want := group.Format(o), "group_id=red/web,type=all,bucket=actions=group:red/web#2,bucket=actions=group:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
