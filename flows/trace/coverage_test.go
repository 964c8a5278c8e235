package trace

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

var update = flag.Bool("update", false, "write docs/reference/interpreter.md again")

// covered is an action, instruction or field of Open vSwitch 3.1 and 3.5, which have the
// same, and what the interpreter makes of it.
type covered struct {
	name string // as in ovs-actions(7) and ovs-fields(7)
	// flow is an example, "" for what Open vSwitch has no flows with.
	flow string
	// refused is the name by which a trace refuses it, "" when it is interpreted.
	refused string
	note    string // for people
	// unknown is a part of what a trace says is not known, though it is interpreted.
	unknown string
	// untold says that ovs-ofctl cannot print it.
	untold bool
}

// differences are what versions do with a packet in different ways.
// TestActionSetInsideAnActionOfOpenVSwitch holds them against the switch that is here.
var differences = []struct{ what, v31, v35 string }{
	{"the action set in clone", "done in the clone, as it is then, and at the end of the packet", "the clone has one of its own, empty at first; the packet's is done at its end only"},
	{"the action set in check_pkt_larger", "done for larger packets, and at the end of the packet", "what follows has one of its own, empty at first; the packet's is done at its end only"},
}

// coveredActions are all that ovs-actions(7) has, in its order, and what of OpenFlow 1.3 it
// has not.
var coveredActions = []covered{
	{name: "output", flow: "output:2"},
	{name: "output to a field's port", flow: "output:NXM_NX_REG0[]"},
	{name: "output with max_len", flow: "output(port=2,max_len=100)", note: "as Open vSwitch does: when the output is not done, the next one is cut"},
	{name: "output to IN_PORT, ALL, FLOOD, LOCAL", flow: "IN_PORT,ALL,FLOOD,LOCAL"},
	{name: "output to TABLE", note: "packet-out only"},
	{name: "output to NORMAL", flow: "NORMAL", unknown: "NORMAL is not interpreted", note: "makes the verdict unknown, by name"},
	{name: "controller", flow: "CONTROLLER:128"},
	{name: "controller with reason, id, userdata, meter_id", flow: "controller(reason=no_match,id=7,userdata=01.02,meter_id=5)"},
	{name: "controller with pause", flow: "controller(pause),output:2", unknown: "controller(pause)", note: "a copy to the controller; what it resumes is unknown, by name"},
	{name: "enqueue", flow: "enqueue:2:5", note: "OpenFlow 1.3 has set_queue, output, pop_queue"},
	{name: "bundle", flow: "bundle(eth_src,0,hrw,ofport,members:2,3)", refused: "bundle"},
	{name: "bundle_load", flow: "bundle_load(eth_src,0,hrw,ofport,NXM_NX_REG0[0..15],members:2,3)", refused: "bundle_load"},
	{name: "group", flow: "group:1", note: "all, select (each bucket is a branch), indirect, fast failover"},
	{name: "strip_vlan, pop_vlan", flow: "dl_vlan=10 pop_vlan"},
	{name: "push_vlan", flow: "push_vlan:0x8100"},
	{name: "push_mpls", flow: "push_mpls:0x8847,output:2"},
	{name: "pop_mpls", flow: "mpls pop_mpls:0x0800,output:2"},
	{name: "encap", flow: "encap(nsh(md_type=1))", refused: "encap"},
	{name: "decap", flow: "decap()", refused: "decap"},
	{name: "set_field, load", flow: "set_field:0x5->reg0,load:0x3->NXM_NX_REG1[4..7],set_field:02:00:00:00:00:01/ff:00:00:00:00:ff->eth_dst"},
	{name: "move", flow: "move:NXM_NX_REG0[0..7]->NXM_NX_REG1[8..15]"},
	{name: "mod_dl_src, mod_dl_dst", flow: "mod_dl_src:02:00:00:00:00:01,mod_dl_dst:02:00:00:00:00:02"},
	{name: "mod_nw_src, mod_nw_dst", flow: "ip mod_nw_src:10.0.0.1,mod_nw_dst:10.0.0.2"},
	{name: "mod_nw_tos, mod_nw_ecn, mod_nw_ttl", flow: "ip mod_nw_tos:4,mod_nw_ecn:1,mod_nw_ttl:5", note: "mod_nw_ttl is set_field:…->nw_ttl"},
	{name: "mod_tp_src, mod_tp_dst", flow: "tcp mod_tp_src:1,mod_tp_dst:2", note: "a switch has set_field; in a text they are refused"},
	{name: "mod_vlan_vid, mod_vlan_pcp", flow: "mod_vlan_vid:5,mod_vlan_pcp:3", note: "a switch has push_vlan and set_field; in a text they are refused"},
	{name: "dec_ttl", flow: "ip dec_ttl"},
	{name: "dec_ttl with IDs", flow: "ip dec_ttl(1,2)"},
	{name: "set_mpls_label, set_mpls_tc, set_mpls_ttl", flow: "mpls set_mpls_label:5,set_mpls_tc:3,set_mpls_ttl:7", note: "set_mpls_ttl is set_field:…->mpls_ttl"},
	{name: "dec_mpls_ttl", flow: "mpls dec_mpls_ttl"},
	{name: "dec_nsh_ttl", flow: "dl_type=0x894f dec_nsh_ttl", refused: "dec_nsh_ttl"},
	{name: "check_pkt_larger", flow: "check_pkt_larger(1500)->NXM_NX_REG0[0],output:2", note: "into a field of a header it is unknown, by name"},
	{name: "delete_field", flow: "delete_field:tun_metadata0", refused: "delete_field"},
	{name: "set_tunnel, set_tunnel64", flow: "set_tunnel:5"},
	{name: "set_queue, pop_queue", flow: "set_queue:5,output:2,pop_queue"},
	{name: "ct", flow: "ip ct(commit,zone=3,table=1,exec(set_field:0x5->ct_mark))"},
	{name: "ct with nat", flow: "ip ct(commit,table=1,nat(src=10.0.0.1-10.0.0.5:1000-2000,random))", note: "of several addresses the first is shown, and what depends on it is unknown, by name"},
	{name: "ct with alg", flow: "tcp ct(commit,alg=ftp)", refused: "ct(alg)"},
	{name: "ct_clear", flow: "ct_clear"},
	{name: "resubmit", flow: "resubmit(,1),resubmit(2,1),resubmit:2"},
	{name: "resubmit with ct", flow: "ct_state=+est+trk,ip resubmit(,1,ct)", refused: "resubmit(ct)"},
	{name: "learn", flow: "learn(table=5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])", refused: "learn"},
	{name: "fin_timeout", flow: "tcp fin_timeout(idle_timeout=5,hard_timeout=6)", note: "changes nothing of a packet"},
	{name: "clone", flow: "clone(set_field:0x5->reg0,output:2),output:3"},
	{name: "push, pop", flow: "push:NXM_NX_REG0[2..5],pop:NXM_NX_REG1[]"},
	{name: "exit", flow: "exit"},
	{name: "multipath", flow: "multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[])", refused: "multipath"},
	{name: "conjunction", flow: "conjunction(1,1/2)", refused: "conjunction"},
	{name: "note", flow: "note:01.02"},
	{name: "sample", flow: "sample(probability=5,collector_set_id=1)", refused: "sample"},
	{name: "debug_recirc", flow: "debug_recirc", refused: "debug_recirc", untold: true},
	{name: "debug_slow", flow: "debug_slow", refused: "debug_slow", untold: true},
	{name: "push_pbb, pop_pbb", note: "of OpenFlow 1.3; Open vSwitch does not have it"},
	{name: "copy_ttl_out, copy_ttl_in", note: "of OpenFlow 1.3; Open vSwitch does not have it"},
}

