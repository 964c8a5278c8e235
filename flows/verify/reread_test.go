package verify

import (
	"strings"
	"testing"
)

// extensions plant each action that the pipeline does not use, with harm in it: it is found,
// or it is said by name that nothing is proved. None is passed over.
var extensions = []planted{
	{name: "a part to another tenant", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=output(port=2,max_len=100)"},
	{name: "a part to a port of its own", want: "proved",
		text: "table=60,priority=500,reg0=RED,reg1=0,in_port=3,dl_dst=02:00:00:00:99:99 actions=output(port=1,max_len=100)"},
	{name: "a clone", want: "doubt", says: "clone(output:2) is not reasoned about",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=clone(output:2)"},
	{name: "a clone in a group", want: "proved", // which does not do it: a bucket is a set
		text: "group_id=RG,type=all,bucket=actions=output:1,bucket=actions=clone(output:2)"},
	{name: "labels on", want: "doubt isolation", says: "push_mpls:0x8847 is not reasoned about",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=push_mpls:0x8847,output:2"},
	{name: "labels off", want: "doubt isolation", says: "pop_mpls:0x0800 is not reasoned about",
		text: "table=60,priority=500,reg0=RED,mpls,dl_dst=02:00:00:00:99:99 actions=pop_mpls:0x0800,output:2"},
	{name: "a label's TTL", want: "doubt isolation", says: "dec_mpls_ttl is not reasoned about",
		text: "table=60,priority=500,reg0=RED,mpls,dl_dst=02:00:00:00:99:99 actions=dec_mpls_ttl,output:2"},
	{name: "by a label", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,mpls,mpls_label=5,dl_dst=02:00:00:00:99:99 actions=output:2"},
	{name: "by the stack", want: "doubt", says: "push:NXM_NX_REG4[] is not reasoned about",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=set_field:BLUE->reg4,push:NXM_NX_REG4[],pop:NXM_NX_REG0[],goto_table:70"},
	{name: "by its length", want: "doubt", says: "check_pkt_larger(100)->NXM_NX_REG5[0] is not reasoned about",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=check_pkt_larger(100)->NXM_NX_REG5[0],goto_table:61\ntable=61,priority=1,reg5=1 actions=output:2"},
	{name: "what a controller resumes", want: "doubt", says: "what the controller lets become",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=controller(pause)"},
	{name: "a copy to a controller", want: "proved",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=controller(id=3,userdata=01)"},
	{name: "what does nothing", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,tcp,dl_dst=02:00:00:00:99:99 actions=note:01,set_queue:1,fin_timeout(idle_timeout=5),pop_queue,output:2"},
	{name: "in front of an exit", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=output:2,exit"},
	{name: "behind a dec_ttl with IDs", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,ip,dl_dst=02:00:00:00:99:99 actions=dec_ttl(1,2),output:2"},
	{name: "by an address that nat gives", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,ip,nw_src=10.9.9.9,dl_dst=02:00:00:00:99:99 actions=ct(commit,nat(src=10.8.8.8),table=61)\ntable=61,ip,nw_src=10.8.8.8 actions=output:2"},
	{name: "by an address of nat that a select group reads", want: "doubt", says: "to port 2",
		text: "table=60,priority=500,reg0=RED,ip,nw_src=10.9.9.9,dl_dst=02:00:00:00:99:99 actions=ct(commit,nat(src=10.8.8.8)),group:7\n" +
			"group_id=7,type=select,bucket=weight:1,actions=resubmit(,61)\ntable=61,ip,nw_src=10.8.8.8 actions=output:2"},
	{name: "by a tag that a select group reads", want: "doubt", says: "to port 2",
		text: "table=60,priority=500,reg0=RED,ip,dl_dst=02:00:00:00:99:99 actions=push_vlan:0x8100,push_vlan:0x8100,group:7\n" +
			"group_id=7,type=select,bucket=weight:1,actions=resubmit(,61)\ntable=61,dl_type=0x8100 actions=set_field:0->vlan_tci,output:2"},
	{name: "by a tag that the tracker reads", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,ip,dl_dst=02:00:00:00:99:99 actions=push_vlan:0x8100,push_vlan:0x8100,ct(table=61)\n" +
			"table=61,dl_type=0x8100 actions=set_field:0->vlan_tci,output:2"},
}

func TestNoExtensionIsPassedOver(t *testing.T) {
	for _, p := range extensions {
		t.Run(p.name, func(t *testing.T) {
			r := verified(t, plant(t, p))
			got := summary(r)
			if len(r.Doubts) > 0 && got != "doubt" {
				got = "doubt " + got
			}
			// What is found may leave a doubt about other packets.
			if got != p.want && got != "doubt "+p.want {
				t.Fatalf("got %s, want %s: %s", got, p.want, show(r))
			}
			if !strings.Contains(show(r), p.says) {
				t.Errorf("nothing says %q: %s", p.says, show(r))
			}
		})
	}
}
