package controller

import (
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// A wire is declared, read, exported and planned as such over the interface.
func TestWireOverTheInterface(t *testing.T) {
	c := newCable(t, testConfig(t.TempDir()))
	want := api.NetworkSpec{Tenant: "t", Name: "v", Type: "wire", Encap: "vxlan", Key: 77, Carrier: "propagate"}
	if _, err := c.client.PutNetwork(c.ctx(), want); err != nil {
		t.Fatal(err)
	}
	n, err := c.client.Network(c.ctx(), "t/v")
	if err != nil || n.Type != want.Type || n.Carrier != want.Carrier || n.Status.MTU != 0 && n.Status.MTU != 1442 {
		t.Errorf("%+v, %v", n, err)
	}
	if text := c.c.engine.load().topologyText(); !strings.Contains(text, "name: v, type: wire, encap: vxlan, key: 77, carrier: propagate") {
		t.Errorf("the topology is\n%s", text)
	}
	for _, wrong := range []func(*api.NetworkSpec){
		func(n *api.NetworkSpec) { n.Type = "bus" },
		func(n *api.NetworkSpec) { n.Carrier = "loud" },
		func(n *api.NetworkSpec) { n.Type = "overlay" }, // which has no carrier
	} {
		n := want
		wrong(&n)
		if _, err := c.client.PutNetwork(c.ctx(), n); err == nil {
			t.Errorf("%+v was accepted", n)
		}
	}
	if _, err := c.client.PutPort(c.ctx(), api.PortSpec{Name: "e", Network: "t/w"}); err == nil ||
		!strings.Contains(err.Error(), "port a and port b") {
		t.Errorf("a third port: %v", err)
	}
	overlay := strings.Replace(oneWire, "{name: w, type: wire, encap: gre, carrier: propagate}", "{name: w, encap: gre}", 1)
	p, err := c.client.Plan(c.ctx(), api.TopologyBody{Name: "test.yaml", Text: overlay})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, ch := range p.Changes {
		said += ch.Name + ": " + strings.Join(ch.Fields, "; ") + "\n"
	}
	if !p.Interrupted || !strings.Contains(said, "type: wire → overlay; carrier: propagate → ignore") {
		t.Errorf("the plan is %+v\n%s", p, said)
	}
}