// coveredInstructions are those of OpenFlow 1.3.
var coveredInstructions = []covered{
	{name: "meter", flow: "meter:5,output:2", note: "lets the packet through"},
	{name: "apply_actions", flow: "output:2"},
	{name: "clear_actions", flow: "clear_actions"},
	{name: "write_actions", flow: "write_actions(push_mpls:0x8847,set_queue:5,output:2)"},
	{name: "write_metadata", flow: "write_metadata:0x1/0x3"},
	{name: "goto_table", flow: "goto_table:1"},
}

// refusedMatches are the fields that are not interpreted, as ovs-ofctl prints them, each
// with a match or an action that names it; "" where no flow of OpenFlow 1.3 does.
var refusedMatches = []covered{
	{name: "conj_id", flow: "conj_id=5 drop"},
	{name: "packet_type", note: "not printed for Ethernet"},
	{name: "tun_gbp_id", flow: "tun_gbp_id=5 drop"},
	{name: "tun_gbp_flags", flow: "tun_gbp_flags=5 drop"},
	{name: "tun_erspan_ver", flow: "tun_erspan_ver=1 drop"},
	{name: "tun_erspan_idx", flow: "tun_erspan_ver=1,tun_erspan_idx=1 drop", refused: "tun_erspan_"},
	{name: "tun_erspan_dir", flow: "tun_erspan_ver=2,tun_erspan_dir=1 drop", refused: "tun_erspan_"},
	{name: "tun_erspan_hwid", flow: "tun_erspan_ver=2,tun_erspan_hwid=1 drop", refused: "tun_erspan_"},
	{name: "tun_gtpu_flags", flow: "tun_gtpu_flags=1 drop"},
	{name: "tun_gtpu_msgtype", flow: "tun_gtpu_msgtype=1 drop"},
	{name: "tun_metadata0", flow: "tun_metadata0=5 drop", note: "to tun_metadata63"},
	{name: "tun_flags", flow: "tun_flags=+oam drop"},
	{name: "in_port of 16 bits", flow: "pop:NXM_OF_IN_PORT[]", refused: "NXM_OF_IN_PORT", note: "read, and loaded as a whole, it is in_port; popped or moved to it is refused"},
	{name: "skb_priority", note: "no flow names it"},
	{name: "actset_output", note: "of OpenFlow 1.5"},
	{name: "recirc_id", note: "no flow names it"},
	{name: "dp_hash", note: "no flow names it"},
	{name: "ct_nw_src", flow: "ct_state=+est+trk,ip,ct_nw_src=1.2.3.4 drop"},
	{name: "ct_nw_dst", flow: "ct_state=+est+trk,ip,ct_nw_dst=1.2.3.4 drop"},
	{name: "ct_ipv6_src", flow: "ct_state=+est+trk,ipv6,ct_ipv6_src=fd00::1 drop"},
	{name: "ct_ipv6_dst", flow: "ct_state=+est+trk,ipv6,ct_ipv6_dst=fd00::1 drop"},
	{name: "ct_nw_proto", flow: "ct_state=+est+trk,ip,ct_nw_proto=6 drop"},
	{name: "ct_tp_src", flow: "ct_state=+est+trk,ip,ct_nw_proto=6,ct_tp_src=5 drop", refused: "ct_", note: "a match on it has one on ct_nw_proto"},
	{name: "ct_tp_dst", flow: "ct_state=+est+trk,ip,ct_nw_proto=6,ct_tp_dst=5 drop", refused: "ct_"},
	{name: "xreg0", flow: "set_field:0x5->xreg0", note: "to xreg7; in a match a switch names the registers themselves"},
	{name: "xxreg0", flow: "set_field:0x5->xxreg0", note: "to xxreg3, likewise"},
	{name: "nw_tos", flow: "ip move:NXM_OF_IP_TOS[2..7]->NXM_NX_REG0[0..5]", refused: "NXM_OF_IP_TOS", note: "in a match it is ip_dscp; moved it is refused"},
	{name: "nsh_flags", flow: "dl_type=0x894f,nsh_flags=1 drop"},
	{name: "nsh_mdtype", flow: "dl_type=0x894f,nsh_mdtype=1 drop"},
	{name: "nsh_np", flow: "dl_type=0x894f,nsh_np=1 drop"},
	{name: "nsh_spi", flow: "dl_type=0x894f,nsh_spi=1 drop"},
	{name: "nsh_si", flow: "dl_type=0x894f,nsh_si=1 drop"},
	{name: "nsh_c1", flow: "dl_type=0x894f,nsh_mdtype=1,nsh_c1=1 drop", refused: "nsh_", note: "to nsh_c4"},
	{name: "nsh_ttl", flow: "dl_type=0x894f,nsh_ttl=1 drop"},
}

