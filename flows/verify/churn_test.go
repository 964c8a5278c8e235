package verify

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/churn"
)

// churned is an overlay that goes through a random history, with the flows of its hosts
// recompiled from change to change.
type churned struct {
	w     *churn.World
	rand  *rand.Rand // of what is not in w: what is learned, which changes are made at once
	s     *topo.Snapshot
	hosts []string
	flows map[string]*flows.State

	commits, refused, learned, proved int
	reused                            map[string]map[string]bool // networks that had a key
}

func newChurned(t *testing.T, seed uint64) *churned {
	c := &churned{w: churn.New(seed, churn.Size{}), rand: rand.New(rand.NewPCG(seed, 2)), s: topo.Empty(),
		flows: map[string]*flows.State{}, reused: map[string]map[string]bool{}}
	tx := c.s.Begin()
	for _, slot := range c.w.Slots() {
		if name := hostName(slot); !slices.Contains(c.hosts, name) {
			c.hosts = append(c.hosts, name)
			c.flows[name] = flows.NewState(nil)
			tx.ObserveHost(name, tep(slot.Host), [4]uint32{topo.GRE: 10001, topo.VXLAN: 10002, topo.Geneve: 10003})
		}
	}
	if err := c.commit(t, tx); err != nil {
		t.Fatal(err)
	}
	return c
}

func hostName(s churn.Slot) string { return fmt.Sprintf("host%d", s.Host) }

// apply puts changes into a transaction.
func apply(tx *topo.Txn, ops ...churn.Op) (err error) {
	for _, op := range ops {
		switch op := op.(type) {
		case churn.PutTenant:
			tx.PutTenant(topo.Tenant{Name: op.Name})
		case churn.DeleteTenant:
			err = errors.Join(err, tx.DeleteTenant(op.Name))
		case churn.PutNetwork:
			tx.PutNetwork(op.Network)
		case churn.DeleteNetwork:
			err = errors.Join(err, tx.DeleteNetwork(op.Name))
		case churn.PutPort:
			tx.PutPort(op.Port)
		case churn.DeletePort:
			err = errors.Join(err, tx.DeletePort(op.Name))
		case churn.Plug:
			for i, s := range op.Slots {
				at := topo.Binding{Host: hostName(s), OFPort: uint32(1 + s.Interface), Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(s.String()))}
				if op.IfaceIDs[i] == "" {
					tx.Unbind(at.Host, at.Interface)
				} else {
					tx.Bind(op.IfaceIDs[i], at)
				}
			}
		}
	}
	return err
}

// step makes the changes of a step, some at once and others one by one.
func (c *churned) step(t *testing.T, step churn.Step) {
	if c.rand.IntN(3) == 0 {
		tx := c.s.Begin()
		if apply(tx, step.Ops...) == nil && c.commit(t, tx) == nil {
			return
		}
	}
	for _, op := range step.Ops {
		tx := c.s.Begin()
		if err := apply(tx, op); err != nil {
			t.Fatal(err)
		}
		if c.commit(t, tx) == nil {
			continue
		}
		// All hosts have followed; then a key that was given up is free.
		tx = c.s.Begin()
		tx.ReleaseKeys(c.s.Revision())
		if err := apply(tx, op); err != nil {
			t.Fatal(err)
		}
		if err := c.commit(t, tx); err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
}

// commit makes the next snapshot, and holds for every host that what is recompiled is
// what is compiled. The error says that the changes were refused.
func (c *churned) commit(t *testing.T, tx *topo.Txn) error {
	next, _, err := tx.Commit()
	if err != nil {
		c.refused++
		return err
	}
	c.commits++
	for _, h := range c.hosts {
		got, err := pipeline.Recompile(c.flows[h], c.s, next, h)
		if err != nil {
			t.Fatal(err)
		}
		want, err := pipeline.Compile(next, h)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) {
			t.Fatalf("%s: recompiled differs from compiled:\n%s", h, cmp.Diff(text(want), text(got)))
		}
		c.flows[h] = got
	}
	c.s = next
	for _, n := range next.Networks() {
		k := fmt.Sprint(n.Encap, n.Key)
		if c.reused[k] == nil {
			c.reused[k] = map[string]bool{}
		}
		c.reused[k][n.FullName()] = true
	}
	return nil
}

