package sim_test

import (
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialled is a session with a switch that dialled a controller over TCP.
func dialled(t *testing.T, sw *sim.Switch, o openflow.Options) *openflow.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- sw.Dial(t.Context(), "tcp", l.Addr().String()) }()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := openflow.Connect(t.Context(), nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		sw.Disconnect()
		<-served
	})
	return c
}

func TestPortsAreAnnounced(t *testing.T) {
	sw := sim.New(7)
	got := make(chan openflow.PortStatus, 3)
	c := dialled(t, sw, openflow.Options{OnPortStatus: func(s openflow.PortStatus) { got <- s }})
	tap := ofp13.PortDesc{Number: 5, Name: "tap5"}
	for _, change := range []func() error{
		func() error { return sw.SetPort(tap) }, func() error { return sw.SetPort(tap) }, func() error { return sw.DeletePort(5) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []ofp13.PortReason{ofp13.PortAdd, ofp13.PortModify, ofp13.PortDelete} {
		if s := <-got; s.Reason != want || s.Port != tap {
			t.Errorf("got %+v, want %v", s, want)
		}
	}
	if err := sw.DeletePort(5); err == nil {
		t.Error("a port deleted twice")
	}
	ps, err := c.Ports(t.Context())
	if err != nil || len(ps) != 1 || ps[0].Number != flows.PortLocal {
		t.Errorf("ports %+v, %v", ps, err)
	}
}

func TestWhatOthersDoIsForeign(t *testing.T) {
	sw := sim.New(7)
	c := dialled(t, sw, openflow.Options{})
	mine, foreign := &flows.Flow{Cookie: flows.NewCookie(1, 1, 1), Priority: 1}, &flows.Flow{Cookie: 5, Priority: 2}
	for _, op := range []flows.Op{
		{Kind: flows.AddFlow, Flow: mine}, {Kind: flows.AddFlow, Flow: foreign}, {Kind: flows.AddGroup, Group: &flows.Group{ID: 3}},
	} {
		if err := sw.Do(op); err != nil {
			t.Fatal(err)
		}
	}
	if err := sw.Do(flows.Op{Kind: flows.AddGroup, Group: &flows.Group{ID: 3}}); !errors.Is(err, &ofp13.Error{Type: ofp13.ErrGroupModFailed}) {
		t.Errorf("a group added twice: %v", err)
	}
	if !sw.Hit(mine.Key(), 10, 600) || sw.Hit((&flows.Flow{Table: 9}).Key(), 1, 1) {
		t.Error("packets counted where there is no flow, or not where there is one")
	}
	d, err := c.Dump(t.Context())
	if err != nil || len(d.Flows) != 1 || d.Flows[0].Packets != 10 || d.ForeignFlows != 1 || d.ForeignGroups != 1 || len(d.Groups) != 0 {
		t.Errorf("dump %+v, %v", d, err)
	}
}

func TestARestartForgetsAndHangsUp(t *testing.T) {
	sw := sim.New(7)
	c := dialled(t, sw, openflow.Options{})
	err := c.Commit(t.Context(), []flows.Step{{Ops: []flows.Op{{Kind: flows.AddFlow, Flow: &flows.Flow{Priority: 1}}}}})
	if err != nil || sw.State().NumFlows() != 1 || sw.Counts().Mods() != 1 {
		t.Fatalf("%v, %d flows", err, sw.State().NumFlows())
	}
	sw.Restart()
	<-c.Done()
	if sw.State().NumFlows() != 0 {
		t.Error("flows survived a restart")
	}
}
