package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// reachRig is a host with peers, and a clock of its own.
type reachRig struct {
	*testing.T
	*reach
	hosts map[string]*host
	now   time.Time
	over  map[string]way // ways that are not as they were at first, by peer
}

const selfID = topo.ID(500)

// peersNamed are so many peers, each over all three encapsulations.
func peersNamed(n int) (out []pipeline.Peer) {
	for i := range n {
		h := &topo.Host{ID: topo.ID(i + 1), Name: fmt.Sprintf("peer%d", i+1), TEP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			out = append(out, pipeline.Peer{Host: h, Encap: e})
		}
	}
	return out
}

func newReachRig(t *testing.T, peers ...pipeline.Peer) *reachRig {
	r := &reachRig{T: t, reach: newReach(), hosts: map[string]*host{}, now: time.Now(), over: map[string]way{}}
	r.lists(peers...)
	return r
}

func (r *reachRig) lists(peers ...pipeline.Peer) { r.follow(selfID, peers, r.host) }

func (r *reachRig) host(name string) *host {
	if r.hosts[name] == nil {
		r.hosts[name] = newHost(name)
	}
	return r.hosts[name]
}

var selfTEP = netip.MustParseAddr("10.9.9.9")

func (r *reachRig) turn() turn {
	return r.round(r.now, selfID, func(p *pair) way {
		if w, ok := r.over[p.Host.Name]; ok {
			return w
		}
		return way{from: selfTEP, to: p.Host.TEP, out: 1000 + uint32(p.Encap), in: 2000 + uint32(p.Encap)}
	})
}

// answer is an answer to a probe, as it should be.
func (r *reachRig) answer(p probe) (bool, reachState) {
	return r.answered(r.host(p.to.Host.Name), p.Probe, p.way.in, selfTEP, r.now)
}

func (r *reachRig) must(p probe) {
	r.Helper()
	if believed, _ := r.answer(p); !believed {
		r.Errorf("the answer to %+v was not believed", p)
	}
}

// one is the only probe of a turn.
func (r *reachRig) one() probe {
	r.Helper()
	t := r.turn()
	if len(t.probes) != 1 {
		r.Fatalf("%d probes, want 1: %+v", len(t.probes), t)
	}
	return t.probes[0]
}

// A pair that answers is probed at once and then each ten seconds.
func TestProbesOfFewPeers(t *testing.T) {
	r := newReachRig(t, peersNamed(1)...)
	first := r.turn()
	if len(first.probes) != 3 || first.blind || first.wait != probeTimeout {
		t.Fatalf("%+v", first)
	}
	for _, p := range first.probes {
		r.must(p)
	}
	if n := r.turn(); len(n.probes) != 0 || n.wait != probeInterval {
		t.Errorf("when all is up to date: %+v", n)
	}
	r.now = r.now.Add(probeInterval)
	if n := r.turn(); len(n.probes) != 3 {
		t.Errorf("after %s: %+v", probeInterval, n)
	}
	if all, pass := r.count(); all != 3 || pass != 3 {
		t.Errorf("%d of %d pass", pass, all)
	}
}

