package suite

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// The benchmark comes to a sample of every peer at its smallest size.
func TestInterpreterAtItsSmallest(t *testing.T) {
	needSwitch(t)
	r, err := harness.Measure(t.Context(), Interpreter(), harness.Options{Rounds: 2, Size: harness.Size{Smallest: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Peers) != 3*len(packetKinds) {
		t.Errorf("peers: %+v", r.Peers)
	}
	for _, p := range r.Peers {
		if p.Missing != "" || len(p.Samples) != 2 || p.Samples[0].Value <= 0 || p.Samples[0].Detail[cpuPerTrace] <= 0 {
			t.Errorf("%s: %s, samples %+v", p.Name, p.Missing, p.Samples)
		}
	}
	for _, c := range r.Comparisons {
		if c.Verdict == harness.NotMeasured {
			t.Errorf("%s: %s", c.Claim(), c.Why)
		}
	}
}

// A packet that does not become what it should fails the sample.
func TestInterpreterSeesWhatIsWrong(t *testing.T) {
	in := exampleInterpreting(t)
	for _, k := range packetKinds {
		if _, err := in.sample(k, trace.Options{}, 1)(t.Context()); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	p, err := trace.NewPacket(in.from.port, in.frame(kindLocal))
	if err != nil {
		t.Fatal(err)
	}
	hop, err := in.net.Trace(in.here.name, p, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []packetKind{kindTunnel, kindDrop} {
		if in.check(k, hop) == nil {
			t.Errorf("a packet that arrives on the same host counts as one of another kind: %s", k)
		}
	}
	thief := *in.from
	thief.addr = in.near.addr
	in.from = &thief
	if _, err := in.sample(kindLocal, trace.Options{}, 1)(t.Context()); err == nil {
		t.Error("a packet that is dropped counts as one that arrives")
	}
}

func exampleInterpreting(t *testing.T) *interpreting {
	t.Helper()
	c, err := compileOverlay(extent{2, 6, 60})
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInterpreting(c)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// The real switch holds the flows of both hosts, and its answers are held against what they should be.
func TestOracleIsHeldToItsAnswers(t *testing.T) {
	needSwitch(t)
	o := &oracle{in: exampleInterpreting(t)}
	defer func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := o.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range packetKinds {
		if _, err := o.sample(k, 1)(t.Context()); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	o.ports[nearPort], o.ports[farPort] = o.ports[farPort], o.ports[nearPort]
	for _, k := range []packetKind{kindLocal, kindTunnel} {
		if _, err := o.sample(k, 1)(t.Context()); err == nil {
			t.Errorf("%s: an answer with another port is taken", k)
		}
	}
}
