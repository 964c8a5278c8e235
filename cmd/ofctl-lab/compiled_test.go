package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// compiled writes for every host of a topology file, to HOST.flows, what dump-flows
// --raw and then --groups print once every port is where the file wants it. The overlay
// had another tenant before, so that its numbers are not those of the file alone.
func compiled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: compiled FILE")
	}
	f, err := file.Parse(args[0], []byte(ts.ReadFile(args[0])))
	ts.Check(err)
	tx := topo.Empty().Begin()
	tx.PutTenant(topo.Tenant{Name: "former"})
	base, _, err := tx.Commit()
	ts.Check(err)
	s, _, err := file.Check(f, base)
	ts.Check(err)
	tx = s.Begin()
	for _, h := range s.Hosts() {
		tx.ObserveHost(h.Name, h.TEP, [4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
	}
	for i, p := range s.Ports() {
		if p.Host != "" {
			tx.Bind(p.Name, topo.Binding{Host: p.Host, OFPort: uint32(i + 1), Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.Name))})
		}
	}
	s, _, err = tx.Commit()
	ts.Check(err)
	for _, h := range s.Hosts() {
		state, err := pipeline.Compile(s, h.Name)
		ts.Check(err)
		var b strings.Builder
		for f := range state.Flows() {
			fmt.Fprintln(&b, f)
		}
		for g := range state.Groups() {
			fmt.Fprintln(&b, g)
		}
		ts.Check(os.WriteFile(ts.MkAbs(h.Name+".flows"), []byte(b.String()), 0o600))
	}
}
