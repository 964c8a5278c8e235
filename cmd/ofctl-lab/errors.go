package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/topo/nearest"
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

// meant is what to try instead of s: the nearest candidate, or all if they are
// few, or nothing.
func meant(s string, candidates []string) string {
	const few = 12
	if n := nearest.To(s, candidates); n != "" {
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
