package ovsdb

import (
	"context"
	"maps"
	"strings"
	"testing"
)

func TestNoteHeld(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	for _, devices := range []map[string]bool{
		{"v-b": true}, {"v-a": true, "v-b": true, "v=,\"{}'": true}, {"v-a": true}, {"v-a": true}, {}, nil,
	} {
		if err := s.NoteHeld(t.Context(), devices); err != nil {
			t.Fatal(err)
		}
		f := s.Facts()
		if !maps.Equal(f.Held, devices) || f.Host != "host1" || f.Problem != "" {
			t.Errorf("%v is noted, and there is %+v", devices, f)
		}
		if ids := h.vsctl("get", "Open_vSwitch", ".", "external_ids"); strings.Contains(ids, "held") != (len(devices) > 0) {
			t.Errorf("%v is noted, and the external_ids are %s", devices, ids)
		}
	}
	for _, name := range []string{"", "a b", "a\u00a0b", "a\n", "\xff"} {
		if err := s.NoteHeld(t.Context(), map[string]bool{name: true}); err == nil {
			t.Errorf("%q was noted", name)
		}
	}
	// It is there for the next one who asks.
	if err := s.NoteHeld(t.Context(), map[string]bool{"v-a": true}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if held := h.session().Facts().Held; !maps.Equal(held, map[string]bool{"v-a": true}) {
		t.Errorf("another session sees %v", held)
	}
	if err := s.NoteHeld(t.Context(), nil); err == nil {
		t.Error("a session that was closed has written")
	}
}

// What a host does not show was not written, whatever it answers.
func TestNoteHeldOnAHostileHost(t *testing.T) {
	for answer, want := range map[string]string{
		`[{"count":1}]`: "does not have external_ids:ofctl-lab-held",
		`[]`:            "does not have external_ids:ofctl-lab-held",
		`[{"error":"constraint violation","details":"no"}]`: "constraint violation: no",
	} {
		p := goodPeer(t)
		p.answers["transact"] = answer
		s, err := p.accept(t, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.NoteHeld(context.Background(), map[string]bool{"v-a": true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", answer, err, want)
		}
	}
}
