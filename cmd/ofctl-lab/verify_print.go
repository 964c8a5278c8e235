package main

import (
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
)

// printVerification says what was proved, or what breaks it.
func printVerification(t *tables, v *explain.Verification, raw bool) {
	for i := range v.Violations {
		printViolation(t, &v.Violations[i], raw)
		t.line("")
	}
	for _, d := range v.Doubts {
		where := ""
		if d.Host != "" {
			where = "host " + d.Host + ": "
		}
		t.line("not decided: %s%s", clean(where), clean(d.Why))
	}
	if len(v.Doubts) > 0 {
		t.line("")
	}
	switch v.Verdict {
	case explain.Isolated:
		t.line("isolated: %s on %s", count(v.Networks, "network"), few(v.Hosts))
	case explain.Violated:
		t.line("not isolated: %s", count(len(v.Violations), "violation"))
	default:
		t.line("undecided: %s", count(len(v.Doubts), "doubt"))
	}
	rows := make([][]string, 0, len(v.Properties))
	for _, p := range v.Properties {
		rows = append(rows, []string{"  " + p.Name, p.Verdict, p.Means})
	}
	t.table([]string{"  PROPERTY", "VERDICT", "FOR EVERY PACKET"}, rows)
	t.line("%s of %s, %s, %s and %s on %s; %s, %s, %s refuted, in %.1f ms",
		count(v.Networks, "network"), count(v.Tenants, "tenant"), count(v.Ports, "port"), count(v.Flows, "flow"), count(v.Groups, "group"),
		count(len(v.Hosts), "host"), count(v.Ingresses, "way")+" in", count(v.Classes, "class")+" of packets", count(v.Refuted, "suspicion"), v.Milliseconds)
	for _, s := range v.Trusts {
		t.line("taken for granted: %s", clean(s))
	}
}

func few(names []string) string {
	const some = 6
	if len(names) > some {
		return clean(strings.Join(names[:some], ", ")) + fmt.Sprintf(" and %d more", len(names)-some)
	}
	return clean(strings.Join(names, ", "))
}

// count is a number of things.
func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func printViolation(t *tables, v *explain.Violation, raw bool) {
	t.line("%s is broken on %s: %s", v.Property, clean(v.Host), clean(v.What))
	fields := []string{"  from", v.From, "  packet", v.Packet, "  frame", v.Frame}
	if v.Flow != nil {
		fields = append(fields, "  by", flowText(v.Table, v.Flow)+", actions="+v.Flow.Actions)
		if raw {
			fields = append(fields, "  raw", v.Flow.Raw)
		}
	}
	t.fields(fields...)
	if v.Trace != nil {
		p := &tracePrinter{tables: t, options: traceOptions{raw: raw}}
		p.hop(v.Trace, "")
	}
}