// asFlow is the example as ovs-ofctl takes it.
func (c *covered) asFlow() string {
	match, actions, ok := strings.Cut(c.flow, " ")
	if !ok {
		match, actions = "", match
	} else {
		match += ","
	}
	return "table=0,priority=7," + match + "actions=" + actions
}

// fieldExample is a flow that matches on a field, with what that needs.
func fieldExample(f flows.Field) string {
	m := flows.Match{}
	if p := f.Prerequisites(); len(p) > 0 {
		m = p[0]
	}
	v := flows.U(1)
	switch f {
	case flows.VLANVID:
		v = flows.U(0x1001)
	case flows.EthType:
		v = flows.U(etherARP)
	case flows.VLANTCI:
		return "vlan_tci=0x1001/0x1fff drop"
	case flows.CTState:
		return "ct_state=new|trk drop"
	case flows.IPFrag:
		return "ip,nw_frag=first drop"
	}
	return m.With(f, v).String() + " drop"
}

// inSwitch is the flow as a real switch has it: as ovs-ofctl prints it, and as it is read
// over OpenFlow.
type inSwitch struct {
	text, wire *flows.Flow
	textErr    error
	wireErr    error
}

func (v *vswitch) hold(c *openflow.Conn, flow string, untold bool) (in inSwitch, err error) {
	mgmt := "unix:" + filepath.Join(v.dir, "br0.mgmt")
	if _, err := v.try("", "ovs-ofctl", "-OOpenFlow13", "del-flows", mgmt); err != nil {
		return in, err
	}
	if _, err := v.try("", "ovs-ofctl", "-OOpenFlow13", "add-flow", mgmt, flow); err != nil {
		return in, err
	}
	if !untold {
		out, err := v.try("", "ovs-ofctl", "--no-names", "--no-stats", "-OOpenFlow13", "dump-flows", mgmt)
		if err != nil {
			return in, err
		}
		// Among the flows may be what ovs-ofctl warns of.
		for line := range strings.Lines(out) {
			if strings.Contains(line, "actions=") {
				in.text, in.textErr = flows.ParseFlow(strings.TrimSpace(line))
			}
		}
	}
	d, err := c.DumpAll(v.t.Context())
	if err != nil {
		return in, err
	}
	if len(d.Flows)+len(d.Unreadable) != 1 {
		return in, fmt.Errorf("%d flows and %v", len(d.Flows), d.Unreadable)
	}
	if len(d.Flows) == 1 {
		in.wire = d.Flows[0].Flow
		return in, nil
	}
	in.wireErr = d.Unreadable[0].Err
	return in, nil
}