// However many peers there are, and whether they answer or not, a host sends at most 16
// probes in a second, and every peer has its turn before any has the next: one probe if it
// answers, and those that make it unreachable if not.
func TestProbesOfManyPeersAreBounded(t *testing.T) {
	for _, answering := range []bool{true, false} {
		r := newReachRig(t, peersNamed(1000)...)
		sent := map[pipeline.Peer]int{}
		var second []int
		each, rounds := 1, 3000/probesPerRound
		if !answering {
			each = 1 + probeTries
			rounds = rounds*each + 2*probeTries*int(probeTimeout/probeRound)
		}
		for range rounds {
			n := r.turn()
			for _, s := range n.suspects {
				r.lost(s)
			}
			if len(r.unanswered) > 100 {
				t.Fatalf("%d pairs wait to be tried again", len(r.unanswered))
			}
			if len(n.probes) > probesPerRound || n.wait < probeRound && len(n.probes) == probesPerRound {
				t.Fatalf("%d probes, the next ones after %s", len(n.probes), n.wait)
			}
			for _, p := range n.probes {
				sent[p.to]++
				if answering {
					r.must(p)
				}
			}
			second = append(second, len(n.probes))
			r.now = r.now.Add(probeRound)
		}
		if len(r.pairs) != 3000 || len(sent) != 3000 {
			t.Errorf("%d of %d pairs were probed", len(sent), len(r.pairs))
		}
		for peer, n := range sent {
			if n < each || answering && n != each {
				t.Fatalf("%s over %s was probed %d times, want %d", peer.Host.Name, peer.Encap, n, each)
			}
		}
		if n := len(r.known(reachLost)); !answering && n != 3000 {
			t.Errorf("%d of 3000 are unreachable", n)
		}
		for i := range len(second) - 3 {
			if n := second[i] + second[i+1] + second[i+2] + second[i+3]; n > 16 {
				t.Fatalf("%d probes in a second", n)
			}
		}
	}
}

// One broken way among thousands is found a few seconds after its turn in the rotation.
func TestOneOfManyIsFoundSoon(t *testing.T) {
	peers := peersNamed(1000)
	r := newReachRig(t, peers...)
	broken := peers[1500]
	var first time.Time
	for range 2 * len(peers) / probesPerRound {
		n := r.turn()
		for _, p := range n.probes {
			if p.to != broken {
				r.must(p)
			} else if first.IsZero() {
				first = r.now
			}
		}
		if len(n.suspects) > 0 {
			if took := r.now.Sub(first); n.suspects[0].Peer != broken || took > probeWindow+probeRound {
				t.Errorf("%+v is suspect %s after its first probe", n.suspects[0], took)
			}
			return
		}
		r.now = r.now.Add(probeRound)
	}
	t.Error("it was not found")
}

// All hosts together send one no more probes than its meter lets through.
func TestProbesToOneHostAreBounded(t *testing.T) {
	var rigs []*reachRig
	busy := newHost("peer1")
	for range 200 {
		r := newReachRig(t)
		r.hosts["peer1"] = busy
		r.lists(peersNamed(1)...)
		rigs = append(rigs, r)
	}
	n := 0
	for s := range 5 {
		for range time.Second / probeRound {
			for _, r := range rigs {
				n += len(r.turn().probes)
				r.now = r.now.Add(probeRound)
			}
		}
		if all := probesReceived * (s + 1); n < all || n > all+probesReceived {
			t.Errorf("%d probes in %d seconds, want %d and those that may come at once", n, s+1, all)
		}
	}
}

// Three probes in a row without an answer make a peer suspect, and one answer makes it good.
func TestLostAndHealed(t *testing.T) {
	r := newReachRig(t, peersNamed(1)[0])
	for n := range probeTries {
		r.one()
		if n := r.turn(); len(n.probes)+len(n.suspects) != 0 || n.wait != probeTimeout {
			t.Errorf("before the answer is overdue: %+v", n)
		}
		if got := len(r.known(reachLost)); got != 0 {
			t.Errorf("%d unreachable after %d probes", got, n+1)
		}
		r.now = r.now.Add(probeTimeout)
	}
	n := r.turn()
	if len(n.suspects) != 1 || len(n.probes) != 1 {
		t.Fatalf("%+v", n)
	}
	if !r.lost(n.suspects[0]) || len(r.known(reachLost)) != 1 {
		t.Error("the suspect is not unreachable")
	}
	r.now = r.now.Add(probeTimeout)
	if n := r.turn(); len(n.suspects) != 0 || len(n.probes) != 1 {
		t.Errorf("an unreachable peer: %+v", n)
	}
	if believed, before := r.answer(n.probes[0]); !believed || before != reachLost || len(r.known(reachPasses)) != 1 {
		t.Error("an answer did not heal it")
	}
}

