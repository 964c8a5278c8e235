package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// step runs one example of the commands' help.
type step struct {
	example string
	before  string // what a reader has done by then
	onHost  bool   // it is typed on host1, not beside the controller
	libvirt bool   // it needs host1's libvirt, and the image of make guest-image
	typed   string // what is typed then, as printf takes it
	ready   string // it runs in the foreground: what it says when it can be interrupted
	fails   bool   // it is to fail
	want    string // what its output, standard error included, has to match
	after   string // what has to succeed then
}

// steps run every example of the commands' help on one machine, in an order
// that makes sense of them: no lab, a lab, its hosts, and its end.
var steps = []step{
	{example: "ofctl-lab version", want: `(?m)^go: +go1`},
	{example: "ofctl-lab version -o json", want: `"go":`},
	{example: "ofctl-lab plan --check configs/topologies/two-hosts.yaml", want: `two-hosts.yaml`},
	{example: "ofctl-lab guest xml veos1 -f configs/topologies/veos.yaml", want: `<target dev="hdc" bus="ide"/>`},
	{example: "ofctl-lab guest xml --network", want: `<virtualport type="openvswitch"/>`},
	{example: "ofctl-lab guest xml vm1 -f configs/topologies/veos.yaml --accel tcg", want: `<domain type="qemu">`},
	{example: "ofctl-lab guest accel", want: `(?m)^(kvm|tcg)$`},
	{example: "ofctl-lab guest import --domain configs/libvirt/veos1.xml --network configs/libvirt/ovs-net.xml",
		want: `network: imported/mgmt, mac: "52:54:00:11:00:01"`},
	{example: "ofctl-lab guest import --domain configs/libvirt/veos1.xml --network configs/libvirt/ovs-net.xml --tenant red --encap vxlan --host kvm1 --tep 192.0.2.11",
		want: `trunk: \{native: red/mgmt, vlans: \{10: red/vlan-10, 20: red/vlan-20\}\}`},
	{example: "ofctl-lab controller", ready: "controller ready", want: `controller stopped`},
	{example: "ofctl-lab controller --config /etc/ofctl-lab/ofctl-lab.yaml --log-level debug",
		before: "mkdir -p /etc/ofctl-lab && cp configs/controller.yaml /etc/ofctl-lab/ofctl-lab.yaml",
		ready:  "controller ready", want: `controller stopped`, after: "rm -r /etc/ofctl-lab"},

	{example: "ofctl-lab doctor --probe", want: `(?m)^source NAT +yes +yes `, after: `test -z "$(ls /run/netns)"`},

	{example: "ofctl-lab bench list", want: `(?m)^flows-per-port +.* at most 12 `},
	{example: "ofctl-lab bench list -o wide", want: `(?m)^flow-programming: `},
	{example: "ofctl-lab bench run flows-per-port --smallest --out before", want: `(?m)^2 of 2 aims reached`, after: "test -s before/flows-per-port.svg"},
	{example: "ofctl-lab bench run flows-per-port --scale 5 --out after -o json", want: `"scale": 5,`, after: `test -z "$(ls /run/netns)"`},
	{example: "ofctl-lab bench compare before after", want: `no difference that can be told`},
	{example: "ofctl-lab bench compare before/flows-per-port.json after/flows-per-port.json -o json", want: `"verdict": "no difference`},

	{example: labUp, want: `(?m)^sw1-et1 +up +host1`},
	{example: "ofctl-lab lab list", want: `(?m)^two-hosts +up +2 +5`},
	{example: "ofctl-lab lab status", want: `(?m)^host1 .* running +running`},
	{example: "ofctl-lab lab status --lab two-hosts -o json", want: `"running": true`},
	{example: "ofctl-lab lab demo", want: `(?m)^ok +red/web .* gre key 1000001`},
	{example: "ofctl-lab lab exec host1/red-a -- ping -c 1 10.1.1.2", want: `1 received`},
	{example: "ofctl-lab lab exec host1 -- ovs-vsctl show", want: `Bridge br-int`},

	{example: "ofctl-lab get ports", want: `(?m)^red-b +up +host2`},
	{example: "ofctl-lab get networks -o wide", want: `(?m)^red/web +overlay +gre +1000001`},
	{example: "ofctl-lab get host host1 -o json", want: `"tep": "192.168.200.20"`},
	{example: "ofctl-lab describe port red-a", want: `(?m)^spoofed-mac `},
	{example: "ofctl-lab describe network red/web", want: `(?m)^Tunnel key: +1000001`},
	{example: "ofctl-lab describe host host1 -o yaml", want: `(?m)^name: host1`},
	{example: "ofctl-lab dump-flows host1", want: `(?m)^table 0 classify`},
	{example: "ofctl-lab dump-flows host1 --port red-a", want: `network=red/web,in_port=red-a`},
	{example: "ofctl-lab dump-flows --drops", want: `(?s)host1: .*spoofed-mac.*host2: .*spoofed-mac`},
	{example: "ofctl-lab dump-flows host1 --table l2_dst -o wide", want: `COOKIE`},
	{example: "ofctl-lab dump-flows host1 --raw --groups", want: `(?m)^group_id=[0-9]+,type=all,bucket=`},
	{example: "ofctl-lab dump-flows host1 --raw", want: `(?m)^cookie=0x[0-9a-f]+, table=10, priority=`},

	{example: "ofctl-lab trace red-a icmp,nw_dst=10.1.1.2", want: `(?s)→ gre key 1000001 to 192\.168\.200\.21 \(host2\).*forwarded to red-b on host2`},
	{example: "ofctl-lab trace red-a arp,arp_tpa=10.1.1.2 --detailed", want: `forwarded to red-a on host1`},
	{example: "ofctl-lab trace red-a icmp,nw_src=10.1.1.9,nw_dst=10.1.1.2 --minimal", want: `(?s)dropped on host1: spoofed-ipv4.*nearest: .*nw_src=10\.1\.1\.1 `},
	{example: "ofctl-lab trace sw1-et1 icmp,dl_vlan=10,nw_src=10.1.1.8,nw_dst=10.1.1.2 --planned", want: `forwarded to red-b on host2`},
	{example: "ofctl-lab trace red-a --frame ffffffffffff0200000000010806 -o json", want: `"feature": "spoofed-mac"`},
	{example: "ofctl-lab trace red-a icmp,nw_dst=10.1.1.2 --live", want: `(?m)^  \+[1-9][0-9]* +host2 sent by port red-b$`},
	{example: "ofctl-lab trace red-a icmp,nw_dst=10.1.1.2 -f configs/topologies/two-hosts.yaml --dump host1=host1.flows --dump host2=host2.flows",
		before: "for h in host1 host2; do (ofctl-lab dump-flows $h --raw; ofctl-lab dump-flows $h --raw --groups) > $h.flows; done",
		want:   `forwarded to red-b on host2`, after: "rm host1.flows host2.flows"},

	{example: "ofctl-lab verify", want: `(?m)^isolated: 3 networks on host1, host2$`},
	{example: "ofctl-lab verify host1 -o json", want: `"verdict": "isolated"`},
	{example: "ofctl-lab verify --planned", want: `(?m)^  isolation +holds `},
	{example: "ofctl-lab verify -f configs/topologies/two-hosts.yaml --dump host1=host1.flows --dump host2=host2.flows",
		before: "for h in host1 host2; do (ofctl-lab dump-flows $h --raw; ofctl-lab dump-flows $h --raw --groups) > $h.flows; done",
		want:   `(?m)^isolated: 3 networks on host1, host2$`, after: "rm host1.flows host2.flows"},

	{example: "ofctl-lab plan configs/topologies/two-hosts.yaml", want: `nothing to change`},
	{example: "ofctl-lab lab unplug red-b", want: `unplugged from host2`},
	{example: "ofctl-lab lab plug red-b", want: `red-b is up on host2`},
	{example: "ofctl-lab lab plug red-b --ofport 77", before: "ofctl-lab lab unplug red-b", want: `red-b is up on host2 as OpenFlow port 77`},
	{example: "ofctl-lab lab move red-b host1", want: `red-b is up on host1`},
	{example: "ofctl-lab lab move red-b host2 --live", want: `(?s)went over in .*red-b is up on host2`,
		after: "ofctl-lab lab exec host1/red-a -- ping -c 1 10.1.1.2 && ofctl-lab get port red-b | grep host2"},
	{example: "ofctl-lab migrate red-b --to host1", want: `red-b may migrate to host1`},
	{example: "ofctl-lab migrate red-b --abort", want: `red-b may not migrate any more`},
	{example: "ofctl-lab migrate red-b --to any --wait --timeout 5s", fails: true, want: `(?s)red-b is up on host2.*has not migrated.*--abort`},
	{example: "ofctl-lab delete port red-b", want: `port red-b deleted`},
	{example: "ofctl-lab delete network red/mgmt", before: "ofctl-lab delete port sw1-et1", want: `network red/mgmt deleted`},
	{example: "ofctl-lab apply configs/topologies/two-hosts.yaml", want: `(?m)^add +network +red/mgmt`},
	{example: "ofctl-lab apply --wait 0 configs/topologies/two-hosts.yaml", want: `nothing to change`},

	{example: "ofctl-lab doctor", onHost: true, want: `(?m)^ok +fail mode`},
	{example: "ofctl-lab doctor -o json", onHost: true, want: `"check": "fail mode"`},
	{example: "ofctl-lab attach --network red/web --netns web1 --address 10.1.1.7", onHost: true, want: `port web1 is up`,
		after: "ofctl-lab lab exec host1/red-a -- ping -c 1 10.1.1.7"},
	{example: "ofctl-lab attach --restore", before: "ip netns delete web1", onHost: true, want: `port web1: eth0 in namespace web1 is attached again`,
		after: "ofctl-lab lab exec host1/red-a -- ping -c 50 -i 0.2 10.1.1.7"}, // some of them may come before its flows
	{example: "ofctl-lab detach --netns web1", onHost: true, want: `port web1 deleted`, after: "ip netns delete web1"},
	{example: "ofctl-lab attach --network red/web --tap --port vm1", onHost: true, want: `vm1`},
	{example: "ofctl-lab detach --port vm1 --keep", onHost: true, want: `vm1`, after: "ofctl-lab get port vm1 | grep down"},

	{example: "ofctl-lab guest import veos1 --tenant red", libvirt: true, want: `(?s)warning: domain veos1:1: .*red/mgmt, vlans: \{10: red/vlan-10`,
		before: `sed "s/type='kvm'/type='qemu'/" configs/libvirt/veos1.xml > veos1.xml && virsh net-define configs/libvirt/ovs-net.xml && virsh define veos1.xml`,
		after:  "virsh undefine veos1 && virsh net-undefine ovs-net"},
	{example: "ofctl-lab guest define --network", onHost: true, libvirt: true, want: `network ofctl-lab: defined and active, on bridge br-int`},
	{example: "ofctl-lab guest define vm1 -f configs/topologies/veos.yaml", onHost: true, libvirt: true, want: `guest vm1: defined`},
	{example: "ofctl-lab guest start vm1", onHost: true, libvirt: true, want: `guest vm1: started`},
	{example: "ofctl-lab guest status", onHost: true, libvirt: true, want: `(?m)^vm1 +running +(kvm|qemu) `},
	{example: "ofctl-lab guest status vm1 -o json", onHost: true, libvirt: true, want: `"tap": "t-vm1-eth0"`},
	{example: "ofctl-lab guest console vm1 --take", typed: `\035`, onHost: true, libvirt: true, want: `console of vm1 has ended`},
	{example: "ofctl-lab guest stop vm1 --wait 5s --force", onHost: true, libvirt: true, want: `guest vm1: stopped`},
	{example: "ofctl-lab guest undefine vm1", onHost: true, libvirt: true, want: `guest vm1 and network ofctl-lab: undefined`},

	{example: "ofctl-lab lab down two-hosts", want: `two-hosts is gone`, after: `test -z "$(ls /run/netns)"`},
	{example: "ofctl-lab lab up --keep-on-failure --timeout 2m configs/topologies/two-hosts.yaml", want: `is up after`},
	{example: "ofctl-lab host join-command host3 --tep 192.168.200.22 --controller 192.168.200.1", want: `ovs-vsctl .*192\.168\.200\.22`},
	// The machine's ssh takes what is meant for host3 to host2.
	{example: "ofctl-lab host join-command host3 --tep 192.168.200.22 --controller 192.168.200.1 | ssh root@host3 sh",
		after: "ofctl-lab lab exec host2 -- ovs-vsctl get Open_vSwitch . external_ids | grep -F 192.168.200.22"},
	{example: "ofctl-lab host leave-command | ssh root@host3 sh",
		after: "! ofctl-lab lab exec host2 -- ovs-vsctl get Open_vSwitch . external_ids | grep -F 192.168.200.22"},
	{example: "ofctl-lab lab down", want: `two-hosts is gone`, after: `test -z "$(ls /run/netns)"`},
}

