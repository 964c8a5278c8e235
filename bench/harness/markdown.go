package harness

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the result as a section of a document, with a heading of the second level.
// svg is the link to the plot, relative to the document; empty for none.
func (r *Result) WriteMarkdown(w io.Writer, svg string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "## %s\n\n%s.", r.Benchmark, markdown(sentenceCase(r.Title)))
	if r.Means != "" {
		fmt.Fprintf(&b, " %s", markdown(r.Means))
	}
	fmt.Fprintf(&b, "\n\nLoad: %s. Values in %s: %s.\n\n", markdown(strings.TrimSuffix(r.Load, ".")), markdown(r.Unit), r.how())
	if r.Incomplete != "" {
		fmt.Fprintf(&b, "**Incomplete:** %s\n\n", markdown(r.Incomplete))
	}
	if svg != "" {
		fmt.Fprintf(&b, "![%s](%s)\n\n", markdown(r.Benchmark), svg)
	}
	details := r.details()
	var rows [][]string
	for i := range r.Peers {
		rows = append(rows, escaped(append([]string{r.Peers[i].Name}, r.row(&r.Peers[i], details)...)))
	}
	// Peer and role are texts.
	markdownColumns(&b, 2, escaped(append([]string{"peer"}, r.header(details)...)), rows)
	for _, line := range r.beyondLimits() {
		fmt.Fprintf(&b, "**%s.**\n\n", markdown(line))
	}
	r.markdownLatency(&b)
	r.markdownComparisons(&b)
	r.markdownPeers(&b)
	for _, line := range append(r.Environment.lines(), r.Conditions.line()) {
		fmt.Fprintf(&b, "- %s\n", markdown(line))
	}
	fmt.Fprintf(&b, "\nTo repeat it:\n\n    %s\n\n", r.Command())
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Result) markdownLatency(b *bytes.Buffer) {
	var rows [][]string
	for _, p := range r.Peers {
		if p.Latency != nil {
			rows = append(rows, escaped(append([]string{p.Name}, p.Latency.row()...)))
		}
	}
	if rows != nil {
		markdownColumns(b, 1, append([]string{"latency"}, latencyHeader()...), rows)
	}
}

func (r *Result) markdownComparisons(b *bytes.Buffer) {
	header := []string{"comparison", "measured", "verdict"}
	var rows [][]string
	for _, c := range r.Comparisons {
		cells := escaped([]string{c.Claim(), r.Figure(c), r.Words(c)})
		if c.WeLose {
			cells[2] = "**" + cells[2] + "**"
		}
		rows = append(rows, cells)
	}
	if rows != nil {
		markdownColumns(b, len(header), header, rows)
	}
}

// markdownPeers names the versions of the peers, and what is missing.
func (r *Result) markdownPeers(b *bytes.Buffer) {
	for _, p := range r.Peers {
		switch {
		case p.Missing != "":
			fmt.Fprintf(b, "- %s is missing: %s\n", markdown(p.Name), markdown(p.Missing))
		case p.Version != "":
			fmt.Fprintf(b, "- %s: %s\n", markdown(p.Name), markdown(p.Version))
		}
	}
}

// markdownTable writes a table of texts.
func markdownTable(b *bytes.Buffer, header []string, rows [][]string) {
	for _, row := range rows {
		escaped(row)
	}
	markdownColumns(b, len(header), escaped(header), rows)
}

// markdownColumns writes a table of escaped cells. The first columns, so many, are texts; the
// others are numbers.
func markdownColumns(b *bytes.Buffer, texts int, header []string, rows [][]string) {
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(b, "| %s ", c)
		}
		b.WriteString("|\n")
	}
	line(header)
	for i := range header {
		if i < texts {
			b.WriteString("|---")
		} else {
			b.WriteString("|---:")
		}
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
	b.WriteByte('\n')
}

// escaped escapes the cells in place.
func escaped(cells []string) []string {
	for i, c := range cells {
		cells[i] = markdown(c)
	}
	return cells
}

// markdown escapes what Markdown or HTML would take for markup.
func markdown(text string) string {
	return strings.NewReplacer(
		`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	).Replace(text)
}

// sentenceCase begins with a capital letter.
func sentenceCase(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".")
}