// verdict is what a trace makes of a packet that meets the flow, or what could not be read
// of it.
func verdict(t *testing.T, f *flows.Flow, unread error) Result {
	t.Helper()
	c := Config{Name: "br0", Ports: testPorts, State: flows.Flat(&flows.Part{})}
	frame := []byte{12: 0x88, 13: 0xcc, 20: 0}
	p := packet(t, 1, frame)
	if f != nil {
		c.State = flows.Flat(&flows.Part{Flows: []*flows.Flow{f}, Groups: []*flows.Group{{ID: 1}}})
		for _, e := range f.Match {
			p.put(e.Field, e.Value)
		}
	} else {
		c.Unread = []Unread{{Priority: 7, Why: unread.Error()}}
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s.Trace(p, Options{Conns: []Conn{{State: ConnNew}}})
}

// hold checks that what a real switch has of an example is interpreted, or refused by name.
func (c *covered) check(t *testing.T, v *vswitch, conn *openflow.Conn) {
	in, err := v.hold(conn, c.asFlow(), c.untold)
	if err != nil {
		t.Fatal(err)
	}
	if c.refused == "" {
		if in.textErr != nil || in.wireErr != nil {
			t.Fatalf("not read: as text %v, on the wire %v", in.textErr, in.wireErr)
		}
		if !in.text.Equal(in.wire) {
			t.Errorf("as text\n%s, on the wire\n%s", in.text, in.wire)
		}
		var said []string
		for _, b := range verdict(t, in.wire, nil).Branches {
			said = append(said, b.Unknown...)
		}
		if c.unknown == "" && len(said) > 0 || c.unknown != "" && !strings.Contains(strings.Join(said, " "), c.unknown) {
			t.Errorf("a trace says is not known: %v; want %q", said, c.unknown)
		}
		return
	}
	errs := []error{in.wireErr}
	if !c.untold {
		errs = append(errs, in.textErr)
	}
	want := regexp.MustCompile(regexp.QuoteMeta(c.refused) + `\w* is not interpreted: \w`)
	for _, err := range errs {
		if err == nil || !want.MatchString(err.Error()) {
			t.Errorf("%v does not name %s", err, c.refused)
			continue
		}
		res := verdict(t, nil, err)
		if res.Verdict != Unknown || !want.MatchString(strings.Join(res.Branches[0].Unknown, " ")) {
			t.Errorf("a trace is %s and says %v", res.Verdict, res.Branches[0].Unknown)
		}
	}
}

// connect opens a session with br0.
func (v *vswitch) connect() *openflow.Conn {
	v.t.Helper()
	nc, err := net.Dial("unix", filepath.Join(v.dir, "br0.mgmt"))
	if err != nil {
		v.t.Fatal(err)
	}
	c, err := openflow.Connect(v.t.Context(), nc, openflow.Options{})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { c.Close() })
	return c
}

