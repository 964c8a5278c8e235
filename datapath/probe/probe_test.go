package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// probeOnly makes the test binary probe, and nothing else, until it is killed.
const probeOnly = "OFCTL_LAB_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(probeOnly) != "" {
		_, err := Try(context.Background(), Userspace, func(title string) { fmt.Println(title) })
		fmt.Println(err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// Every row says what it is, is asked or tried, and has a way out if something needs it.
func TestFeatures(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Features() {
		if f.Name == "" || f.Title == "" || f.For == "" || seen[f.Name] {
			t.Errorf("%+v: a name of its own, a title and a purpose are needed", f)
		}
		seen[f.Name] = true
		if f.Asked() == "" && !f.Tried() {
			t.Errorf("%s is neither asked for nor tried", f.Name)
		}
		if f.Need != Known && (f.Fix(Kernel) == "" || f.Fix(Userspace) == "") {
			t.Errorf("%s is needed, and nothing says what helps", f.Name)
		}
	}
}

// Each frame of a trial is described as what it is, and a wrong checksum is seen.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		packet packet
		want   string
	}{
		{v4, "len=102 nw_src=192.0.2.1 nw_dst=192.0.2.2 nw_ttl=64 nw_proto=17 tp_src=1000 tp_dst=2000"},
		{v6, "nw_src=2001:db8::1 nw_dst=2001:db8::2 nw_ttl=64 tp_src=1000"},
		{packet{src: addrA, dst: addrB, vlans: []uint16{10, 20}, ttl: 3}, "vlan1=10 vlan2=20 nw_ttl=3"},
		{packet{src: addrA, dst: addrB, arp: true}, "arp_op=1 arp_spa=192.0.2.1 arp_sha=02:be:00:00:00:01 dl_dst=ff:ff:ff:ff:ff:ff"},
		{packet{src: addrA, dst: addrB, payload: 900, first: 800}, "more nw_proto=17 len=834"},
		{packet{src: addrA, dst: addrB, payload: 900, first: 800, last: true}, "offset=100 len=142"},
		{packet{src: addrA, dst: addrB, kind: 0x88b6, from: mac(9)}, "dl_src=02:be:00:00:00:09"},
	} {
		if got := describe(c.packet.frame()); !got.has(c.want) {
			t.Errorf("%+v is described as %s, want %s", c.packet, got, c.want)
		}
	}
	for _, p := range []packet{v4, v6} {
		broken := p.frame()
		broken[len(broken)-1]++
		if got := describe(broken); got.has("tp_src=1000") || !got.has("tp_src=1000 bad_checksum") {
			t.Errorf("a wrong checksum is not seen: %s", got)
		}
	}
}

func TestReport(t *testing.T) {
	r := &Report{
		Schema: Schema, Environment: Environment{Datapath: Userspace, OpenVSwitch: "3.1.0", Kernel: "6.1.0-57-amd64"},
		Findings: []Finding{{Feature: "truncate", Asked: Yes, Tried: Yes}, {Feature: "vlan", Tried: No, Detail: "nothing arrived"}},
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	back, err := ReadReport(&b)
	if err != nil {
		t.Fatal(err)
	}
	// Another patch release and another kernel are of the same series in userspace, and details do not count.
	back.Environment.OpenVSwitch, back.Environment.Kernel, back.Findings[1].Detail = "3.1.7", "6.12.0", "something else"
	if d := r.Differences(back); len(d) != 0 {
		t.Errorf("differences %q", d)
	}
	back.Findings[0].Tried, back.Findings[1].Slow = No, true
	d := strings.Join(r.Differences(back), "\n")
	if !strings.Contains(d, `truncate: it was asked "yes", tried "yes", it is asked "yes", tried "no"`) || !strings.Contains(d, `tried "no", slow path`) {
		t.Errorf("differences %q", d)
	}
	back.Findings = back.Findings[1:]
	if d := strings.Join(r.Differences(back), "\n"); !strings.Contains(d, "not in the report") {
		t.Errorf("differences %q", d)
	}
	back.Environment.Datapath = Kernel
	if d := r.Differences(back); len(d) != 1 || !strings.Contains(d[0], "not of one kind") {
		t.Errorf("differences %q", d)
	}
}

func TestReadReportRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``: "no report", `[]`: "no report", `{"schema": 9, "environment": {"datapath": "netdev"}}`: "schema 9",
		`{"schema": 1, "environment": {"datapath": "odd"}}`: `"odd"`, `{"schema": 1, "surprise": 1}`: "surprise",
		strings.Repeat(" ", maxReport+1): "more than",
	} {
		if _, err := ReadReport(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// Only what the switch itself says, or did, is an answer.
func TestAnswer(t *testing.T) {
	refused := &ovsctl.CommandError{Argv: []string{"ovs-ofctl"}, Stderr: "OFPBAC_\x1bBAD_TYPE" + strings.Repeat("x", 999) + "\nmore", Err: &exec.ExitError{}}
	if text, is := answer(refused); !is || !strings.HasPrefix(text, "refused: OFPBAC_?BAD") || len(text) > maxDetail || strings.Contains(text, "more") {
		t.Errorf("%v %q", is, text)
	}
	if text, is := answer(errors.Join(&unlike{"nothing arrived"})); !is || text != "nothing arrived" {
		t.Errorf("%v %q", is, text)
	}
	for _, err := range []error{errors.New("no space left"), &ovsctl.CommandError{Err: exec.ErrNotFound}} {
		if text, is := answer(err); is {
			t.Errorf("%v is an answer: %q", err, text)
		}
	}
}
