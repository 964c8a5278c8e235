package harness

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// screen is a terminal that knows what Live uses: new lines, going up, erasing below.
type screen struct {
	t             *testing.T
	columns, rows int
	lines         []string // above the cursor, which is at the beginning of a line
	most          int      // lines that were there at once
}

var up = regexp.MustCompile("^\x1b\\[(\\d+)A\r\x1b\\[J")

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	if m := up.FindStringSubmatch(text); m != nil {
		var n int
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			s.t.Error(err)
		}
		if n > len(s.lines) || n >= s.rows {
			s.t.Errorf("%d lines up on a screen of %d lines with %d above", n, s.rows, len(s.lines))
			n = len(s.lines)
		}
		s.lines = s.lines[:len(s.lines)-n]
		text = strings.TrimPrefix(text, m[0])
	}
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\r") {
			s.t.Errorf("a part of a line or a control character: %q", line)
		}
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) >= s.columns {
			s.t.Errorf("%d columns are too few for %q", s.columns, line)
		}
		s.lines = append(s.lines, line)
	}
	s.most = max(s.most, len(s.lines))
	return len(p), nil
}

func TestLiveTableStaysInPlace(t *testing.T) {
	for _, c := range []struct{ columns, rows int }{{120, 40}, {80, 24}, {20, 5}, {2, 2}, {1, 1}} {
		t.Run(fmt.Sprintf("%d×%d", c.columns, c.rows), func(t *testing.T) {
			s := &screen{t: t, columns: c.columns, rows: max(c.rows, 2)}
			live := NewLive(s, Table)
			live.size = func() (int, int) { return c.columns, c.rows }
			for range 2 {
				var order []string
				b := benchmarkOf(Higher, &order, peerOf("ours", Ours, &order, 1, 2, 3), peerOf("a rival", Rival, &order, 10, 20, 30),
					Peer{Name: "another", Role: Rival, Missing: "gone"})
				b.NoWarmUp = false
				measureOrFail(t, b, Options{Rounds: 2, Progress: func(e Event) {
					live.Show(e)
					if c.columns == 120 && e.Phase == Measured && e.Done == e.Total {
						checkScreen(t, s)
					}
				}})
				if len(s.lines) != 0 {
					t.Errorf("left at the end: %q", s.lines)
				}
			}
			if want := min(8, max(c.rows-1, 1)); s.most > want {
				t.Errorf("%d lines at once, want at most %d", s.most, want)
			}
		})
	}
}

func checkScreen(t *testing.T, s *screen) {
	all := strings.Join(s.lines, "\n")
	for _, want := range []string{`fixed: a title`, `peer +role +rounds +things/s +interval +min +max +to a rival`,
		`ours +ours +2 +2\.50 +- +2\.00 +3\.00 +0\.10`, `another +peer +0 +missing`, `measured (ours|a rival), round 2 of 2`, `100%.*6/6`} {
		if !regexp.MustCompile(want).MatchString(all) {
			t.Errorf("the table lacks %q:\n%s", want, all)
		}
	}
}

func TestLiveLines(t *testing.T) {
	var out bytes.Buffer
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("ours", Ours, &order, 1, 2))
	measureOrFail(t, b, Options{Rounds: 2, Progress: NewLive(&out, Auto).Show})
	want := "fixed: setting up\n" +
		"fixed: round 1 of 2  ours                         1.00 things/s\n" +
		"fixed: round 2 of 2  ours                         2.00 things/s\n" +
		"fixed: cleaning up\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", &out, want)
	}
}