// TestEverythingIsInterpretedOrNamed gives a real switch a flow with each action,
// instruction and field, reads it back as text and over OpenFlow, and traces a packet
// through it.
func TestEverythingIsInterpretedOrNamed(t *testing.T) {
	v := startVswitch(t)
	conn := v.connect()
	mgmt := "unix:" + filepath.Join(v.dir, "br0.mgmt")
	v.run("", "ovs-ofctl", "-OOpenFlow13", "add-group", mgmt, "group_id=1,type=all")
	v.run("", "ovs-ofctl", "-OOpenFlow13", "add-tlv-map", mgmt, "{class=0xffff,type=0,len=4}->tun_metadata0")
	all := slices.Concat(coveredActions, coveredInstructions)
	for f := flows.InPort; f.Valid(); f++ {
		all = append(all, covered{name: f.Name(), flow: fieldExample(f)})
	}
	for _, c := range refusedMatches {
		if c.refused == "" {
			c.refused = c.name
		}
		all = append(all, c)
	}
	for _, c := range all {
		if c.flow == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.check(t, v, conn) })
	}
}

// TestNothingOfTheSwitchIsMissing holds the tables above against what a real switch says
// that it has.
func TestNothingOfTheSwitchIsMissing(t *testing.T) {
	v := startVswitch(t)
	out, err := v.try("", "ovs-ofctl", "-OOpenFlow13", "dump-table-features", "unix:"+filepath.Join(v.dir, "br0.mgmt"))
	if err != nil {
		t.Fatal(err)
	}
	fields, actions := 0, 0
	for line := range strings.Lines(out) {
		key, list, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "arbitrary mask", "exact match or wildcard", "supported on Set-Field":
			for _, word := range strings.Fields(list) {
				for _, name := range expand(word) {
					fields++
					if _, known := flows.ByName(name); !known && flows.RefusedField(name) == nil && name != "nw_tos" && name != "in_port_oxm" {
						t.Errorf("field %s is neither interpreted nor refused", name)
					}
				}
			}
		case "actions", "instructions":
			for _, name := range strings.Fields(list) {
				actions++
				if !slices.ContainsFunc(slices.Concat(coveredActions, coveredInstructions), func(c covered) bool {
					return slices.Contains(regexp.MustCompile(`[\w-]+`).FindAllString(c.name, -1), name)
				}) {
					t.Errorf("action or instruction %s is not in the table", name)
				}
			}
		}
	}
	if fields < 100 || actions < 10 {
		t.Errorf("%d fields and %d actions in\n%s", fields, actions, out)
	}
	for _, c := range slices.Concat(coveredActions, refusedMatches) {
		if c.refused == "" || strings.HasSuffix(c.refused, "_") {
			continue
		}
		if flows.RefusedAction(c.refused) == nil && flows.RefusedField(c.refused) == nil {
			t.Errorf("%s is not refused", c.refused)
		}
	}
}

