package harness

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteText writes the difference as a table for people.
func (d *Difference) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: ", d.Benchmark)
	switch {
	case d.Exact:
		fmt.Fprintln(&b, "counts")
	case d.Reference == "":
		fmt.Fprintf(&b, "values in %s; no limit and no rival is in both results, so a change of the machine counts too\n", d.Unit)
	default:
		fmt.Fprintf(&b, "each peer relative to %s of the same run\n", d.Reference)
	}
	for _, warning := range d.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "peer\told\tnew\tchange\tinterval\tverdict")
	for _, c := range d.Changes {
		fmt.Fprintln(t, d.row(c))
	}
	t.Flush() // writing to memory cannot fail
	for _, u := range d.Unpaired {
		fmt.Fprintln(&b, u)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func (d *Difference) row(c Change) string {
	name, unit, format := c.Peer, " "+d.Unit, (&Result{Exact: d.Exact}).number
	if c.Detail != "" {
		name, unit = name+" ("+c.Detail+")", ""
	}
	if c.Relative {
		unit = " ×"
	}
	factor, interval, verdict := "-", "-", string(c.Verdict)
	if c.Factor != nil {
		factor = change(*c.Factor)
	}
	if c.Interval != nil {
		interval = change(c.Interval.Low) + " … " + change(c.Interval.High)
	}
	return fmt.Sprintf("%s\t%s%s\t%s%s\t%s\t%s\t%s", name, format(c.Old), unit, format(c.New), unit, factor, interval, verdict)
}

// change is a factor as a signed percentage, or where it is large as a factor.
func change(factor float64) string {
	if factor >= 2 {
		return number(factor) + " ×"
	}
	return fmt.Sprintf("%+.1f %%", 100*(factor-1))
}
