package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// example is a fenced block of shell commands in a document.
type example struct {
	where string
	text  string
}

// examples are the ```sh blocks of a document in order.
func examples(t *testing.T, path string) []example {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	var block []string
	start := 0
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case start == 0 && line == "```sh":
			start, block = i+1, nil
		case start != 0 && line == "```":
			out = append(out, example{fmt.Sprintf("%s:%d", path, start), strings.Join(block, "\n")})
			start = 0
		case start != 0:
			block = append(block, line)
		}
	}
	return out
}

const labUp = "ofctl-lab lab up configs/topologies/two-hosts.yaml"

var makeLine = regexp.MustCompile(`(?m)^make(?: ([a-z-]+))?$`)

// The README's examples run as they stand, in order, in a checkout with the lab
// up. What `make lab` does apart from installing is done first; that the named
// targets exist is checked by hand, since a test cannot run make test.
func TestReadme(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var run []example
	for _, e := range examples(t, "../README.md") {
		if makeLine.MatchString(e.text) {
			for _, m := range makeLine.FindAllStringSubmatch(e.text, -1) {
				if !strings.Contains(string(makefile), "\n"+m[1]+":") {
					t.Errorf("%s: there is no target %q", e.where, m[1])
				}
			}
			continue
		}
		run = append(run, e)
	}
	if len(run) < 6 {
		t.Fatalf("only %d blocks to run", len(run))
	}
	m := newMachine(t)
	m.run(labUp)
	m.run("ofctl-lab lab demo")
	for _, e := range run {
		out, err := m.try(e.text)
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s", e.where, err, e.text, out)
		}
		t.Logf("%s\n%s", e.where, out)
	}
	m.run("ofctl-lab lab down")
}

// explained is what the blocks of the explanations need and do.
var explained = map[string]struct {
	before string // what a reader has done by then
	host   string // on which it is typed; empty if it is beside the controller
	after  string // what must come true
}{
	"ofctl-lab trace red-a icmp,nw_dst=10.1.1.2":                           {after: "ofctl-lab trace red-a icmp,nw_dst=10.1.1.2 | grep 'forwarded to red-b on host2'"},
	"ofctl-lab trace red-a icmp,nw_src=10.1.1.9,nw_dst=10.1.1.2 --minimal": {after: "ofctl-lab trace red-a icmp,nw_src=10.1.1.9,nw_dst=10.1.1.2 --minimal | grep 'differs: it takes nw_src=10.1.1.1'"},
	"ofctl-lab verify": {after: "ofctl-lab verify | grep '^isolated: '"},
	"ovs-vsctl add-port br-int tap7 -- set Interface tap7 external_ids:iface-id=red-b": {
		before: `ofctl-lab lab unplug red-b
ofctl-lab lab exec host2 -- sh -c 'ip link add tap7 type veth peer name guest7 && ip link set tap7 up && ip link set guest7 up'`,
		host:  "host2",
		after: `ofctl-lab get port red-b | grep -E '^red-b +up +host2'`,
	},
	"ovs-vsctl del-port tap7": {
		host:  "host2",
		after: `ofctl-lab get port red-b | grep -E '^red-b +down'`,
	},
}

// The explanations' examples run as they stand, in order; what they promise
// comes true without another command.
func TestExplanations(t *testing.T) {
	files, err := filepath.Glob("explanation/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no explanations: %v", err)
	}
	var run []example
	seen := map[string]bool{}
	for _, file := range append(files, "architecture.md") {
		for _, e := range examples(t, file) {
			if _, ok := explained[e.text]; !ok {
				t.Errorf("%s: say in the table explained how this is run:\n%s", e.where, e.text)
				continue
			}
			run, seen[e.text] = append(run, e), true
		}
	}
	for text := range explained {
		if !seen[text] {
			t.Errorf("no explanation has this example, which the table explained has:\n%s", text)
		}
	}
	m := newMachine(t)
	m.run(labUp)
	for _, e := range run {
		how := explained[e.text]
		m.run(how.before)
		if how.host == "" {
			m.run(e.text)
		} else {
			m.run("ofctl-lab lab exec " + how.host + " -- " + e.text)
		}
		m.until(how.after)
	}
	m.run("ofctl-lab lab down")
}

