package pipeline

import (
	"fmt"
	"strings"

	f "github.com/ofctl-lab/ofctl-lab/flows"
)

// Reference is docs/reference/pipeline.md: the declarations as a document.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# The pipeline

Generated from the declarations in ` + "`flows/pipeline`" + ` by ` + "`make generate`" + `; do not edit.

A packet enters at the first table and only moves on to tables with a higher number. Table numbers are spaced by
ten and never reused. Every flow that the controller compiles is checked, in tests, against these declarations.

| number | table | stage | purpose | a packet that no row takes |
|---|---|---|---|---|
`)
	for _, d := range pipeline {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s | %s |\n", d.Table, d.Name, d.Stage, d.Purpose, d.Miss)
	}
	b.WriteString("\n## What each table may do\n")
	for _, d := range pipeline {
		fmt.Fprintf(&b, "\n### `%s` (table %d)\n\n%s%s.\n\n", d.Name, d.Table, strings.ToUpper(d.Purpose[:1]), d.Purpose[1:])
		fmt.Fprintf(&b, "- matches: %s\n- writes: %s\n- goes to: %s\n- sends: %s\n",
			fieldNames(d.Matches), fieldNames(d.Writes), tableNames(d.Next), orNothing(d.Sends))
	}
	b.WriteString(`
## Registers

The names are those that ` + "`ofctl-lab dump-flows`" + ` shows; ` + "`--raw`" + ` shows the registers.

| register | name | bits | meaning |
|---|---|---|---|
` + fmt.Sprintf("| `reg0` | `%s` | 0…23 | the network's ID |\n", registerNames[regNetwork]) +
		fmt.Sprintf("| `reg1` | `%s` | 0…1 | 0: from a local port; 1: from a tunnel; 2: from a local port of profile switch |\n", registerNames[regOrigin]) +
		fmt.Sprintf("| `reg2` | `%s` | 0…16 | OpenFlow number of the local port to leave by, or `%#x`: the tunnel |\n", registerNames[regEgress], egressTunnel) + `

## Cookies

` + fmt.Sprintf("A cookie is `magic 16 | feature 8 | generation 8 | owner 32`, with magic `%#x` and generation %d. The owner is\nthe ID of the port, network or host that the flow was compiled for. Flows without the magic are never touched.\n", f.CookieMagic, Generation) + `
| feature | name | meaning |
|---|---|---|
`)
	drops := false
	for _, n := range Features() {
		if IsDrop(uint8(n)) && !drops {
			drops = true
			b.WriteString("\nFrom `0x80` on, the feature is the reason of a drop:\n\n| feature | reason | meaning |\n|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%#04x` | `%s` | %s |\n", uint8(n), n, features[n].purpose)
	}
	b.WriteString(`
## Groups

A network present on a host has one group of type ` + "`all`" + fmt.Sprintf(" with the number `%#x` + network ID:", GroupBase) + `
a bucket for every local member and one for every other host that has a member. The switch does not execute a bucket
that sends a packet back to where it came from (OpenFlow 1.3.5 section 5.6.1); since a network has one encapsulation
and a host one port for it, that keeps the sender from its own copy and tunnel traffic out of tunnels. A network with
more members and peers on one host than fit one group-mod continues in further groups (bits 24…29 of the number).
`)
	return b.String()
}

func fieldNames(fields []f.Field) string {
	names := make([]string, 0, len(fields))
	for _, x := range fields {
		names = append(names, "`"+x.Name()+"`")
	}
	return orNothing(strings.Join(names, ", "))
}

func tableNames(tables []Table) string {
	names := make([]string, 0, len(tables))
	for _, t := range tables {
		names = append(names, "`"+t.String()+"`")
	}
	return orNothing(strings.Join(names, ", "))
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
