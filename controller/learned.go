package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// learning is how many source MACs a port has learned; nil for a port that learns
// none, and for the end of a wire, which looks at no MAC.
func (v *view) learning(p *topo.Port) *api.Learning {
	limit := p.MACLimit()
	if n := v.model.Network(p.Network); limit == 0 || n != nil && n.IsWire() {
		return nil
	}
	return &api.Learning{Count: v.model.NumLearned(p), Limit: limit, Full: v.model.MACsFull(p)}
}

// learnedMACs are the source MACs that a port has learned.
func (v *view) learnedMACs(p *topo.Port) []api.LearnedMAC {
	bindings := v.model.Bindings(p.Name)
	if len(bindings) == 0 {
		return nil
	}
	h, held := v.c.hosts.find(bindings[0].Host), v.c.moves.held(time.Now())
	var out []api.LearnedMAC
	for _, l := range v.model.Learned(p.Name) {
		key := learnedKey{l.Network.ID, l.MAC}
		_, stays := held[key]
		m := api.LearnedMAC{MAC: l.MAC.String(), Network: l.Network.FullName(), VLAN: l.VLAN, Held: stays}
		if h != nil {
			if t := h.usage.last(key).UTC().Truncate(time.Millisecond); !t.IsZero() {
				m.LastSeen = &t
			}
		}
		out = append(out, m)
	}
	return out
}

// fullPorts are the ports that have learned as many source MACs as they may, by name.
func (v *view) fullPorts() []*topo.Port {
	var out []*topo.Port
	if v.model.TotalLearned() == 0 {
		return nil
	}
	for _, p := range v.model.Ports() {
		if v.model.MACsFull(p) {
			out = append(out, p)
		}
	}
	return out
}

// maxLearningProblems bounds the list of a status, since tenants can make it long.
const maxLearningProblems = 20

// learningProblems is what is wrong with what is learned.
func (v *view) learningProblems() []string {
	var out []string
	for _, p := range v.fullPorts() {
		out = append(out, fmt.Sprintf("port %s has learned the %d source MACs it may; frames from others are dropped (mac-limit). Look for a flood behind it, or raise its macs", p.Name, p.MACLimit()))
	}
	var held []string
	for key, m := range v.c.moves.held(time.Now()) {
		_, network, _ := v.model.ObjectByID(key.network)
		_, stays, _ := v.model.ObjectByID(m.stays)
		_, claims, _ := v.model.ObjectByID(m.claims)
		held = append(held, fmt.Sprintf("MAC %s of network %s moves between ports all the time, and stays at %s though %s sends from it. Look for a loop, or for two stations with one address", key.mac, network, stays, claims))
	}
	slices.SortFunc(held, strings.Compare)
	out = append(out, held...)
	if n := len(out) - maxLearningProblems; n > 0 {
		out = append(out[:maxLearningProblems], fmt.Sprintf("and %d more ports or MACs like these", n))
	}
	return out
}
