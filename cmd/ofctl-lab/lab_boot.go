package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// awaitGuests waits until virtual machines of the lab are ready, all of them if
// none is named, and shows how far they are.
func (a *app) awaitGuests(ctx context.Context, m *lab.Manager, name string, guests ...string) error {
	show := bootProgress(a.err)
	err := m.AwaitMachines(ctx, name, guests, show.step)
	show.end()
	return err
}

// boots shows how far guests are that boot: on a terminal by a bar, elsewhere by
// a line for each step.
type boots struct {
	w    io.Writer
	bar  *progressbar.ProgressBar
	last map[string]lab.MachineProgress
}

// bootProgress shows on w.
func bootProgress(w io.Writer) *boots {
	b := &boots{w: w, last: map[string]lab.MachineProgress{}}
	if isTerminal(w) {
		b.bar = progressbar.NewOptions(1, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(20),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	}
	return b
}

// step shows how far one guest is.
func (b *boots) step(p lab.MachineProgress) {
	was := b.last[p.Name]
	b.last[p.Name] = p
	if p.Done != was.Done || p.Step != was.Step {
		b.line(fmt.Sprintf("guest %s on %s: %s (%d of %d)", p.Name, p.Host, p.Step, p.Done, p.Steps))
	}
	if b.bar == nil {
		return
	}
	done, all := 0, 0
	for _, p := range b.last {
		done, all = done+p.Done, all+p.Steps
	}
	b.bar.ChangeMax(all)
	b.bar.Describe(p.Name + ": " + shorten(p.Console, 50))
	// Showing fails with its terminal, which then misses it.
	_ = b.bar.Set(min(done, all-1))
}

func (b *boots) line(s string) {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprintln(b.w, s)
}

func (b *boots) end() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// shorten is at most n characters of s.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
