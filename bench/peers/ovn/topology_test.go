package ovn

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// outline writes operations as "insert p1", "delete row of red" and so on, in their order.
func outline(t *testing.T, ops []operation) []string {
	t.Helper()
	var lines []string
	for _, op := range ops {
		text, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Op        string
			Where     [][3]json.RawMessage
			Row       struct{ Name string }
			Mutations [][3]json.RawMessage
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		line := got.Op + " " + got.Row.Name
		for _, w := range got.Where {
			line += string(w[2])
		}
		for _, m := range got.Mutations {
			line += " " + string(m[1]) + " " + string(m[2])
		}
		lines = append(lines, strings.ReplaceAll(line, `"`, ""))
	}
	return lines
}

// held is the contents after a topology was applied: the row of p1 is "row-p1".
func held(t overlay.Topology) contents {
	ops, c := contents{}.to(t)
	var results []result
	for _, op := range ops {
		results = append(results, result{UUID: [2]string{"uuid", "row-" + op["row"].(row)["name"].(string)}})
	}
	c.learn(ops, results)
	return c
}

func TestTransactionsLeadToTheTopology(t *testing.T) {
	topology := func(networks string, ports ...overlay.Port) overlay.Topology {
		t := overlay.Topology{Ports: ports}
		for _, n := range strings.Fields(networks) {
			t.Networks = append(t.Networks, overlay.Network{Name: n})
		}
		return t
	}
	p := func(id int, network string) overlay.Port { return overlay.Port{ID: id, Network: network} }
	for name, c := range map[string]struct {
		from, to overlay.Topology
		want     []string
	}{
		"nothing changes": {topology("red", p(1, "red")), topology("red", p(1, "red")), nil},
		"all new": {topology(""), topology("red", p(1, "red")),
			[]string{"insert p1", "insert red"}},
		"one port more": {topology("red", p(1, "red")), topology("red", p(1, "red"), p(2, "red")),
			[]string{"insert p2", "mutate [uuid,row-red] insert [set,[[named-uuid,port2]]]"}},
		"one port less": {topology("red", p(1, "red"), p(2, "red")), topology("red", p(2, "red")),
			[]string{"mutate [uuid,row-red] delete [set,[[uuid,row-p1]]]"}},
		"a port moves": {topology("red blue", p(1, "red")), topology("red blue", p(1, "blue")),
			[]string{"insert p1", "mutate [uuid,row-red] delete [set,[[uuid,row-p1]]]", "mutate [uuid,row-blue] insert [set,[[named-uuid,port1]]]"}},
		"a network goes with its ports": {topology("red blue", p(1, "red"), p(2, "blue")), topology("blue", p(2, "blue")),
			[]string{"delete [uuid,row-red]"}},
		"all goes": {topology("red", p(1, "red")), topology(""), []string{"delete [uuid,row-red]"}},
	} {
		t.Run(name, func(t *testing.T) {
			ops, next := held(c.from).to(c.to)
			if diff := cmp.Diff(c.want, outline(t, ops)); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			var names []string
			for name := range next.ports {
				names = append(names, name)
			}
			slices.Sort(names)
			var want []string
			for _, p := range c.to.Ports {
				want = append(want, p.Name())
			}
			if fmt.Sprint(names) != fmt.Sprint(want) {
				t.Errorf("ports %v, want %v", names, want)
			}
		})
	}
}
