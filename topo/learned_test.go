package topo_test

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// learnt is two switch ports on two hosts and what they have learned.
type learnt struct {
	t *testing.T
	s *topo.Snapshot
}

func newLearnt(t *testing.T, limit int) *learnt {
	tp := twoTenants()
	tp.Ports[3].MACs = limit
	tp.Ports = append(tp.Ports, topo.Port{Name: "sw2", Profile: topo.ProfileSwitch, MACs: limit, Network: "red/web"})
	s := replace(t, topo.Empty(), tp)
	return &learnt{t, commit(t, s, func(x *topo.Txn) {
		x.Bind("sw", bound("h1", 5, 1))
		x.Bind("sw2", bound("h2", 6, 2))
	})}
}

func mac(n byte) topo.MAC { return topo.MAC{2, 0, 0, 0, 0, n} }

// see is the sighting of a MAC at a port where it is bound.
func (l *learnt) see(port, network string, m topo.MAC) topo.Sighting {
	b := l.s.Bindings(port)[0]
	return topo.Sighting{Network: l.s.Network(network).ID, MAC: m, Port: l.s.Port(port).ID, Host: b.Host, OFPort: b.OFPort}
}

func (l *learnt) do(f func(*topo.Txn)) { l.s = commit(l.t, l.s, f) }

func (l *learnt) learn(port, network string, macs ...topo.MAC) {
	l.do(func(x *topo.Txn) {
		for _, m := range macs {
			x.Learn(l.see(port, network, m))
		}
	})
}

// want are the MACs of a port, each with its network.
func (l *learnt) want(port string, macs ...string) {
	l.t.Helper()
	var got []string
	for _, m := range l.s.Learned(port) {
		got = append(got, m.Network.FullName()+" "+m.MAC.String())
	}
	want(l.t, got, macs)
}

func TestLearnMoveUnlearn(t *testing.T) {
	l := newLearnt(t, 0)
	l.learn("sw", "red/web", mac(2), mac(1))
	l.learn("sw", "red/db", mac(1)) // another network: another MAC
	l.want("sw", "red/db "+mac(1).String(), "red/web "+mac(1).String(), "red/web "+mac(2).String())
	was := l.s
	l.learn("sw", "red/web", mac(1))
	if l.s != was {
		t.Error("what is known already made another snapshot")
	}
	l.do(func(x *topo.Txn) {
		x.Learn(l.see("sw2", "red/web", mac(3)))
		x.Unlearn(l.s.Network("red/web").ID, mac(3), l.s.Port("sw2").ID)
	})
	if l.s != was {
		t.Error("what was learned and unlearned made another snapshot")
	}
	l.learn("sw2", "red/web", mac(1))
	l.want("sw", "red/db "+mac(1).String(), "red/web "+mac(2).String())
	l.want("sw2", "red/web "+mac(1).String())
	// One that has moved is not forgotten on the word of where it was.
	l.do(func(x *topo.Txn) { x.Unlearn(l.s.Network("red/web").ID, mac(1), l.s.Port("sw").ID) })
	l.want("sw2", "red/web "+mac(1).String())
	l.do(func(x *topo.Txn) { x.Unlearn(l.s.Network("red/web").ID, mac(1), l.s.Port("sw2").ID) })
	l.want("sw2")
	for _, m := range l.s.Segment(l.s.Network("blue/web").ID).Members {
		if m != was.Segment(l.s.Network("blue/web").ID).Members[0] {
			t.Error("a member in a network where nothing was learned is another one")
		}
	}
}

func TestWhatIsNotLearned(t *testing.T) {
	l := newLearnt(t, 0)
	was := l.s
	web := l.s.Network("red/web")
	good := l.see("sw2", "red/web", mac(1))
	for name, f := range map[string]func(*topo.Sighting){
		"a declared MAC":         func(s *topo.Sighting) { s.MAC = was.Port("red-b").MAC },
		"the port's own MAC":     func(s *topo.Sighting) { s.MAC = was.Port("sw2").MAC },
		"a group address":        func(s *topo.Sighting) { s.MAC = topo.MAC{1} },
		"zero":                   func(s *topo.Sighting) { s.MAC = topo.MAC{} },
		"another host":           func(s *topo.Sighting) { s.Host = "h1" },
		"another number":         func(s *topo.Sighting) { s.OFPort++ },
		"another network":        func(s *topo.Sighting) { s.Network = was.Network("blue/web").ID },
		"no network":             func(s *topo.Sighting) { s.Network = s.Port },
		"no port":                func(s *topo.Sighting) { s.Port = web.ID },
		"a port of profile host": func(s *topo.Sighting) { s.Port = was.Port("red-a").ID },
	} {
		s := good
		f(&s)
		l.do(func(x *topo.Txn) {
			x.Learn(s)
			x.Recall(topo.Sighting{Network: s.Network, MAC: s.MAC, Port: topo.MaxID, Host: s.Host})
		})
		if l.s != was {
			t.Errorf("%s was learned", name)
			l.s = was
		}
	}
}

