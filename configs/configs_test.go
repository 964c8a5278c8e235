// Package configs_test holds the files of this directory to what the programs
// that read them say.
package configs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
)

// The example names every key and gives each its default.
func TestControllerExampleIsTheDefault(t *testing.T) {
	flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse([]string{"--config", "controller.yaml"}); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(flags)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("controller.yaml is not the default (-default +file):\n%s", diff)
	}

	text, err := os.ReadFile("controller.yaml")
	if err != nil {
		t.Fatal(err)
	}
	keys := yamlKeys(string(text))
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && !keys[f.Name] {
			t.Errorf("controller.yaml does not show the key behind --%s", f.Name)
		}
	})
}

// yamlKeys is the leaf keys of a two-level YAML mapping, joined by "-" as flags are.
func yamlKeys(text string) map[string]bool {
	keys, line, section := map[string]bool{}, regexp.MustCompile(`^( *)([a-z-]+):( .*)?$`), ""
	for l := range strings.Lines(text) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\n"))
		switch {
		case m == nil:
		case m[1] == "" && m[3] == "":
			section = m[2]
		case m[1] == "":
			keys[m[2]] = true
		default:
			keys[section+"-"+m[2]] = true
		}
	}
	return keys
}

// The unit must start what `make build` builds, by the commands it has, and only
// directories that the defaults use.
func TestUnitMatchesDefaults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("systemd", "ofctl-lab.service"))
	if err != nil {
		t.Fatal(err)
	}
	def := config.Default()
	for _, want := range []string{
		"ExecStart=/usr/bin/ofctl-lab controller\n",
		"StateDirectory=" + strings.TrimPrefix(def.StateDir, "/var/lib/") + "\n",
		"RuntimeDirectory=" + strings.TrimPrefix(filepath.Dir(def.APISocket), "/run/") + "\n",
		"ConfigurationDirectory=" + strings.TrimPrefix(filepath.Dir(config.DefaultFile), "/etc/") + "\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("ofctl-lab.service lacks %q", want)
		}
	}
}

// The unit that attaches again must run a command that there is, after Open vSwitch, and
// in the mount namespace of all others: one of its own would hide the namespaces it makes.
func TestAttachUnit(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("systemd", "ofctl-lab-attach.service"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{"ExecStart=/usr/bin/ofctl-lab attach --restore\n", "After=openvswitch-switch.service ovs-vswitchd.service\n", "Type=oneshot\n", "RemainAfterExit=yes\n",
		// The trial of offloads starts an Open vSwitch, which needs raw sockets in userspace.
		"CAP_NET_RAW"} {
		if !strings.Contains(text, want) {
			t.Errorf("ofctl-lab-attach.service lacks %q", want)
		}
	}
	// systemd.exec(5): these and their like set up file system namespaces.
	own := regexp.MustCompile(`(?m)^(Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Temporary|Root|Dynamic|Mount|NoExec|Exec)[A-Za-z]*=`)
	for _, setting := range own.FindAllString(text, -1) {
		if setting != "ExecStart=" {
			t.Errorf("ofctl-lab-attach.service has %s, with which it may have a mount namespace of its own", setting)
		}
	}
}
