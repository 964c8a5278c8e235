package harness

import (
	"fmt"
	"io"
)

// Mode is how a Live shows progress.
type Mode string

// The modes.
const (
	Auto  Mode = "auto"  // a table on a terminal, lines elsewhere
	Table Mode = "table" // redrawn in place
	Lines Mode = "lines" // one per sample
)

// Live shows the progress of measurements, one after the other. Show is an Options.Progress.
type Live struct {
	w    io.Writer
	mode Mode
}

// NewLive shows progress on w.
func NewLive(w io.Writer, mode Mode) *Live { return &Live{w: w, mode: mode} }

// Show shows an event.
func (l *Live) Show(e Event) {
	if e.Phase == Measured {
		fmt.Fprintf(l.w, "%s  round %d of %d  %-28s %.4g %s\n", e.Benchmark, e.Round, e.Rounds, e.Peer, e.Sample.Value, e.Unit)
	}
}
