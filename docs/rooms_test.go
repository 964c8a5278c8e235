// Package docs holds the tests that keep the documentation true.
package docs

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

const module = "github.com/ofctl-lab/ofctl-lab/"

// rule says that packages below From may not import anything below Deny,
// except below Except.
type rule struct {
	From, Deny, Except string
	Why                string
}

// The import rules of docs/architecture.md. Tests are held to them too, except
// that those of a room may use the rooms they test against.
var rules = []rule{
	{"topo", "flows", "", "the overlay knows no OpenFlow"},
	{"topo", "datapath", "", "the overlay knows no switch"},
	{"topo", "controller", "", "rooms build on topo, not the other way round"},
	{"flows", "topo", "flows/pipeline", "only the pipeline knows both the overlay and OpenFlow"},
	{"flows", "datapath", "", "the algebra is pure"},
	{"flows", "controller", "", "the algebra is pure"},
	{"datapath", "topo", "", "a switch is programmed without knowing what for"},
	{"datapath", "flows/pipeline", "", "a switch is programmed without knowing what for"},
	{"datapath", "controller", "", "the datapath does not decide"},
	{"topo", "bench", "", "what is measured does not know its benchmarks"},
	{"flows", "bench", "", "what is measured does not know its benchmarks"},
	{"datapath", "bench", "", "what is measured does not know its benchmarks"},
	{"controller", "bench", "", "what is measured does not know its benchmarks"},
	{"bench", "cmd", "", "cmd drives the benchmarks, not the other way round"},
	{"bench/harness", "bench/suite", "", "the harness knows no benchmark"},
	{"controller/explain", "controller", "", "what a packet does is explained without a controller"},
	{"controller/explain", "datapath", "", "what a packet does is explained without a switch"},
	{"controller/explain", "log", "", "an explanation is returned, not logged"},
	{"controller", "cmd", "", "people drive the controller, not the other way round"},
	{"", "github.com/contiv/libOpenflow", "datapath/openflow/ofp13", "one room knows libOpenflow's traps"},
	{"", "github.com/ovn-kubernetes/libovsdb", "datapath/ovsdb", "one room knows libovsdb's traps"},
	{"", "github.com/digitalocean/go-openvswitch", "datapath/ovsctl", "one room knows go-openvswitch's traps"},
	{"", "github.com/digitalocean/go-libvirt", "datapath/libvirt", "one room knows go-libvirt's traps"},
	{"topo", "log", "", "no logging below the controller: errors are returned"},
	{"flows", "log", "", "no logging below the controller: errors are returned"},
	{"flows", "time", "", "the algebra has no clock"},
	{"topo", "time", "", "the overlay has no clock"},
	{"flows", "sync", "", "the algebra has no locks"},
	{"", "flows/pipeline/cases", "flows/pipeline/cases", "what the features are tested with is for tests"},
	{"", "datapath/need", "datapath/libvirt/libvirttest", "what tests need of a machine is for tests"},
	{"flows/verify", "flows/pipeline", "", "the verifier judges what a switch holds, whoever compiled it"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestRooms(t *testing.T) {
	need.Have(t, need.Go())
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	packages := 0
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages++
		for _, imp := range p.Imports {
			for _, r := range rules {
				if r.breaks(p.ImportPath, imp) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, r.Why)
				}
			}
		}
	}
	if packages < 10 {
		t.Fatalf("saw only %d packages", packages)
	}
}

func (r rule) breaks(from, imp string) bool {
	room := strings.TrimPrefix(from, module)
	if r.From != "" && !below(room, r.From) || r.Except != "" && below(room, r.Except) {
		return false
	}
	target := strings.TrimPrefix(imp, module)
	if imp == target && !strings.Contains(r.Deny, ".") {
		// A standard package: only rules that name it say anything.
		return imp == r.Deny || strings.HasPrefix(imp, r.Deny+"/") && r.Deny == "log"
	}
	return below(target, r.Deny)
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestRulesCanFail(t *testing.T) {
	for _, c := range []struct {
		from, imp string
		breaks    bool
	}{
		{module + "topo", module + "flows", true},
		{module + "topo/file", module + "flows", true},
		{module + "flows", module + "topo", true},
		{module + "flows/pipeline", module + "topo", false},
		{module + "datapath/lab", module + "topo", true},
		{module + "datapath/sim", module + "flows", false},
		{module + "cmd/ofctl-lab", "github.com/contiv/libOpenflow/openflow13", true},
		{module + "datapath/openflow/ofp13", "github.com/contiv/libOpenflow/openflow13", false},
		{module + "flows", "log/slog", true},
		{module + "flows", "time", true},
		{module + "flows", "strings", false},
		{module + "flows/trace", module + "flows/pipeline/cases", true},
		{module + "cmd/ofctl-lab", module + "flows/pipeline/cases", true},
		{module + "datapath/lab", module + "datapath/need", true},
		{module + "datapath/libvirt/libvirttest", module + "datapath/need", false},
	} {
		got := false
		for _, r := range rules {
			got = got || r.breaks(c.from, c.imp)
		}
		if got != c.breaks {
			t.Errorf("%s imports %s: breaks a rule = %v, want %v", c.from, c.imp, got, c.breaks)
		}
	}
}