// vmSteps run the examples that need virtual machines, in a lab of their own.
var vmSteps = []step{
	{example: "ofctl-lab lab console vm1 --log", before: "ofctl-lab lab up configs/topologies/two-kvm-hosts.yaml",
		want: `Command line: .*hostname=vm1`}, // the shell may start after the guest answers
	{example: "ofctl-lab lab console vm1", want: `connected; leave with Ctrl-\]`},
	{example: "ofctl-lab lab exec host1/vm1 -- ping -c 1 10.1.1.2", want: `1 packets received`},
	{example: "ofctl-lab lab reboot vm1", want: `guest vm1 on host1: answers for 10.1.1.1`},
	{example: "ofctl-lab lab stop vm1", want: `guest vm1 is off`, after: "! ofctl-lab lab status | grep -F 'vm1-eth0  host1  vm1      eth0       yes'"},
	{example: "ofctl-lab lab start vm1", want: `guest vm1 on host1: answers for 10.1.1.1`},
	// A kernel that has just come up may not survive it under emulation: the agent is the last to start.
	{example: "ofctl-lab lab migrate vm1 host2", before: "ofctl-lab lab exec host1/vm1 -- true", want: `guest vm1 runs on host2; it ran nowhere for [0-9]+ ms`,
		after: "ofctl-lab lab exec host2/vm1 -- ping -c 1 10.1.1.2"},
	{example: "ofctl-lab lab reboot vm1 --force", want: `guest vm1 on host2: answers for 10.1.1.1`},
	{example: "ofctl-lab lab stop vm1 --force", want: `guest vm1 is off`, after: `ofctl-lab lab down && test -z "$(ls /run/netns)"`},
}