// An answer that comes while the switches are asked whether they are alive counts.
func TestAnswerBeforeTheVerdict(t *testing.T) {
	r := newReachRig(t, peersNamed(1)[0])
	var n turn
	for range probeTries + 1 {
		n = r.turn()
		r.now = r.now.Add(probeTimeout)
	}
	r.must(n.probes[0])
	if len(n.suspects) != 1 || r.lost(n.suspects[0]) {
		t.Errorf("unreachable in spite of an answer: %+v", n)
	}
}

// What is not the answer that was waited for proves nothing.
func TestForgedAnswers(t *testing.T) {
	peers := peersNamed(2)
	r := newReachRig(t, peers[0], peers[3])
	probes := r.turn().probes
	p, other := probes[0], probes[1]
	at := r.host(p.to.Host.Name)
	nonce, to := p.Probe, p.Probe
	nonce.Nonce[15]++
	to.To = other.To
	for what, believed := range map[string]func() (bool, reachState){
		"another nonce":        func() (bool, reachState) { return r.answered(at, nonce, p.way.in, selfTEP, r.now) },
		"no nonce":             func() (bool, reachState) { return r.answered(at, pipeline.Probe{To: p.To}, p.way.in, selfTEP, r.now) },
		"another peer's nonce": func() (bool, reachState) { return r.answered(at, to, p.way.in, selfTEP, r.now) },
		"at another host":      func() (bool, reachState) { return r.answered(r.host("peer2"), p.Probe, p.way.in, selfTEP, r.now) },
		"by another tunnel":    func() (bool, reachState) { return r.answered(at, p.Probe, p.way.in+1, selfTEP, r.now) },
		"from another host":    func() (bool, reachState) { return r.answered(at, p.Probe, p.way.in, p.way.to, r.now) },
		"too late":             func() (bool, reachState) { return r.answered(at, p.Probe, p.way.in, selfTEP, r.now.Add(probeWindow+1)) },
	} {
		if b, _ := believed(); b {
			t.Errorf("an answer with, or that came, %s was believed", what)
		}
	}
	r.must(p)
	if b, _ := r.answer(p); b {
		t.Error("a nonce was believed twice")
	}
	if len(r.known(reachPasses)) != 1 {
		t.Error("one pair passes, by one answer")
	}
}

// Each probe has a nonce of its own, and the last few count: a slow answer is one.
func TestNonces(t *testing.T) {
	r := newReachRig(t, peersNamed(1)[0])
	var all []probe
	for range probeTries + 2 {
		all = append(all, r.one())
		r.now = r.now.Add(probeTimeout)
	}
	for i, p := range all {
		if slices.ContainsFunc(all[:i], func(q probe) bool { return q.Nonce == p.Nonce }) || p.Nonce == (pipeline.Nonce{}) {
			t.Errorf("nonce %x was used before", p.Nonce)
		}
	}
	if b, _ := r.answer(all[0]); b {
		t.Error("a probe that was given up is believed")
	}
	r.must(all[len(all)-2])
}

// What was known of a peer goes with the peer, with its address and with its session.
func TestWhatIsKnownGoesWithTheWay(t *testing.T) {
	peers := peersNamed(2)
	r := newReachRig(t, peers[0], peers[3])
	for _, p := range r.turn().probes {
		r.must(p)
	}
	r.lists(peers[3])
	if all, pass := r.count(); all != 1 || pass != 1 {
		t.Errorf("%d of %d pass after a peer has left, want 1 of 1", pass, all)
	}
	r.over["peer2"] = way{}
	if n := r.turn(); !n.blind || len(n.probes) != 0 || n.wait <= 0 {
		t.Errorf("a peer that cannot be judged: %+v", n)
	}
	if _, pass := r.count(); pass != 0 {
		t.Error("a peer passes that cannot be judged")
	}
	delete(r.over, "peer2")
	p := r.one() // at once
	r.over["peer2"] = way{from: selfTEP, in: p.way.in, out: 77}
	q := r.one()
	if b, _ := r.answer(p); b {
		t.Error("an answer by a way that is no more was believed")
	}
	r.must(q)
	r.forget()
	if all, _ := r.count(); all != 0 {
		t.Error("pairs are left")
	}
}
