package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func load(t *testing.T, file string, args ...string) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	AddFlags(fs)
	if file != "" {
		name := filepath.Join(t.TempDir(), "conf.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs)
}

func TestDefaultsAreValid(t *testing.T) {
	for _, s := range settings() {
		if err := s.set(&Config{}, s.def); err != nil {
			t.Errorf("%s: %v", s.key, err)
		}
	}
	got, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if *got != *Default() {
		t.Errorf("Load of nothing = %+v, Default = %+v", got, Default())
	}
}

func TestPrecedence(t *testing.T) {
	file := "settle: 2s\naudit: {interval: 2m}\nbridge:\n  name: br-file\nvxlan.port: 8472\n"
	t.Setenv("OFCTL_LAB_BRIDGE_NAME", "br-env")
	t.Setenv("OFCTL_LAB_SETTLE", "3s")
	c, err := load(t, file, "--settle=4s")
	if err != nil {
		t.Fatal(err)
	}
	if c.Settle != 4*time.Second {
		t.Errorf("settle = %s, want the flag's 4s", c.Settle)
	}
	if c.BridgeName != "br-env" {
		t.Errorf("bridge.name = %s, want the environment's", c.BridgeName)
	}
	if c.AuditInterval != 2*time.Minute {
		t.Errorf("audit.interval = %s, want the file's 2m", c.AuditInterval)
	}
	if c.VXLANPort != 8472 {
		t.Errorf("vxlan.port = %d, want the file's 8472", c.VXLANPort)
	}
	if c.GenevePort != 6081 {
		t.Errorf("geneve.port = %d, want the default", c.GenevePort)
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		args       []string
		want       []string
	}{
		{"unknown key", "openflow: {listn: ':1'}\n", nil, []string{"unknown key openflow.listn", "did you mean openflow.listen?"}},
		{"nothing near", "colour: red\n", nil, []string{"unknown key colour", "the keys are state-dir"}},
		{"two unknown keys", "setle: 1s\nlog: {levl: info}\n", nil, []string{"did you mean settle?", "did you mean log.level?"}},
		{"not yaml", "a: [\n", nil, []string{"conf.yaml"}},
		{"a list for a scalar", "settle: [1, 2]\n", nil, []string{"settle", "not a duration"}},
		{"api not on loopback", "", []string{"--api-listen=0.0.0.0:80"}, []string{"--api-listen", "not a loopback address"}},
		{"api on all", "", []string{"--api-listen=:80"}, []string{"not a loopback address"}},
		{"listen without port", "openflow: {listen: 10.0.0.1}\n", nil, []string{"conf.yaml: openflow.listen", "not ADDRESS:PORT"}},
		{"listen on a name", "", []string{"--ovsdb-listen=localhost:6640"}, []string{"not an IP address"}},
		{"listen port", "", []string{"--ovsdb-listen=:66400"}, []string{"not in 0…65535"}},
		{"relative state", "", []string{"--state-dir=x"}, []string{"not an absolute path"}},
		{"long socket", "", []string{"--api-socket=/" + strings.Repeat("x", 107)}, []string{"at most 107"}},
		{"log level", "", []string{"--log-level=loud"}, []string{`"loud" is none of debug, info, warn, error`}},
		{"negative", "", []string{"--settle=-1s"}, []string{"not in 0s…10m"}},
		{"bridge", "", []string{"--bridge-name=br int"}, []string{"not an interface name"}},
		{"datapath", "", []string{"--bridge-datapath-type=dpdk"}, []string{"none of auto, system, netdev"}},
		{"port", "", []string{"--vxlan-port=0"}, []string{"not a UDP port"}},
		{"same ports", "", []string{"--vxlan-port=6081"}, []string{"both 6081"}},
		{"same listeners", "", []string{"--openflow-listen=:1", "--ovsdb-listen=:1"}, []string{"both :1"}},
		{"ageing too short", "mac: {ageing: 500ms}\n", nil, []string{"mac.ageing", "not in 1s…277h46m40s"}},
		{"several at once", "", []string{"--settle=x", "--log-format=xml"}, []string{"--settle", "--log-format"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load(t, tc.file, tc.args...)
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not contain %q", err, w)
				}
			}
		})
	}
}

func TestBadEnvironmentIsNamed(t *testing.T) {
	t.Setenv("OFCTL_LAB_AUDIT_INTERVAL", "soon")
	_, err := load(t, "")
	if err == nil || !strings.Contains(err.Error(), "OFCTL_LAB_AUDIT_INTERVAL") {
		t.Errorf("error = %v, want one that names the variable", err)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := load(t, "", "--config=/nonexistent/x.yaml")
	if err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("error = %v", err)
	}
}
