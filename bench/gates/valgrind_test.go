package gates

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A valgrind that does not know an instruction is a lack of the machine, and what was counted
// without it is kept; any other failure of it is one.
func TestValgrind(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("SKIPPED: instructions are counted on amd64 only")
	}
	dir := t.TempDir()
	write := func(name, script string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := write("counted", `echo '{"Allocations": 7, "Bytes": 70}'`)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	g := gate{name: "g", times: 10}
	for _, c := range []struct{ name, valgrind, lack, fails string }{
		{"counts", `n=1000; case "$*" in *"-n 20"*) n=3000 ;; esac; echo "==1== Collected : $n" >&2`, "", ""},
		{"unknown instruction", `echo 'vex amd64->IR: unhandled instruction bytes: 0x62 0xF1 0x7C 0x48' >&2; kill -ILL $$`, "unhandled instruction bytes: 0x62", ""},
		{"which the program sees", `echo 'SIGILL: illegal instruction' >&2; exit 2`, "SIGILL: illegal instruction", ""},
		{"cannot start", `echo 'valgrind: failed to start tool' >&2; exit 1`, "", "failed to start tool"},
		{"counts nothing", `exit 0`, "", "does not say what it collected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write("valgrind", c.valgrind)
			got, lack, err := count(t.Context(), program, g)
			if c.fails != "" {
				if err == nil || lack != nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("lack %v, %v; want it to fail with %q", lack, err, c.fails)
				}
				return
			}
			want := counts{allocations: 7, bytes: 70}
			if c.lack == "" {
				want.instructions = 200
			}
			if err != nil || got != want {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
			if (lack != nil) != (c.lack != "") || lack != nil && !strings.Contains(lack.Error(), c.lack) {
				t.Errorf("lack %v, want %q", lack, c.lack)
			}
		})
	}
}
