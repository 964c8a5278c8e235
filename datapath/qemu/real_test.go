package qemu

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// needQEMU skips, loudly, where no machine can be run.
func needQEMU(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root(), need.QEMU())
}

// start runs qemu with the machine in a directory of its own and the taps in a
// namespace of their own.
func start(t *testing.T, m guest.Machine) (dir string) {
	t.Helper()
	ns, err := netdev.CreateNamespace(fmt.Sprintf("q%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ns.Close()
		if err := netdev.DeleteNamespace(ns.Name()); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command("")
	for i := range m.NICs {
		tap, err := ns.OpenTap(fmt.Sprintf("tap%d", i))
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, tap)
	}
	argv, err := Command(m, Options{Accel: TCG, TapFDs: fds(len(m.NICs))})
	if err != nil {
		t.Fatal(err)
	}
	// It does not run yet: what is looked at is there from the beginning.
	argv = append(argv, "-S")
	dir = t.TempDir()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Path, cmd.Args, cmd.Dir, cmd.Stderr = path, argv, dir, &said
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	for !exists(filepath.Join(dir, AgentSocket)) {
		select {
		case <-ended:
			t.Fatalf("qemu ended: %s", said.String())
		default:
		}
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The real qemu takes every command line of ours, and has the NICs where we want
// them, more than seven of them too.
func TestRealCommand(t *testing.T) {
	needQEMU(t)
	need.Have(t, need.Tun())
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			files := t.TempDir()
			image := func(path string) string {
				if path == "" {
					return ""
				}
				path = filepath.Join(files, filepath.Base(path))
				if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			m.CDROM = image(m.CDROM)
			for i := range m.Disks {
				// An empty image is one in raw format only.
				m.Disks[i].Path, m.Disks[i].Format = image(m.Disks[i].Path), "raw"
			}
			if m.Kernel != "" {
				// A kernel is read at once; any other program does not pass for one.
				m.Kernel, m.Initrd = "", ""
				m.Disks, m.DiskBus = []guest.Disk{{Path: image("d"), Format: "raw"}}, busIDE
			}
			m.Memory = 64
			dir := start(t, m)
			ctx := testCtx(t)
			q, err := DialQMP(ctx, dir, MonitorSocket)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			nics := pciSlots(ctx, t, q)
			for i := range m.NICs {
				if nics[NICID(i)] != slotNIC+i {
					t.Errorf("%s is in slot %d, want %d", NICID(i), nics[NICID(i)], slotNIC+i)
				}
			}
			if len(m.NICs) > 0 {
				if err := q.Execute(ctx, "set_link", map[string]any{"name": NICID(0), "up": false}, nil); err != nil {
					t.Error(err)
				}
			}
			var refused *Error
			if err := q.Execute(ctx, "set_link", map[string]any{"name": "nothing", "up": false}, nil); !errors.As(err, &refused) {
				t.Errorf("a NIC that is not there: %v", err)
			}
			if err := q.Execute(ctx, "quit", nil, nil); err != nil {
				t.Error(err)
			}
			<-q.Done()
		})
	}
}

func pciSlots(ctx context.Context, t *testing.T, q *QMP) map[string]int {
	t.Helper()
	var buses []struct {
		Devices []struct {
			ID   string `json:"qdev_id"`
			Slot int    `json:"slot"`
		} `json:"devices"`
	}
	if err := q.Execute(ctx, "query-pci", nil, &buses); err != nil {
		t.Fatal(err)
	}
	slots := map[string]int{}
	for _, d := range buses[0].Devices {
		slots[d.ID] = d.Slot
	}
	return slots
}

// TCG works everywhere, so the probe must say so; and a machine that does not get
// to its end must be seen not to.
func TestProbe(t *testing.T) {
	needQEMU(t)
	if err := Probe(testCtx(t), TCG); err != nil {
		t.Error("TCG:", err)
	}
	if err := Probe(testCtx(t), "nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an accelerator that does not exist: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Probe(ctx, TCG); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// Whatever this machine has of KVM, what is chosen agrees with what is said of it.
	found, note, err := FindAccel(testCtx(t))
	t.Logf("here: %s %s", found, note)
	if err != nil || (found == TCG) != (note != "") {
		t.Errorf("%s %q %v", found, note, err)
	}
	if err := CheckKVM(testCtx(t)); (err == nil) != (found == KVM) || err != nil && !errors.Is(err, ErrNoKVM) {
		t.Errorf("%s is found, and the check says %v", found, err)
	}
}

// The bytes of the probe are what its source says.
func TestProbeSource(t *testing.T) {
	need.Have(t, need.Programs("deps", "as", "ld"))
	dir := t.TempDir()
	object, rom := filepath.Join(dir, "probe.o"), filepath.Join(dir, "probe.rom")
	for _, argv := range [][]string{
		{"as", "--64", "-o", object, "testdata/probe.S"},
		{"ld", "-m", "elf_x86_64", "-Ttext", "0", "--oformat", "binary", "-o", rom, object},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", argv, out)
		}
	}
	f, err := os.Open(rom)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := probeROM()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("assembled: %s", hex.EncodeToString(bytes.TrimRight(want[:resetAt], "\x00")))
	}
}
