package libvirt_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake listens where a daemon would, and answers what arrives first with answer.
func fake(t *testing.T, answer []byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lv")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			for first := true; ; first = false {
				if _, err := conn.Read(buf); err != nil {
					break
				}
				if first {
					_, _ = conn.Write(answer)
				}
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return "unix://" + path
}

// A daemon that accepts and says nothing ends no program.
func TestDaemonThatSaysNothing(t *testing.T) {
	uri := fake(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := libvirt.Connect(ctx, uri)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer from /") {
		t.Errorf("connect: %v", err)
	}
}

// What is no libvirt ends the connection, not the program.
func TestHostilePackets(t *testing.T) {
	packet := func(length uint32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), append(rest, make([]byte, 64)...)...)
	}
	var consent []byte // REMOTE_PROC_CONNECT_OPEN, a reply, all well
	for _, word := range []uint32{28, 0x20008086, 1, 1, 1, 99, 0} {
		consent = binary.BigEndian.AppendUint32(consent, word)
	}
	for what, answer := range map[string][]byte{
		"a length of 0":            packet(0),
		"less than a header":       packet(27),
		"4 GiB":                    packet(0xffffffff),
		"HTTP":                     []byte("HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 64)),
		"one byte over the limit":  packet(32<<20 + 5),
		"an end within the length": {0},
		// As the answer to another call, and then no packet.
		"consent": append(consent, packet(0)...),
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := libvirt.Connect(ctx, fake(t, answer)); !errors.Is(err, libvirt.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("connect: %v", err)
			}
		})
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), stale} {
		_, err := libvirt.Connect(t.Context(), "unix://"+path)
		if !errors.Is(err, libvirt.ErrNotRunning) {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for _, want := range []string{path, "apt-get install", "systemctl start", "--connect"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
	}
}

func TestURI(t *testing.T) {
	for _, bad := range []struct{ uri, says string }{
		{"qemu+ssh://root@host2/system", "host2"},
		{"qemu://host2/system", "host2"},
		{"qemu+tcp:///system", "scheme"},
		{"xen:///system", "scheme"},
		{"qemu:///sytem", "/sytem"},
		{"qemu:///system?sock=/x", "sock"},
		{"qemu:///system?socket=relative", "absolute"},
		{"qemu:///system?socket=%zz", "cannot be read"},
		{"unix://relative/path", "relative"},
		{"unix:///", "absolute path"},
		{"/run/libvirt/libvirt-sock", "scheme"},
		{"%", "no URI"},
	} {
		_, err := libvirt.Connect(t.Context(), bad.uri)
		if err == nil || !strings.Contains(err.Error(), bad.says) || !strings.Contains(err.Error(), "use qemu:///system") {
			t.Errorf("%s: %v", bad.uri, err)
		}
	}
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	for uri, socket := range map[string]string{
		"qemu:///session":                      dir + "/libvirt/libvirt-sock",
		"qemu:///session?socket=" + dir + "/a": dir + "/a",
		"qemu+unix:///system?socket=" + dir:    dir,
		"unix://" + dir + "/b":                 dir + "/b",
	} {
		// Nobody listens there, and a directory is no socket.
		if _, err := libvirt.Connect(t.Context(), uri); err == nil || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: %v, want %s tried", uri, err, socket)
		}
	}
}
