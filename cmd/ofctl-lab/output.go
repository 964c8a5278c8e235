package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// format is how data is written to standard output.
type format string

const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

var formats = []string{string(formatTable), string(formatWide), string(formatJSON), string(formatYAML)}

// addOutputFlag gives cmd the flag -o for what the HTTP interface answers.
func addOutputFlag(cmd *cobra.Command) {
	addFormatFlag(cmd, "the fields of json and yaml are those of the HTTP interface")
}

// addFormatFlag gives cmd the flag -o; fields says whose the fields of json and yaml are.
func addFormatFlag(cmd *cobra.Command, fields string) {
	cmd.Flags().StringP("output", "o", string(formatTable), "output format: table, wide, json or yaml; "+fields)
	// The error is for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// format is the wanted output format.
func (a *app) format() (format, error) {
	f := a.settings.GetString("output")
	if f == "" {
		return formatTable, nil
	}
	if !slices.Contains(formats, f) {
		return "", usagef("output format %q is none of %s", f, strings.Join(formats, ", "))
	}
	return format(f), nil
}

// emit writes v as JSON or YAML, or calls text for the other formats.
func (a *app) emit(v any, text func(t *tables, f format)) error {
	f, err := a.format()
	if err != nil {
		return err
	}
	switch f {
	case formatJSON:
		return writeJSON(a.out, v)
	case formatYAML:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encoding the output: %w", err)
		}
		// Through JSON, so that the names of the fields are the same in both.
		if b, err = yaml.JSONToYAML(b); err != nil {
			return fmt.Errorf("encoding the output: %w", err)
		}
		_, err = a.out.Write(b)
		return err
	}
	t := &tables{w: a.out}
	text(t, f)
	return t.err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// tables writes tables and lines to w and remembers the first error.
type tables struct {
	w   io.Writer
	err error
	any bool // something was written
}

// table writes the rows in columns under the heading; an empty cell is "-".
func (t *tables) table(heading []string, rows [][]string) {
	tw := tabwriter.NewWriter(t.w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(heading, "\t"))
	for _, r := range rows {
		for i, c := range r {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			if c == "" {
				c = "-"
			}
			fmt.Fprint(tw, clean(c))
		}
		fmt.Fprintln(tw)
	}
	t.note(tw.Flush())
	t.any = true
}

// line writes one line.
func (t *tables) line(format string, args ...any) {
	_, err := fmt.Fprintf(t.w, format+"\n", args...)
	t.note(err)
	t.any = true
}

// gap writes an empty line, unless nothing was written yet.
func (t *tables) gap() {
	if t.any {
		t.line("")
	}
}

// fields writes "name: value" lines with the values in one column; a value that
// is empty is left out.
func (t *tables) fields(pairs ...string) {
	tw := tabwriter.NewWriter(t.w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s:\t%s\n", pairs[i], clean(pairs[i+1]))
		}
	}
	t.note(tw.Flush())
	t.any = true
}

func (t *tables) note(err error) {
	if t.err == nil {
		t.err = err
	}
}

// clean keeps text that came from a switch or a host from controlling the
// terminal or breaking the columns.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