func text(s *flows.State) []string {
	var out []string
	for f := range s.Flows() {
		out = append(out, f.String())
	}
	for g := range s.Groups() {
		out = append(out, g.String())
	}
	slices.Sort(out)
	return out
}

// learn sees a few source MACs at ports that learn them.
func (c *churned) learn(t *testing.T) {
	tx := c.s.Begin()
	for _, p := range c.s.Ports() {
		b := c.s.Bindings(p.Name)
		if p.MACLimit() == 0 || len(b) == 0 || c.rand.IntN(3) > 0 {
			continue
		}
		networks := c.s.SegmentsOn(b[0].Host)
		n := networks[c.rand.IntN(len(networks))].Network
		tx.Learn(topo.Sighting{Network: n.ID, Port: p.ID, Host: b[0].Host, OFPort: b[0].OFPort, MAC: topo.MAC{2, 0xc4, 0, 0, 1, byte(c.rand.IntN(9))}})
	}
	if err := c.commit(t, tx); err != nil {
		t.Fatal(err)
	}
	c.learned += c.s.TotalLearned()
}

// places are who is in which network by the snapshot.
func (c *churned) places() map[churn.Place]string {
	out := map[churn.Place]string{}
	for _, n := range c.s.Networks() {
		for _, m := range c.s.Segment(n.ID).Members {
			at := churn.Place{Slot: churn.Slot{Host: slices.Index(c.hosts, m.Host.Name), Interface: int(m.OFPort) - 1}}
			switch {
			case n.IsWire():
				at.VLAN = churn.AnyVLAN
			case m.Sub != nil:
				at.VLAN = int(m.Sub.VLAN)
			}
			out[at] = n.FullName()
		}
	}
	return out
}

// prove holds that nothing leaks, given who is in which network by the world's own
// bookkeeping.
func (c *churned) prove(t *testing.T) {
	o := Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup, Workers: 2}
	for _, n := range c.s.Networks() {
		o.Networks = append(o.Networks, Network{n.FullName(), n.Encap.String(), uint64(n.Key)})
	}
	places := c.w.Places()
	for i, h := range c.hosts {
		host := Host{Name: h, TEPs: []netip.Addr{tep(i)}, State: c.flows[h]}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			host.Tunnels = append(host.Tunnels, Tunnel{10000 + uint32(e), e.String(), e.String()})
		}
		for _, s := range c.w.Slots() {
			if s.Host != i {
				continue
			}
			p := Port{Number: uint32(1 + s.Interface), Name: s.String()}
			for at, network := range places {
				if at.Slot == s {
					p.Members = append(p.Members, Member{VLAN: uint16(max(at.VLAN, 0)), Wire: at.VLAN == churn.AnyVLAN, Network: network})
				}
			}
			host.Ports = append(host.Ports, p)
		}
		o.Hosts = append(o.Hosts, host)
	}
	if r := verified(t, o); !r.Proved() {
		t.Fatal(show(r))
	}
	c.proved++
}

// TestChurn: LAW: through 10,000 steps in which keys, numbers of ports, VLAN IDs, MACs
// and names are used again by others, what is recompiled is what is compiled, the
// members of networks are those that an independent bookkeeping has, and nothing leaks.
func TestChurn(t *testing.T) {
	t.Parallel()
	const steps, seed = 10_000, 1
	c := newChurned(t, seed)
	kinds := map[string]int{}
	for i := range steps {
		step := c.w.Step()
		kinds[step.Name]++
		c.step(t, step)
		if i%3 == 0 {
			c.learn(t)
		}
		if got, want := c.places(), c.w.Places(); !maps.Equal(got, want) {
			t.Fatalf("seed %d, step %d, %s: the members of networks are not those that were declared and plugged:\n%s", seed, i, step.Name, cmp.Diff(want, got))
		}
		if i%100 == 99 {
			c.prove(t)
		}
	}
	shared := 0
	for _, networks := range c.reused {
		if len(networks) > 1 {
			shared++
		}
	}
	t.Logf("%d steps %v, %d commits, %d refused, %d keys used by more than one network, %d MACs learned, %d states proved", steps, kinds, c.commits, c.refused, shared, c.learned, c.proved)
	if c.refused == 0 || shared < 3*int(c.w.MaxKey()) || c.learned == 0 {
		t.Error("no key was refused, not every one used again, or nothing learned: the history shows too little")
	}
}