// howTo is how the blocks of a page are run.
type howTo struct {
	before string // what a reader has done before the first block
	// libvirt is the host of the lab on which the blocks are typed, and which has libvirt; empty
	// if they are typed beside the controller.
	libvirt string
	then    map[string]string // what comes true after the block that has a text
	after   string
}

var howTos = map[string]howTo{
	"how-to/isolation.md": {
		before: labUp,
		then:   map[string]string{"actions=output": "{ ofctl-lab verify || [ $? = 3 ]; } | grep '^isolation is broken on host1: '"},
		after:  "ofctl-lab lab down",
	},
	"how-to/underlay.md": {
		before: "OFCTL_LAB_BRIDGE_DATAPATH_TYPE=netdev " + labUp,
		then: map[string]string{
			"ofctl-lab doctor": "{ ofctl-lab lab exec host1 -- ofctl-lab doctor || [ $? = 1 ]; } | grep '^fail *underlay'",
			"sh -ec": "ofctl-lab lab exec host1/red-a -- ping -c 1 -W 1 10.1.1.2 && " +
				"ofctl-lab lab exec host1 -- ofctl-lab doctor | grep '^ok *underlay'",
		},
		after: "ofctl-lab lab down",
	},
	"how-to/veos.md": {},
	"how-to/wires.md": {
		before: "ofctl-lab lab up configs/topologies/wire.yaml",
		then: map[string]string{
			"lab unplug leaf2-et2": "ofctl-lab get port leaf2-et2 | grep -E '^leaf2-et2 +up'",
			"link set et1 down":    "ofctl-lab describe port leaf2-et1 | grep 'Held down:.*port leaf1-et1, the other end of wire fabric/cable1, has no link'",
			"link set et1 up":      "ofctl-lab get port leaf2-et1 | grep -E '^leaf2-et1 +up'",
		},
		after: "ofctl-lab lab down",
	},
	"how-to/libvirt.md": {
		before:  "ofctl-lab lab up configs/topologies/libvirt.yaml",
		libvirt: "kvm1",
		then: map[string]string{
			"guest start vm1":    vm1Answers,
			"virsh start vm1":    vm1Answers,
			"guest undefine vm1": "ofctl-lab get port vm1-eth0 | grep -E '^vm1-eth0 +down'",
		},
		after: "ofctl-lab lab down",
	},
}

const vm1Answers = "ofctl-lab lab exec kvm2/red-b -- ping -c 1 -W 1 10.1.1.11"

// The how-tos' examples run as they stand, in order.
func TestHowTos(t *testing.T) {
	files, err := filepath.Glob("how-to/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no how-tos: %v", err)
	}
	for _, file := range files {
		how, ok := howTos[file]
		run := examples(t, file)
		if !ok || len(run) == 0 {
			t.Errorf("%s: say in the table howTos how this is run; it has %d blocks to run", file, len(run))
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			m := newMachine(t)
			m.run(how.before)
			prefix := ""
			if how.libvirt != "" {
				if !m.startLibvirt(how.libvirt) {
					m.run(how.after)
					t.SkipNow()
				}
				prefix = "ofctl-lab lab exec " + how.libvirt + " -- bash -eu -o pipefail -c "
			}
			checked := 0
			for _, e := range run {
				script := e.text
				if prefix != "" {
					script = prefix + quoted(script)
				}
				out, err := m.try(script)
				if err != nil {
					t.Errorf("%s: %v\n%s\n%s", e.where, err, e.text, out)
				}
				t.Logf("%s\n%s", e.where, out)
				for text, check := range how.then {
					if strings.Contains(e.text, text) {
						m.until(check)
						checked++
					}
				}
			}
			if checked != len(how.then) {
				t.Errorf("%d of %d checks were made: the page has changed", checked, len(how.then))
			}
			m.run(how.after)
		})
	}
}
