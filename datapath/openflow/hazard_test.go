package openflow_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// What makes Open vSwitch abort is refused, plain and in a bundle, and what is next to
// it works and leaves the switch alive.
func TestHazardsAreRefused(t *testing.T) {
	o := startOVS(t)
	c := o.connect(t, openflow.Options{})
	group := func(id uint32) *flows.Group {
		return &flows.Group{ID: flows.GroupMin + id, Buckets: []flows.Bucket{{Actions: []flows.Action{flows.Output{Port: 1}}, WatchPort: flows.PortAny, WatchGroup: flows.GroupAny}}}
	}
	flow := func(owner uint32, as ...flows.Action) *flows.Flow {
		return &flows.Flow{Table: 1, Priority: 1, Cookie: flows.NewCookie(1, 1, owner), Match: flows.Match{}.With(flows.Reg0, flows.U(uint64(owner))), Apply: as}
	}
	to := func(id uint32) flows.Action { return flows.ToGroup{ID: flows.GroupMin + id} }
	g1, g2 := group(1), group(2)
	do := func(atomic bool, ops ...flows.Op) error {
		return c.Commit(t.Context(), []flows.Step{{Atomic: atomic, Ops: ops}})
	}
	twiceWritten := flow(3, to(1))
	twiceWritten.Write = []flows.Action{to(1)}
	for _, atomic := range []bool{false, true} {
		o.ofctl(t, "del-flows")
		if err := do(atomic, flows.Op{Kind: flows.AddGroup, Group: g1}, flows.Op{Kind: flows.AddGroup, Group: g2}, flows.Op{Kind: flows.AddFlow, Flow: flow(1, to(1), to(2))}); err != nil {
			t.Fatal(err)
		}
		for _, op := range []flows.Op{
			{Kind: flows.AddFlow, Flow: flow(2, to(1), flows.Output{Port: 1}, to(1))},
			{Kind: flows.ModifyFlow, Flow: twiceWritten},
		} {
			err := do(atomic, flows.Op{Kind: flows.AddFlow, Flow: flow(9, to(1))}, op)
			if ce, ok := errors.AsType[*openflow.CommitError](err); !ok || !errors.Is(err, openflow.ErrHazard) || ce.Op != 1 {
				t.Errorf("atomic=%v: a flow that names a group twice: %v", atomic, err)
			}
		}
		// The deletion takes flow 1 along, and the flow behind it is refused by the switch.
		err := do(atomic, flows.Op{Kind: flows.DeleteGroup, Group: g1}, flows.Op{Kind: flows.AddFlow, Flow: flow(4, to(7))})
		if got := errors.Is(err, openflow.ErrHazard); got != atomic || err == nil {
			t.Errorf("atomic=%v: a group deleted before something that fails: %v", atomic, err)
		}
		d, err := c.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 0, true: 1}[atomic]; len(d.Flows) != want {
			t.Errorf("atomic=%v: %d flows, want %d: of a refused step nothing is sent", atomic, len(d.Flows), want)
		}
		// Deletions at the end are no hazard, in whatever number.
		if err := do(atomic, flows.Op{Kind: flows.AddFlow, Flow: flow(5, flows.Output{Port: 1})}, flows.Op{Kind: flows.DeleteGroup, Group: g1}, flows.Op{Kind: flows.DeleteGroup, Group: g2}); err != nil {
			t.Errorf("atomic=%v: %v", atomic, err)
		}
	}
}

// The negative control: without the refusal this very Open vSwitch ends. Should one be
// mended, this says so.
func TestHazardsAreHazards(t *testing.T) {
	for name, do := range map[string]func(o *ovs, ofctl func(...string)){
		"a flow names a group twice": func(o *ovs, ofctl func(...string)) {
			ofctl("add-flow", o.mgmt(), "actions=group:1,group:1")
			ofctl("del-groups", o.mgmt(), "group_id=1")
		},
		"a bundle takes back a group's deletion": func(o *ovs, ofctl func(...string)) {
			ofctl("add-flow", o.mgmt(), "actions=group:1")
			file := filepath.Join(o.dir, "bundle")
			if err := os.WriteFile(file, []byte("group delete group_id=1\nflow add actions=group:7,output:1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ofctl("bundle", o.mgmt(), file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOVS(t)
			o.mayEnd = true
			ofctl := func(args ...string) { // its switch ends under it
				cmd := exec.Command("ovs-ofctl", append([]string{"-OOpenFlow13"}, args...)...)
				cmd.Env = o.env()
				_ = cmd.Run()
			}
			ofctl("add-group", o.mgmt(), "group_id=1,type=all,bucket=actions=output:1")
			do(o, ofctl)
			eventually(t, "end of Open vSwitch (if it has been mended, say in hazard.go since which version)", func() bool {
				c, err := net.Dial("unix", o.mgmt())
				if err == nil {
					c.Close()
				}
				return err != nil
			})
		})
	}
}
