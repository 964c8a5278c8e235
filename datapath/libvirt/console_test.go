package libvirt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
)

// shown is a terminal's screen that says when a text is on it.
type shown struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{}
}

func newShown() *shown { return &shown{more: make(chan struct{}, 1)} }

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await types a key again and again until the text is shown.
func (s *shown) await(t *testing.T, typed io.Writer, key, text string) {
	t.Helper()
	deadline, again := time.After(time.Minute), time.NewTicker(200*time.Millisecond)
	defer again.Stop()
	for {
		s.mu.Lock()
		now := s.all.String()
		s.mu.Unlock()
		if strings.Contains(now, text) {
			return
		}
		select {
		case <-s.more:
		case <-again.C:
			if _, err := io.WriteString(typed, key); err != nil {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatalf("%q is not on the screen, but %q", text, now)
		}
	}
}

// unwilling is a terminal that has gone.
type unwilling struct{}

func (unwilling) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// testConsole asks the BIOS for its menu, which proves both directions.
func testConsole(t *testing.T, d *libvirttest.Daemon) {
	ctx, c := t.Context(), d.Connect(t)
	if _, err := c.Define(ctx, libvirt.Definition{Domain: domain("con", uuid.New(), "")}); err != nil {
		t.Fatal(err)
	}
	screen := newShown()
	if err := c.Console(ctx, "con", libvirt.Streams{In: strings.NewReader(""), Out: screen}, libvirt.ConsoleRefuse); err == nil || !strings.Contains(err.Error(), "start it first") {
		t.Errorf("console of one that is off: %v", err)
	}
	if err := c.Start(ctx, "con"); err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context, out io.Writer, sharing libvirt.ConsoleSharing) (io.WriteCloser, chan error) {
		in, typed := io.Pipe()
		t.Cleanup(func() { typed.Close() })
		ended := make(chan error, 1)
		go func() {
			err := c.Console(ctx, "con", libvirt.Streams{In: in, Out: out}, sharing)
			_ = in.CloseWithError(fmt.Errorf("the console has ended: %w", err))
			ended <- err
		}()
		return typed, ended
	}
	typed, ended := open(ctx, screen, libvirt.ConsoleRefuse)
	screen.await(t, typed, "\x1b", "Select boot device")

	_, refused := open(ctx, newShown(), libvirt.ConsoleRefuse)
	if err := <-refused; err == nil {
		t.Error("two have the console")
	}
	if _, err := typed.Write([]byte("x" + string(rune(libvirt.Escape)))); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended by ^]: %v", err)
	}

	short, cancel := context.WithCancel(ctx)
	_, ended = open(short, screen, libvirt.ConsoleTake)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended by the context: %v", err)
	}

	screen = newShown()
	typed, ended = open(ctx, screen, libvirt.ConsoleTake)
	screen.await(t, typed, "\x1b", "boot")
	if err := c.Stop(ctx, "con", 0, libvirt.AskThenDestroy); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended by the domain: %v", err)
	}

	// A screen that has gone ends the console, and the connection goes on.
	if err := c.Start(ctx, "con"); err != nil {
		t.Fatal(err)
	}
	typed, ended = open(ctx, unwilling{}, libvirt.ConsoleTake)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for err := error(nil); err == nil; <-again.C {
		_, err = io.WriteString(typed, "\x1b") // until there is something to show
	}
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("ended by its screen: %v", err)
	}
	if err := c.Stop(ctx, "con", 0, libvirt.AskThenDestroy); err != nil {
		t.Fatal(err)
	}
	if err := c.Undefine(ctx, "con", libvirt.DefinitionOnly); err != nil {
		t.Error(err)
	}
}
