package verify

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

type tunnelKey struct {
	encap string
	key   uint64
}

// verifier is what all hosts have in common. It does not change while they are done.
type verifier struct {
	o     *Overlay
	names map[string]int32
	byKey map[tunnelKey]int32
	teps  map[netip.Addr]*Host
	sites map[*Host]*site
}

func (v *verifier) byName(s string) int32 {
	if n, ok := v.names[s]; ok {
		return n
	}
	return nobody
}

// Verify proves the overlay, or finds what is wrong with it. What it does for a host is
// bounded; what is left then is a doubt. The error says what is wrong with o itself,
// names or tunnel endpoints that are there twice, or that ctx has ended.
func Verify(ctx context.Context, o Overlay) (*Report, error) {
	rep := &Report{}
	v, err := newVerifier(&o, rep)
	if err != nil {
		return nil, err
	}
	found := v.explore(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &confirmer{v: v}
	for _, f := range found {
		rep.Hosts++
		rep.Flows += f.site.h.State.NumFlows()
		rep.Ingresses += f.ingresses
		rep.Classes += f.classes
		for _, why := range f.doubts {
			rep.Doubts = append(rep.Doubts, Doubt{f.site.h.Name, why})
		}
		if err := c.confirm(ctx, rep, f); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(rep.Violations, func(a, b Violation) int { return int(a.Kind) - int(b.Kind) })
	return rep, nil
}

// newVerifier looks o up and down, and reports where it contradicts itself.
func newVerifier(o *Overlay, rep *Report) (*verifier, error) {
	v := &verifier{o: o, names: map[string]int32{}, byKey: map[tunnelKey]int32{}, teps: map[netip.Addr]*Host{}, sites: map[*Host]*site{}}
	for i, n := range o.Networks {
		if _, twice := v.names[n.Name]; twice {
			return nil, fmt.Errorf("verify: network %s is given twice", n.Name)
		}
		v.names[n.Name] = int32(i)
		k := tunnelKey{n.Encap, n.Key}
		if other, twice := v.byKey[k]; twice {
			rep.Violations = append(rep.Violations, Violation{Kind: Membership,
				What: fmt.Sprintf("networks %s and %s both have key %d in %s", o.Networks[other].Name, n.Name, n.Key, n.Encap)})
		}
		v.byKey[k] = int32(i)
	}
	hosts := map[string]bool{}
	for i := range o.Hosts {
		h := &o.Hosts[i]
		if hosts[h.Name] {
			return nil, fmt.Errorf("verify: host %s is given twice", h.Name)
		}
		hosts[h.Name] = true
		for _, a := range h.TEPs {
			if other := v.teps[a.Unmap()]; other != nil {
				return nil, fmt.Errorf("verify: hosts %s and %s both have tunnel endpoint %s", other.Name, h.Name, a)
			}
			v.teps[a.Unmap()] = h
		}
		s, bad := v.newSite(h)
		v.sites[h] = s
		rep.Violations = append(rep.Violations, bad...)
	}
	return v, nil
}

// finding is what was found on one host.
type finding struct {
	site      *site
	ingresses int
	classes   int
	doubts    []string
	list      []*suspicion
	x         *explorer
}

// explore does all hosts that have a State, some at a time, and returns them in order.
func (v *verifier) explore(ctx context.Context) []finding {
	var hosts []*Host
	for i := range v.o.Hosts {
		if h := &v.o.Hosts[i]; h.State != nil {
			hosts = append(hosts, h)
		}
	}
	found := make([]finding, len(hosts))
	next, done := make(chan int), make(chan bool)
	workers := min(max(1, v.o.Workers), max(1, len(found)))
	for range workers {
		go func() {
			x := &explorer{}
			for i := range next {
				f := v.host(ctx, x, hosts[i])
				if len(f.list) > 0 {
					x = &explorer{}
				} else {
					f.x = nil
				}
				found[i] = f
			}
			done <- true
		}()
	}
	for i := range found {
		next <- i
	}
	close(next)
	for range workers {
		<-done
	}
	return found
}

// host does a host with an explorer, which the finding needs only if there is
// something to confirm.
func (v *verifier) host(ctx context.Context, x *explorer, h *Host) finding {
	x.begin(h, v.o)
	s := v.sites[h]
	v.ingresses(x, s)
	x.run(ctx)
	u := newSuspects(v, s, x)
	u.look()
	f := finding{site: s, x: x, classes: x.classes, doubts: x.order, list: u.list}
	for i := range x.ingresses {
		if x.ingresses[i].state.flags&nested == 0 { // it is a part of the one before
			f.ingresses++
		}
	}
	return f
}

// network is all switches for the interpreter.
func (v *verifier) network() (*trace.Network, error) {
	var hosts []trace.Host
	for i := range v.o.Hosts {
		h := &v.o.Hosts[i]
		if h.State == nil {
			continue
		}
		c := trace.Config{Name: h.Name, Version: h.OpenVSwitch, State: h.State, Unread: h.Unread}
		for _, t := range h.Tunnels {
			c.Ports = append(c.Ports, trace.Port{Number: t.Number, Name: t.Name, Tunnel: &trace.Tunnel{Encap: t.Encap}})
		}
		for n, p := range v.sites[h].places {
			c.Ports = append(c.Ports, trace.Port{Number: n, Name: p.port.Name})
		}
		s, err := trace.New(c)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		hosts = append(hosts, trace.Host{Name: h.Name, Switch: s, TEPs: h.TEPs})
	}
	return trace.NewNetwork(hosts...)
}