const ssh = `#!/bin/sh
shift # root@host3
exec ofctl-lab lab exec host2 -- "$@"
`

// Every example of the commands' help has a step, and no step is of an example
// that is gone.
func TestEveryExampleHasAStep(t *testing.T) {
	inHelp := map[string]string{}
	for _, e := range examples(t, "reference/cli.md") {
		for line := range strings.Lines(e.text) {
			inHelp[strings.TrimSpace(line)] = e.where
		}
	}
	// The program's own help is not in the reference.
	out, err := exec.Command(filepath.Join(checkout(t), "bin/ofctl-lab"), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(out), "Examples:\n")
	text, _, ok := strings.Cut(text, "\n\n")
	if !ok {
		t.Fatalf("no examples in\n%s", out)
	}
	for line := range strings.Lines(text) {
		inHelp[strings.TrimSpace(line)] = "ofctl-lab --help"
	}
	for line, where := range inHelp {
		if !slices.ContainsFunc(slices.Concat(steps, vmSteps), func(s step) bool { return s.example == line }) {
			t.Errorf("%s: say in the table steps how this is run:\n%s", where, line)
		}
	}
	for _, s := range slices.Concat(steps, vmSteps) {
		if inHelp[s.example] == "" {
			t.Errorf("no help has the example of a step: %s", s.example)
		}
	}
}

