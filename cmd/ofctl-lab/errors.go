package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitDiffer = 3
)

// usageError is a command line that cannot be meant; exit status 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// statusError ends the program with a status and, if err is nil, without a message.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}
func (e statusError) Unwrap() error { return e.err }

// located are errors whose lines start with FILE:line:column; editors and people
// find the place, so nothing is put before them.
type located struct{ err error }

func (e located) Error() string { return e.err.Error() }
func (e located) Unwrap() error { return e.err }

// report prints err and says with which status to exit.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	var st statusError
	if errors.As(err, &st) && st.err == nil {
		return st.status
	}
	if loc := (located{}); errors.As(err, &loc) {
		fmt.Fprintln(w, err)
	} else {
		fmt.Fprintf(w, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	if u := (usageError{}); errors.As(err, &u) {
		fmt.Fprintf(w, "see '%s --help'\n", cmd.CommandPath())
		return exitUsage
	}
	if st.status != 0 {
		return st.status
	}
	return exitFailed
}

// nearest is the candidate that s may have been meant to be, "" if none is near.
func nearest(s string, candidates []string) string {
	best, bestD := "", len(s)/3+2
	for _, c := range candidates {
		if d := distance(s, c); d < bestD {
			best, bestD = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// meant is what to try instead of s: the nearest candidate, or all if they are
// few, or nothing.
func meant(s string, candidates []string) string {
	const few = 12
	if n := nearest(s, candidates); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	switch {
	case len(candidates) == 0:
		return "there is none"
	case len(candidates) <= few:
		return "there is " + strings.Join(candidates, ", ")
	}
	return fmt.Sprintf("there are %d others", len(candidates))
}
