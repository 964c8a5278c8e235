package ovsdb

import (
	"strings"
	"testing"
)

func TestJoinAndLeaveScript(t *testing.T) {
	h := newHost(t, "--disable-system")
	h.vsctl("--no-wait", "set-manager", "ptcp:0:127.0.0.1") // somebody else's
	join := h.joinSpec()
	join.TEP = mustAddr("2001:db8::1")
	script, err := JoinScript(join)
	if err != nil {
		t.Fatal(err)
	}
	h.shell(script)
	s := h.session()
	ensure(t, s, spec())
	h.shell(script) // a second time: the session stays
	h.vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:mark=1")
	if f := s.Facts(); f.Problem != "" || f.TEP != join.TEP || f.Host != "host1" {
		t.Errorf("identity %+v", f.Identity)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
	if got := strings.Fields(h.vsctl("get-manager")); len(got) != 2 {
		t.Errorf("managers %q", got)
	}
	// So says also a row that an older join command has made, and the other one is not ours.
	h.vsctl("--no-wait", "set", "Manager", join.Manager.String(), "connection_mode=[]")
	h.shell(script)
	if got := h.vsctl("get", "Manager", join.Manager.String(), "connection_mode"); got != "out-of-band" {
		t.Errorf("connection_mode %q", got)
	}
	if got := h.vsctl("get", "Manager", "ptcp:0:127.0.0.1", "connection_mode"); got != "[]" {
		t.Errorf("connection_mode of another manager %q", got)
	}

	// The controller has moved: ours is replaced, the other stays.
	moved := join
	moved.Manager = Target{Proto: "ssl", Host: "2001:db8::fa", Port: 6640}
	if script, err = JoinScript(moved); err != nil {
		t.Fatal(err)
	}
	h.shell(script)
	if got := h.vsctl("get-manager"); got != "ptcp:0:127.0.0.1\nssl:[2001:db8::fa]:6640" {
		t.Errorf("managers %q", got)
	}

	h.vsctl("--no-wait", "set", "Open_vSwitch", ".", `external_ids:ofctl-lab-held="gone another"`)
	leave, err := LeaveScript("br-int")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.shell(leave)
		if got := h.vsctl("get-manager"); got != "ptcp:0:127.0.0.1" {
			t.Errorf("managers %q", got)
		}
		if got := h.vsctl("--bare", "get", "Open_vSwitch", ".", "external_ids"); got != "{mark=\"1\"}" {
			t.Errorf("external_ids %s", got)
		}
		if got := h.vsctl("list-br"); got != "" {
			t.Errorf("bridges %q", got)
		}
	}
}

func TestJoinRefuses(t *testing.T) {
	good := JoinSpec{
		Host: "host1", TEP: mustAddr("192.0.2.1"),
		Manager: Target{"tcp", "192.0.2.250", 6640}, Controller: Target{"tcp", "192.0.2.250", 6653},
	}
	if _, err := JoinCommand(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*JoinSpec){
		"no name":      func(j *JoinSpec) { j.Host = "" },
		"a space":      func(j *JoinSpec) { j.Host = "a b" },
		"any address":  func(j *JoinSpec) { j.TEP = mustAddr("::") },
		"with a zone":  func(j *JoinSpec) { j.TEP = mustAddr("fe80::1%eth0") },
		"no port":      func(j *JoinSpec) { j.Manager.Port = 0 },
		"a name":       func(j *JoinSpec) { j.Controller.Host = "controller.example" },
		"another kind": func(j *JoinSpec) { j.Manager.Proto = "ptcp" },
	} {
		j := good
		spoil(&j)
		if _, err := JoinScript(j); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := JoinCommand(j); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestQuoting(t *testing.T) {
	if got, want := quote([]string{"a", "", `x="y"`, "it's"}), `a '' 'x="y"' 'it'\''s'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := atom(`a"b\c`), `"a\"b\\c"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for in, want := range map[string]string{
		"tcp:192.0.2.1:6653": "tcp:192.0.2.1:6653", "ssl:[2001:db8::1]:6640": "ssl:[2001:db8::1]:6640",
		"tcp:2001:db8::1:6640": "", "udp:192.0.2.1:1": "", "tcp:": "", "tcp:192.0.2.1:0": "", "tcp:host:1": "",
	} {
		got, err := ParseTarget(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}