// The examples of the commands' help do what they say.
func TestCommandExamples(t *testing.T) {
	m := newMachine(t)
	m.install("ssh", ssh)
	m.take(steps)
}

// So do those that need virtual machines.
func TestVMCommandExamples(t *testing.T) {
	needsVMs(t)
	m := newMachine(t)
	m.take(vmSteps[:1]) // the lab is up
	for _, line := range vmReadme(t) {
		m.run(line)
	}
	m.take(vmSteps[1:])
}

// vmReadme are the lines of the README's block from where make lab-vm ends to where the lab
// is taken down.
func vmReadme(t *testing.T) []string {
	t.Helper()
	for _, e := range examples(t, "../README.md") {
		_, rest, ok := strings.Cut(e.text, "make lab-vm\n")
		rest, _, down := strings.Cut(rest, "\nmake lab-vm-down")
		if ok && down {
			return strings.Split(rest, "\n")
		}
	}
	t.Fatal("the README has no block with make lab-vm and make lab-vm-down")
	return nil
}

// take runs steps and holds them to what they have to show.
func (m *machine) take(steps []step) {
	t := m.t
	t.Helper()
	libvirt := sync.OnceValue(func() bool { return m.startLibvirt("host1") })
	for _, s := range steps {
		if s.libvirt && !libvirt() {
			continue
		}
		if s.before != "" {
			m.run(s.before)
		}
		out, err := m.try(s.script())
		t.Logf("%s\n%s", s.example, out)
		if (err != nil) != s.fails {
			t.Fatalf("%s: %v", s.example, err)
		}
		if !regexp.MustCompile(s.want).MatchString(out) {
			t.Errorf("%s: the output does not match %s:\n%s", s.example, s.want, out)
		}
		if s.after != "" {
			m.run(s.after)
		}
	}
}

// script is how the example is typed.
func (s step) script() string {
	switch {
	case s.typed != "":
		return "printf '" + s.typed + "' | ofctl-lab lab exec host1 -- " + s.example
	case s.onHost:
		return "ofctl-lab lab exec host1 -- " + s.example
	case s.ready != "":
		// It is interrupted once it is ready; what it says then is read to the end.
		return `rm -f said && mkfifo said
(trap - INT; exec ` + s.example + `) > said 2>&1 &
exec 3< said
grep -m 1 "` + s.ready + `" <&3
kill -INT $!
wait $!
cat <&3`
	}
	return s.example
}
