package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// What brings a lab up has a counterpart that takes that very lab down.
func TestMakeLabsGoDown(t *testing.T) {
	recipe := func(target string) string {
		cmd := exec.Command("make", "--no-print-directory", "-n", target)
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make -n %s: %v\n%s", target, err, out)
		}
		return string(out)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	labs := 0
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):.*\n(?:\t.*\n)*\tbin/ofctl-lab lab up `).FindAllStringSubmatch(string(makefile), -1) {
		labs++
		up := regexp.MustCompile(`lab up (\S+)/(\S+)\.yaml`).FindStringSubmatch(recipe(m[1]))
		if up == nil {
			t.Errorf("make %s brings up no file of configs/topologies", m[1])
			continue
		}
		// The name of a lab is that of its file here, which may be read by make or in the shell.
		down := recipe(m[1] + "-down")
		if !regexp.MustCompile(`lab down .*\b` + regexp.QuoteMeta(up[2]) + `\b`).MatchString(down) {
			t.Errorf("make %s brings up %s, and make %[1]s-down does not take it down:\n%s", m[1], up[2], down)
		}
	}
	if labs < 2 {
		t.Errorf("%d targets bring up a lab", labs)
	}
}

// What a machine is without is said, and is no failure, on CI either; what can be installed is.
func TestSuitesSayWhatTheMachineIsWithout(t *testing.T) {
	need.Have(t, need.Root(), need.Programs("deps", "unshare", "mount"))
	lacks := func(argv ...string) (string, error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "CI=true")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := lacks("../.ci/without", "kvm,tun", "../.ci/lacks", "SUITE", "root", "kvm", "tun", "ipv6")
	if err != nil {
		t.Errorf("it fails: %v\n%s", err, out)
	}
	for _, want := range []string{"SUITE", "/dev/kvm", "/dev/net/tun", "****"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %s:\n%s", want, out)
		}
	}
	for device, thing := range map[string]string{"/dev/kvm": "kvm", "/dev/net/tun": "tun"} {
		_, lack := os.Stat(device)
		if out, err := lacks("../.ci/lacks", "SUITE", thing); err != nil || strings.Contains(out, device) != (lack != nil) {
			t.Errorf("this machine (%v): %v\n%s", lack, err, out)
		}
	}
	if out, err := lacks("../.ci/lacks", "SUITE", "tun", "nonsense"); err == nil || !strings.Contains(out, "no thing nonsense") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A suite of which tests would skip themselves, for lack of qemu, of the guests' image or of
// libvirt, says so, and fails on CI before it runs any.
func TestSuitesSayWhatIsMissing(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("../.ci")
	if err != nil {
		t.Fatal(err)
	}
	for suite, want := range map[string][]string{
		"packet":       {"ovs-vswitchd", "qemu-system-x86_64", "bin/guest/vmlinuz", "libvirtd", "virsh", "virt-xml-validate"},
		"unit":         {"ovs-vswitchd", "qemu-system-x86_64", "bin/guest/vmlinuz", "libvirtd", "virsh", "virt-xml-validate"},
		"bench-smoke":  {"ovs-vswitchd"},
		"kernel smoke": {"qemu-system-x86_64"},
	} {
		t.Run(suite, func(t *testing.T) {
			dir, bin := t.TempDir(), t.TempDir()
			if err := os.Symlink(scripts, filepath.Join(dir, ".ci")); err != nil {
				t.Fatal(err)
			}
			// The scripts' interpreter is all that there is, and what says that a suite has begun.
			begun := filepath.Join(dir, "begun")
			if err := os.Symlink(bash, filepath.Join(bin, "bash")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bin, "go"), []byte("#!"+bash+"\n: >"+begun+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bash, strings.Fields(".ci/"+suite)...)
			cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin, "CI=true"}
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("it succeeds on CI")
			}
			if _, err := os.Stat(begun); err == nil {
				t.Errorf("it runs tests of which some would skip themselves")
			}
			for _, name := range append(want, "****") {
				if !strings.Contains(string(out), name) {
					t.Errorf("it does not say that %s is missing:\n%s", name, out)
				}
			}
		})
	}
}