// expand is the names that the switch writes as one: a{b,c{1,2}} and a0...a3.
func expand(word string) []string {
	if open := strings.IndexByte(word, '{'); open >= 0 {
		depth, end := 0, open
		for i := open; i < len(word); i++ {
			switch word[i] {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth == 0 {
				end = i
				break
			}
		}
		var names []string
		for _, part := range splitOutside(word[open+1:end], '{', '}') {
			names = append(names, expand(word[:open]+part+word[end+1:])...)
		}
		return names
	}
	first, last, ranged := strings.Cut(word, "...")
	if !ranged {
		return []string{word}
	}
	stem := strings.TrimRight(first, "0123456789")
	digits := last[strings.LastIndexFunc(last, func(r rune) bool { return r < '0' || r > '9' })+1:]
	from, _ := strconv.Atoi(first[len(stem):])
	to, _ := strconv.Atoi(digits)
	var names []string
	for n := from; n <= to; n++ {
		names = append(names, stem+strconv.Itoa(n))
	}
	return names
}

// TestReferenceIsUpToDate: docs/reference/interpreter.md is what the tables say.
func TestReferenceIsUpToDate(t *testing.T) {
	const name = "../../docs/reference/interpreter.md"
	got := reference()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (make generate rewrites it):\n%s", name, d)
	}
}

func reference() string {
	var b strings.Builder
	b.WriteString(`# What the interpreter knows

Generated from the tables of ` + "`flows/trace/coverage_test.go`" + ` by ` + "`make generate`" + `; do not edit.

` + "`ofctl-lab trace`" + ` and ` + "`ofctl-lab verify`" + ` read what a switch holds over OpenFlow 1.3, or from the text of ovs-ofctl. These are
the actions, instructions and fields of Open vSwitch 3.1 and 3.5 (ovs-actions(7), ovs-fields(7)), which have the same ones. What
is refused is named by a trace that meets it, with the reason, and its verdict is unknown; verify proves nothing on a host
where packets meet it. A test gives a real switch a flow with each of them, reads it both ways and traces a packet through
it: the 3.1.0 of Debian 12 in ` + "`make test`" + `, the 3.5.0 of Debian 13 in ` + "`make test-versions`" + `.

## Versions that differ

A host says which version it runs; for files it is said by ` + "`--open-vswitch`" + `. Older versions than 3.1 are taken for 3.1,
newer ones than 3.5 for 3.5. With one in between, or none that is known, a packet that meets what differs has an unknown verdict.

| what | Open vSwitch 3.1 | Open vSwitch 3.5 |
|---|---|---|
`)
	for _, d := range differences {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.what, d.v31, d.v35)
	}
	b.WriteString("\n## Actions\n\n")
	writeTable(&b, coveredActions)
	b.WriteString("\n## Instructions\n\n")
	writeTable(&b, coveredInstructions)
	b.WriteString("\n## Fields that are interpreted\n\n| name | bits | masked | written |\n|---|---|---|---|\n")
	for f := flows.InPort; f.Valid(); f++ {
		yes := map[bool]string{true: "yes", false: "no"}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", f, f.Bits(), yes[f.Maskable()], yes[f.Writable()])
	}
	b.WriteString("\n## Fields that are refused\n\n")
	var refused []covered
	for _, c := range refusedMatches {
		if c.refused == "" {
			c.refused = c.name
		}
		refused = append(refused, c)
	}
	writeTable(&b, refused)
	return b.String()
}

func writeTable(b *strings.Builder, cs []covered) {
	b.WriteString("| name | interpreted | note |\n|---|---|---|\n")
	for _, c := range cs {
		how, note := "yes", c.note
		if c.refused != "" || c.flow == "" && strings.Contains(c.note, "does not have it") {
			how = "refused by name"
			for _, err := range []error{flows.RefusedAction(c.refused), flows.RefusedField(c.refused), flows.RefusedField(c.name)} {
				if err != nil {
					note = strings.TrimSuffix(err.(*flows.RefusedError).Why+"; "+c.note, "; ")
					break
				}
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", c.name, how, note)
	}
}
