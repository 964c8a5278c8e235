package probe

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// tools puts programs into $PATH that print what a switch would: text by the program's name and its command.
func tools(t *testing.T, said map[string]string) *ovsctl.Client {
	t.Helper()
	dir := t.TempDir()
	for _, program := range []string{"ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		script := "#!/bin/sh\ncase \"$*\" in\n"
		for command, text := range said {
			name, word, _ := strings.Cut(command, " ")
			if name != program {
				continue
			}
			file := filepath.Join(dir, name+"."+strings.ReplaceAll(word, "/", "-"))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			script += "*" + word + "*) exec cat " + file + " ;;\n"
		}
		script += "esac\necho \"$*: is not a valid command\" >&2\nexit 2\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return ovsctl.New(ovsctl.Options{RunDir: dir})
}

func read1(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func feature(t *testing.T, name string) Feature {
	t.Helper()
	all := Features()
	i := slices.IndexFunc(all, func(f Feature) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no feature %s", name)
	}
	return all[i]
}

// What the kernel's datapath of Debian 12 says, word for word.
func TestAsk(t *testing.T) {
	c := tools(t, map[string]string{
		"ovs-appctl version": "ovs-vswitchd (Open vSwitch) 3.1.0\n", "ovs-appctl show-dp-features": read1(t, "features-system.txt"),
		"ovs-appctl ct-get-limits": "default limit=0\n", "ovs-vsctl datapath_type": "system\n",
		"ovs-vsctl iface_types": "[afxdp, geneve, gre, internal, vxlan]\n", "ovs-ofctl meter-features": read1(t, "meters-system.txt"),
		"ovs-ofctl dump-group-features": read1(t, "groups.txt"),
	})
	a, err := Ask(t.Context(), c, "br-int")
	if err != nil {
		t.Fatal(err)
	}
	if a.Environment.Datapath != Kernel || a.Environment.OpenVSwitch != "3.1.0" || a.Environment.Kernel == "" {
		t.Errorf("environment %+v", a.Environment)
	}
	for name, want := range map[string]Answer{
		"masked-set": Yes, "nd-answer": No, "drop-action": No, "two-tags": "2", "sample-nesting": "10", "meter-kbps": Yes, "meter-drop": Yes,
		"meter-count": "200000", "meter-bands": "1", "group-failover": Yes, "vxlan-ipv4": Yes, "ip6gre-ipv6": No, "ct-limit": Yes, "vlan": Unknown,
	} {
		if got := a.Answer(feature(t, name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// ND extensions and ip6gre are not there, and nothing depends on them.
	if missing := a.Missing(); len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
}

// What is missing is told with what needs it and what helps.
func TestMissing(t *testing.T) {
	old := strings.NewReplacer("Check pkt length action: Yes", "Check pkt length action: No", "CT state NAT: Yes", "CT state NAT: No").Replace(read1(t, "features-system.txt"))
	c := tools(t, map[string]string{
		"ovs-appctl version": "ovs-vswitchd (Open vSwitch) 2.15.0\n", "ovs-appctl show-dp-features": old, "ovs-vsctl datapath_type": "\n",
		"ovs-ofctl meter-features": "OFPST_METER_FEATURES reply (OF1.3) (xid=0x2):\nmax_meter:0 max_bands:0 max_color:0\nband_types: 0\ncapabilities: 0\n",
	})
	a, err := Ask(t.Context(), c, "br-int")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range a.Missing() {
		names = append(names, f.Name)
		if f.For == "" || !strings.Contains(f.Fix(Kernel), "Linux") || !strings.Contains(f.Fix(Userspace), "Open vSwitch") {
			t.Errorf("%s: for %q, fix %q and %q", f.Name, f.For, f.Fix(Kernel), f.Fix(Userspace))
		}
	}
	want := []string{"check-pkt-larger", "snat", "dnat", "meter-drop", "meter-pktps", "meter-kbps"}
	if !slices.Equal(names, want) {
		t.Errorf("missing %v, want %v", names, want)
	}
	// What this version refuses to tell is unknown, and not missing.
	if got := a.Answer(feature(t, "group-all")); got != Unknown {
		t.Errorf("group-all: %q", got)
	}
}

// A switch that says nothing of use is no reason to stop, one that is not there is.
func TestAskOfNonsense(t *testing.T) {
	noise := strings.Repeat("\x00:\xff:: Yes\n", 5000) + strings.Repeat("a", 1<<16) + ": Yes\nMasked set action: Yes\n"
	c := tools(t, map[string]string{
		"ovs-appctl version": "\n", "ovs-appctl show-dp-features": noise, "ovs-vsctl datapath_type": noise, "ovs-vsctl iface_types": noise,
		"ovs-ofctl meter-features": noise, "ovs-ofctl dump-group-features": noise, "ovs-appctl ct-get-limits": noise,
	})
	a, err := Ask(t.Context(), c, "br-int")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Answer(feature(t, "masked-set")); got != Unknown {
		t.Errorf("behind %d lines: %q", maxLines, got)
	}
	if a.Environment.Series() != "system-unknown-linux-"+series(a.Environment.Kernel) {
		t.Errorf("series %s", a.Environment.Series())
	}
	if _, err := Ask(t.Context(), tools(t, nil), "br-int"); err == nil || !strings.Contains(err.Error(), "ask bridge br-int") {
		t.Errorf("no switch: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ended, c, "br-int"); err == nil {
		t.Error("asked in no time")
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"features-system.txt", "meters-system.txt", "groups.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("[gre, vxlan]")
	f.Add("ovs-vswitchd (Open vSwitch) 3.1.0\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) map[string]string{parseFeatures, parseMeterFeatures, parseGroupFeatures, parseTypes, parseLimits} {
			for key, value := range parse(text) {
				if len(key) > maxKey || len(value) > maxAnswer || !printable(key) || !printable(value) {
					t.Errorf("%q: %q", key, value)
				}
			}
		}
		e := Environment{Datapath: parseDatapath(text), OpenVSwitch: parseVersion(text), Kernel: text}
		if s := e.Series(); strings.ContainsAny(s, "/\\ \n") {
			t.Errorf("series %q is no file name", s)
		}
		if r, err := ReadReport(strings.NewReader(text)); (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
		describe([]byte(text))
	})
}
