package controller

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// raws are the flows of a dump as text, sorted.
func raws(d *api.FlowDump) []string {
	var out []string
	for _, f := range d.Flows {
		out = append(out, f.Raw)
	}
	slices.Sort(out)
	return out
}

func TestPlannedFlowsAreWhatTheSwitchGets(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	read, err := r.client.Flows(r.ctx(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	planned, err := r.client.PlannedFlows(r.ctx(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Flows) == 0 || !slices.Equal(raws(read), raws(planned)) || len(read.Groups) != len(planned.Groups) {
		t.Errorf("%d flows and %d groups are planned, %d and %d in the switch", len(planned.Flows), len(planned.Groups), len(read.Flows), len(read.Groups))
	}
	if !slices.ContainsFunc(planned.Ports, func(p api.SwitchPort) bool { return p.Number == 1 && p.Name == "v-red-a" && !p.Down }) {
		t.Errorf("ports of the host: %+v", planned.Ports)
	}
	// The one has what somebody else does to the switch, the other has not.
	if err := s1.Do(flows.Op{Kind: flows.AddFlow, Flow: &flows.Flow{Priority: 7}}); err != nil {
		t.Fatal(err)
	}
	if read, err = r.client.Flows(r.ctx(), "host1"); err != nil || slices.Equal(raws(read), raws(planned)) {
		t.Errorf("a foreign flow is not read: %v", err)
	}
}

// A frame that is sent as a port's goes through the tables as the guest's would: with
// the port's addresses it arrives, with others it is dropped.
func TestSendIsGuarded(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	port := func(n uint32) {
		if err := s1.SetPort(ofp13.PortDesc{Number: n, Name: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	port(1)
	port(1001)
	s1.SetTunnel(1001, &trace.Tunnel{Encap: "gre"})
	r.until(func() string {
		return r.portIs("red-a", api.StateUp)()
	})
	got := make(chan []byte, 4)
	s1.Attach(1001, func(frame []byte, via *trace.Via) {
		if via == nil || via.Key != 1000001 {
			t.Errorf("not by the network's tunnel: %+v", via)
		}
		got <- bytes.Clone(frame)
	})
	mac := r.c.engine.load().Port("red-a").MAC
	broadcast, err := hex.DecodeString("ffffffffffff" + hex.EncodeToString(mac[:]) + "0800" +
		"4500001c0001000040110000" + "0a010101" + "ffffffff" + "0044004300080000")
	if err != nil {
		t.Fatal(err)
	}
	spoofed := bytes.Clone(broadcast)
	spoofed[11] ^= 1
	for _, frame := range [][]byte{spoofed, broadcast} {
		sent, err := r.client.Send(r.ctx(), "red-a", frame)
		if err != nil || sent.Host != "host1" || sent.OFPort != 1 {
			t.Fatalf("sent: %+v, %v", sent, err)
		}
	}
	// The barrier behind each frame says that the switch is through with it.
	if len(got) != 1 || !bytes.Equal(<-got, broadcast) {
		t.Errorf("%d frames went into the tunnel, want the one with the port's own MAC", len(got))
	}
}

func TestSendSaysWhatIsMissing(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	status := func(err error) int {
		p := &api.Problem{}
		if !errors.As(err, &p) {
			return 0
		}
		return p.Status
	}
	frame := make([]byte, 60)
	if _, err := r.client.Send(r.ctx(), "red-z", frame); status(err) != http.StatusNotFound {
		t.Errorf("a port that is not declared: %v", err)
	}
	if _, err := r.client.Send(r.ctx(), "red-a", frame[:13]); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("a frame without an Ethernet header: %v", err)
	}
	r.show("host1", "192.168.200.20")
	r.until(r.portIs("red-a", api.StateDown))
	if _, err := r.client.Send(r.ctx(), "red-a", frame); status(err) != http.StatusConflict {
		t.Errorf("a port that is bound nowhere: %v", err)
	}
}
