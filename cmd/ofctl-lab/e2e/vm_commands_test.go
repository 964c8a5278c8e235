package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// TestGuestCommands: commands on a virtual machine that something goes wrong with.
func TestGuestCommands(t *testing.T) {
	t.Parallel()
	needVMs(t)
	l := up(t, "gc", fmt.Sprintf(vmMigrationTopology, guestImage(t)))
	t.Run("lab migrate is killed", func(t *testing.T) { migrateKilled(t, l) })
	t.Run("the supervisor hangs", func(t *testing.T) { supervisorHangs(t, l) })
}

// migrateKilled: a lab migrate that is killed leaves its guest running on one host, and
// that its ports may migrate until the next command that works on the lab.
func migrateKilled(t *testing.T, l *testLab) {
	mayMigrate := func() string {
		t.Helper()
		p, err := l.api.Port(t.Context(), "vm1-eth0")
		if err != nil {
			t.Fatal(err)
		}
		return p.MigrateTo
	}
	c := l.command(t.Context(), "lab", "migrate", "vm1", "host2")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "vm1's port may migrate", func() bool { return mayMigrate() == "host2" })
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Fatalf("lab migrate was done before it could be killed:\n%s", &c.stderr)
	}
	if mayMigrate() != "host2" {
		t.Fatal("lab migrate has taken back what it declared, though it was killed")
	}
	l.run(t, "lab", "start", "vm1") // it runs: nothing else is to be done
	if to := mayMigrate(); to != "" {
		t.Errorf("vm1's port may still migrate to %s", to)
	}
	eventually(t, "vm1's port is up on one host", func() bool {
		s := l.portStatus(t, "vm1-eth0")
		return s.State == api.StateUp && s.Standby == nil && len(s.Rivals) == 0
	})
	l.answersFrom(t, "c", "after lab migrate was killed")
	l.nothingMigrates(t)
}

// supervisorHangs: a guest that switches itself off is off, though nobody says so.
func supervisorHangs(t *testing.T, l *testLab) {
	l.hang(t, "vm1")
	stop := l.command(t.Context(), "lab", "stop", "vm1")
	if err := stop.wait(); err != nil || !strings.Contains(stop.stderr.String(), "guest vm1 is off\n") {
		t.Errorf("vm1 has switched itself off, and lab stop says %v: %s", err, &stop.stderr)
	}
	eventually(t, "vm1's port is down", func() bool { return l.portStatus(t, "vm1-eth0").State == api.StateDown })
}

// hang has a machine's supervisor do nothing any more.
func (l *testLab) hang(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.machine(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\nPPid:\t")
	line, _, _ := strings.Cut(after, "\n")
	supervisor, err := strconv.Atoi(line)
	if err != nil || supervisor <= 1 {
		t.Fatalf("%s's qemu has no supervisor: %s, %v", name, b, err)
	}
	if err := syscall.Kill(supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
