package harness

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
)

// Mode is how a Live shows progress.
type Mode string

// The modes.
const (
	Auto  Mode = "auto"  // Table on a terminal, Lines elsewhere
	Table Mode = "table" // redrawn in place, and gone at the end
	Lines Mode = "lines" // one per sample
)

// A terminal that does not tell its size has this one.
const (
	usualColumns = 80
	usualLines   = 24
)

// Live shows the progress of measurements, one after the other. Its methods must not be called
// concurrently; Measure does not. What cannot be written is lost: progress is no result.
type Live struct {
	w     io.Writer
	table bool
	size  func() (columns, lines int)
	drawn int // lines of the last table, to go up
	bar   *progressbar.ProgressBar
	sofar *Result // after the last sample, which changes it and nothing else does
}

// NewLive shows progress on w.
func NewLive(w io.Writer, mode Mode) *Live {
	l := &Live{w: w, table: mode == Table, size: func() (int, int) { return usualColumns, usualLines }}
	f, ok := w.(*os.File)
	if !ok {
		return l
	}
	if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err != nil {
		return l
	}
	// Asked each time: the user may change the size.
	l.size = func() (int, int) {
		s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil || s.Col == 0 || s.Row == 0 {
			return usualColumns, usualLines
		}
		return int(s.Col), int(s.Row)
	}
	// A dumb terminal cannot go up a line.
	l.table = l.table || mode == Auto && os.Getenv("TERM") != "dumb"
	return l
}

// Show shows an event. It is an Options.Progress.
func (l *Live) Show(e Event) {
	if !l.table {
		l.line(e)
		return
	}
	var frame []string
	if e.Phase != Finished {
		frame = l.frame(e)
	}
	l.redraw(frame)
}

// line writes a line for what takes time, and for what has been measured.
func (l *Live) line(e Event) {
	switch e.Phase {
	case SettingUp, Cleaning:
		fmt.Fprintf(l.w, "%s: %s\n", e.Benchmark, e.Phase)
	case WarmingUp:
		fmt.Fprintf(l.w, "%s: %s %s\n", e.Benchmark, e.Phase, e.Peer)
	case Measured:
		fmt.Fprintf(l.w, "%s: round %d of %d  %-28s %s %s\n", e.Benchmark, e.Round, e.Rounds, e.Peer, number(e.Sample.Value), e.Unit)
	}
}

// redraw replaces the last table.
func (l *Live) redraw(frame []string) {
	columns, lines := l.size()
	// The last line stays free: a table that scrolls the screen could not be found again.
	if most := max(lines-1, 1); len(frame) > most {
		// The end tells what is going on.
		frame = frame[len(frame)-most:]
	}
	var b strings.Builder
	if l.drawn > 0 {
		// Up, and erase to the end of the screen.
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", l.drawn)
	}
	for _, text := range frame {
		b.WriteString(cut(text, columns-1))
		b.WriteByte('\n')
	}
	l.drawn = len(frame)
	io.WriteString(l.w, b.String())
}

// cut shortens a line that would wrap.
func cut(text string, columns int) string {
	text = strings.TrimRight(text, " ")
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	if columns < 1 {
		return ""
	}
	return string([]rune(text)[:columns-1]) + "…"
}

// frame are the lines of the table.
func (l *Live) frame(e Event) []string {
	if e.SoFar == nil {
		l.bar, l.sofar = nil, nil
		return []string{fmt.Sprintf("%s: %s", e.Benchmark, e.Phase)}
	}
	if l.sofar == nil || e.Phase == Measured {
		l.sofar = e.SoFar()
	}
	r := l.sofar
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n", r.Benchmark, r.Title)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	writeRow(t, "peer", append([]string{"role", "rounds"}, r.header(nil)[1:]...))
	for i := range r.Peers {
		p := &r.Peers[i]
		cells := r.row(p, nil)
		writeRow(t, p.Name, append([]string{cells[0], fmt.Sprint(len(p.Samples))}, cells[1:]...))
	}
	t.Flush() // writing to memory cannot fail
	what := string(e.Phase)
	if e.Peer != "" {
		what += " " + e.Peer
	}
	if e.Round > 0 {
		what += fmt.Sprintf(", round %d of %d", e.Round, e.Rounds)
	}
	fmt.Fprintln(&b, what)
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if bar := l.progress(e); bar != "" {
		lines = append(lines, bar)
	}
	return lines
}

// progress is the bar: runs done, time passed and time left.
func (l *Live) progress(e Event) string {
	if e.Total == 0 {
		return ""
	}
	if l.bar == nil {
		l.bar = progressbar.NewOptions(e.Total, progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(0))
	}
	if err := l.bar.Set(e.Done); err != nil {
		return fmt.Sprintf("%d of %d runs", e.Done, e.Total)
	}
	return strings.Trim(l.bar.String(), "\r\n ")
}
