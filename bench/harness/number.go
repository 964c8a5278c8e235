package harness

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// number is v with about three digits that mean something, and never fewer than those before the point.
func number(v float64) string {
	abs := math.Abs(v)
	switch {
	case v == 0:
		return "0"
	case abs >= 1e15:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case abs >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case abs >= 0.0995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// number is that of a value of the result: a count is written as one.
func (r *Result) number(v float64) string {
	if r.Exact && v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return number(v)
}

// interval is "low … high", or a dash.
func (r *Result) interval(i *Interval) string {
	if i == nil {
		return "-"
	}
	return r.number(i.Low) + " … " + r.number(i.High)
}

// signed is v with its sign, also where it is positive.
func (r *Result) signed(v float64) string {
	if v < 0 {
		return "- " + r.number(-v)
	}
	return "+ " + r.number(v)
}

// percent is a share as a percentage.
func percent(share float64) string { return number(100*share) + " %" }

// latency is nanoseconds with a unit that suits them.
func latency(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", ns)
	case d < time.Millisecond:
		return number(float64(ns)/1e3) + " µs"
	case d < time.Second:
		return number(float64(ns)/1e6) + " ms"
	}
	return number(d.Seconds()) + " s"
}

// known is a text of the environment, which may be empty.
func known(text string) string {
	if strings.TrimSpace(text) == "" {
		return "unknown"
	}
	return text
}
