package netdev

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// lacking is set where this test process is on a machine without tap devices.
const lacking = "NETDEV_TEST_WITHOUT_TUN"

// On a machine without /dev/net/tun it is that which the error says, and the way out.
func TestNoTun(t *testing.T) {
	if os.Getenv(lacking) == "" && CheckTun() == nil {
		need.Have(t, need.Root(), need.Programs("deps", "unshare", "mount"))
		cmd := exec.Command("../../.ci/without", "tun", os.Args[0], "-test.run=^TestNoTun$", "-test.v")
		cmd.Env = append(os.Environ(), lacking+"=true")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestNoTun") {
			t.Fatalf("without /dev/net/tun: %v\n%s", err, out)
		}
		return
	}
	ns := newNS(t, "notun")
	_, oerr := ns.OpenTap("vm1")
	_, eerr := ns.EnsureTap("tap0")
	for what, err := range map[string]error{"OpenTap": oerr, "EnsureTap": eerr, "CheckTun": CheckTun()} {
		if !errors.Is(err, ErrNoTun) || !strings.Contains(err.Error(), "modprobe tun") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// On a kernel without IPv6 that is what the error of an IPv6 address says; without one nothing
// is wrong.
func TestNoIPv6(t *testing.T) {
	ns := newNS(t, "noipv6")
	lack := need.IPv6()
	if (lack != nil) != noIPv6() {
		t.Fatalf("%v, and no IPv6 is %v", lack, noIPv6())
	}
	if err := ns.SetDefaultIPv6(IPv6Off); err != nil {
		t.Error(err)
	}
	err := ns.SetDefaultIPv6(IPv6Static)
	if lack == nil && err != nil || lack != nil && !errors.Is(err, ErrNoIPv6) {
		t.Errorf("%v, where the lack is %v", err, lack)
	}
}