func TestLimitOfLearning(t *testing.T) {
	l := newLearnt(t, 2)
	l.learn("sw", "red/db", mac(9))
	l.learn("sw", "red/web", mac(1), mac(2), mac(3))
	l.want("sw", "red/db "+mac(9).String(), "red/web "+mac(1).String())
	full := func(want bool) {
		t.Helper()
		for _, n := range []string{"red/web", "red/db", "blue/web"} {
			for _, m := range l.s.Segment(l.s.Network(n).ID).Members {
				if m.Port.Name == "sw" && m.Learned.Full != want {
					t.Errorf("in %s Full is %v", n, m.Learned.Full)
				}
			}
		}
	}
	full(true)
	// A full port does not take a MAC from another; one that gives, has room again.
	l.learn("sw2", "red/web", mac(4))
	l.learn("sw", "red/web", mac(4))
	l.want("sw2", "red/web "+mac(4).String())
	l.learn("sw2", "red/web", mac(1))
	full(false)
	put := func(change func(*topo.Port)) {
		p := *l.s.Port("sw")
		change(&p)
		l.do(func(x *topo.Txn) { x.PutPort(p) })
	}
	l.learn("sw", "red/web", mac(5))
	put(func(p *topo.Port) { p.MACs = 1 })
	l.want("sw", "red/db "+mac(9).String())
	full(true)
	put(func(p *topo.Port) { p.MACs = 3 })
	full(false)
}

func TestLearnedGoesWithItsGround(t *testing.T) {
	for name, f := range map[string]func(*topo.Snapshot, *topo.Txn){
		"unbound":   func(_ *topo.Snapshot, x *topo.Txn) { x.Unbind("h1", iface(1)) },
		"forgotten": func(_ *topo.Snapshot, x *topo.Txn) { x.ForgetHost("h1") },
		"deleted":   func(_ *topo.Snapshot, x *topo.Txn) { _ = x.DeletePort("sw") },
		"of a host": func(s *topo.Snapshot, x *topo.Txn) { p := *s.Port("sw"); p.Profile = topo.ProfileHost; x.PutPort(p) },
		"elsewhere": func(s *topo.Snapshot, x *topo.Txn) {
			p := *s.Port("sw")
			p.Trunk = nil
			p.Network = "red/db"
			x.PutPort(p)
		},
		"declared": func(_ *topo.Snapshot, x *topo.Txn) {
			x.PutPort(topo.Port{Name: "new", Network: "red/web", MAC: mac(1)})
		},
	} {
		l := newLearnt(t, 0)
		l.learn("sw", "red/web", mac(1))
		was := l.s
		l.do(func(x *topo.Txn) { f(was, x) })
		if at := l.s.LearnedAt(was.Network("red/web").ID, mac(1)); at != nil || l.s.TotalLearned() != 0 {
			t.Errorf("%s: still learned at %v", name, at)
		}
	}
	// A port that is bound elsewhere in the same breath keeps what is behind it.
	l := newLearnt(t, 0)
	l.learn("sw", "red/web", mac(1))
	l.do(func(x *topo.Txn) { x.Unbind("h1", iface(1)); x.Bind("sw", bound("h2", 9, 7)) })
	l.want("sw", "red/web "+mac(1).String())
}

func TestRecall(t *testing.T) {
	l := newLearnt(t, 0)
	from := func(port, host string, m topo.MAC) func(*topo.Txn) {
		s := topo.Sighting{Network: l.s.Network("red/web").ID, MAC: m, Port: l.s.Port(port).ID, Host: host}
		return func(x *topo.Txn) { x.Recall(s) }
	}
	one, two, three := "red/web "+mac(1).String(), "red/web "+mac(2).String(), "red/web "+mac(3).String()
	l.do(from("sw", "h1", mac(1)))
	l.want("sw", one)
	l.do(from("sw2", "h2", mac(1))) // moves nothing
	l.want("sw", one)
	l.do(from("sw", "h2", mac(2))) // not where the port is
	l.want("sw", one)
	l.do(func(x *topo.Txn) { x.Bind("sw", bound("h2", 9, 9)) })
	l.do(from("sw", "h2", mac(2))) // a rival is not in effect
	l.want("sw", one)
	l.do(func(x *topo.Txn) {
		p := *l.s.Port("sw")
		p.MigrateTo = "h2"
		x.PutPort(p)
	})
	l.do(from("sw", "h2", mac(2))) // while it migrates, who had it is not known at once
	l.do(from("sw", "h3", mac(3)))
	l.want("sw", one, two)
	l.do(from("sw", "h1", mac(3)))
	l.want("sw", one, two, three)
}
