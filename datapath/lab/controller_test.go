package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// play is what this test program does when a test has started it as something
// else.
func play(role string) int {
	switch role {
	case "controller":
		return playController(os.Getenv("LAB_TEST_ADDR"))
	case "up":
		return playUp()
	case "supervisor":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := RunMachine(ctx, os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		return 2
	}
}

// playController listens as a controller does and holds what connects.
func playController(addr string) int {
	for _, port := range []int{OpenFlowPort, OVSDBPort} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", addr, port))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(io.Discard, c)
			}
		}()
	}
	select {}
}

// playUp brings a lab up and is killed at the step LAB_TEST_STEP.
func playUp() int {
	step := os.Getenv("LAB_TEST_STEP")
	err := New(os.Getenv("LAB_TEST_ROOT")).Up(context.Background(), twoHosts(os.Getenv("LAB_TEST_NAME")), UpOptions{
		Controller: fakeController,
		Join:       fakeJoin,
		Progress: func(s string) {
			if strings.HasPrefix(s, step) {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		},
	})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func fakeController(i ControllerInfo) (Command, error) {
	self, err := os.Executable()
	return Command{
		Argv: []string{self, i.Dir}, // the directory makes it recognisable as the lab's
		Env:  []string{"LAB_TEST_ROLE=controller", "LAB_TEST_ADDR=" + i.Addr.String()},
	}, err
}

// fakeJoin does what the join command and the controller do together.
func fakeJoin(i JoinInfo) (string, error) {
	return fmt.Sprintf(`ovs-vsctl set-manager tcp:%[1]s:%[2]d -- set manager tcp:%[1]s:%[2]d max_backoff=1000 \
		-- --may-exist add-br br-int -- set bridge br-int datapath_type=%[4]s fail_mode=secure \
		-- set-controller br-int tcp:%[1]s:%[3]d`, i.Controller, OVSDBPort, OpenFlowPort, i.Datapath), nil
}

func TestHostsJoinTheController(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "c"))
	o := UpOptions{Controller: fakeController, Join: fakeJoin}
	up(t, m, s, o)
	ctx := testCtx(t)
	connected := func() Status {
		t.Helper()
		for {
			st, err := m.Status(ctx, s.Name)
			if err != nil {
				t.Fatal(err)
			}
			if st.Ready() && st.Controller.Running && st.Hosts[0].OVSDB && st.Hosts[1].OVSDB {
				return st
			}
		}
	}
	first := connected()
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	if again := connected(); again.Controller.PID != first.Controller.PID {
		t.Error("up again restarted the controller")
	}
	if err := m.RestartController(ctx, s.Name, AtOnce); err != nil {
		t.Fatal(err)
	}
	if now, err := m.Status(ctx, s.Name); err != nil || !now.Controller.Running || now.Controller.PID == first.Controller.PID {
		t.Errorf("the controller was not restarted: %+v, %v", now.Controller, err)
	}
	if err := m.StopController(ctx, s.Name, Gracefully); err != nil {
		t.Fatal(err)
	}
	if st, err := m.Status(ctx, s.Name); err != nil || st.Controller.Running {
		t.Errorf("stopped: %+v, %v", st.Controller, err)
	}
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	if st, err := m.Status(ctx, s.Name); err != nil || !st.Controller.Running {
		t.Errorf("up did not start it again: %+v, %v", st.Controller, err)
	}
}

// A controller or a join that fails is told with what it said, and nothing is
// left.
func TestFailuresAreToldAndCleanedUp(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "f"))
	shell := func(script string) func(ControllerInfo) (Command, error) {
		return func(ControllerInfo) (Command, error) { return Command{Argv: []string{"/bin/sh", "-c", script}}, nil }
	}
	for want, o := range map[string]UpOptions{
		"no such setting":         {Controller: shell("echo no such setting >&2; exit 1")},
		"no idea":                 {Controller: func(ControllerInfo) (Command, error) { return Command{}, errors.New("no idea") }},
		"its command is empty":    {Controller: func(ControllerInfo) (Command, error) { return Command{}, nil }},
		"host host1: join: nope":  {Join: func(i JoinInfo) (string, error) { return "", onHost1(i, "nope") }},
		"unknown command 'bogus'": {Join: func(JoinInfo) (string, error) { return "ovs-vsctl bogus", nil }},
	} {
		err := m.Up(testCtx(t), s, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want it to say %q", err, want)
		}
		noTrace(t, m, s.Name)
	}
	s.Hosts[0].Datapath = datapathSystem
	if detectDatapath() == datapathNetdev {
		if err := m.Up(testCtx(t), s, UpOptions{}); err == nil || !strings.Contains(err.Error(), "no openvswitch module") {
			t.Errorf("the kernel's datapath without the module: %v", err)
		}
		noTrace(t, m, s.Name)
	}
}

func onHost1(i JoinInfo, text string) error {
	if i.Host.Name == "host1" {
		return errors.New(text)
	}
	return nil
}

// An Up that is killed can clean up nothing; Down, or the next Up, can.
func TestKilledUp(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	for i, step := range []string{"namespaces", "controller", "host host1: links", "host host2: join", "underlay"} {
		name := testLab(t, fmt.Sprintf("k%d", i))
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "LAB_TEST_ROLE=up", "LAB_TEST_ROOT="+m.root, "LAB_TEST_NAME="+name, "LAB_TEST_STEP="+step)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Errorf("%s: not killed: %v: %s", step, err, out)
		}
		if i%2 == 0 {
			if err := m.Up(testCtx(t), twoHosts(name), UpOptions{Controller: fakeController, Join: fakeJoin}); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
		if existed, err := m.Down(testCtx(t), name); !existed || err != nil {
			t.Errorf("%s: down: %v, %v", step, existed, err)
		}
		noTrace(t, m, name)
	}
}

// An Up that was killed between starting the controller and noting its process
// leaves one that holds the ports; the next Up ends it and starts its own.
func TestUpFindsAnUnnotedController(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "u"))
	s.Hosts, s.Attachments = s.Hosts[:1], nil
	o := UpOptions{Controller: fakeController, Join: fakeJoin}
	up(t, m, s, o)
	var forgotten process
	err := m.edit(testCtx(t), s.Name, "forget the controller", func(l *instance) error {
		forgotten = l.st.Processes[controllerKey]
		return l.update(func(st *state) { delete(st.Processes, controllerKey) })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Up(testCtx(t), s, o); err != nil {
		t.Fatal(err)
	}
	if forgotten.alive() {
		t.Error("the controller of the killed Up is still there")
	}
}

// After a reboot the state file, if it is still there, names processes that are
// others now.
func TestDownAfterReboot(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer bystander.Wait()
	defer bystander.Process.Kill()
	p, err := identify(bystander.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	was := p
	was.Boot = "another"
	l := &instance{m: m, name: testLab(t, "b")}
	spec := twoHosts(l.name)
	if err := l.update(func(st *state) {
		*st = state{
			Version: stateVersion, Phase: PhaseUp, Spec: spec, Namespaces: spec.namespaces(),
			Processes: map[string]process{"host1/ovs-vswitchd": was},
		}
	}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if existed, err := m.Down(testCtx(t), l.name); !existed || err != nil {
		t.Errorf("%v, %v", existed, err)
	}
	t.Logf("down: %v", time.Since(start))
	if !p.alive() {
		t.Error("a process of the new boot was killed")
	}
	noTrace(t, m, l.name)
}
