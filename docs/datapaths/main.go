// Command datapaths writes docs/reference/datapaths.md from the reports of datapath probes that are committed, and from
// the throughput that was measured on the kernel's. go generate ./docs/datapaths runs it.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/datapath/probe"
)

//go:generate go run . -reports ../reference/datapaths -throughput ../../bench/results/kernel-vm/throughput-tcp.json -page ../reference/datapaths.md

func main() {
	reports := flag.String("reports", "", "`directory` of the reports")
	throughput := flag.String("throughput", "", "`file` with the result of throughput-tcp on the kernel's datapath")
	page := flag.String("page", "", "`file` that the page is written to")
	flag.Parse()
	if err := write(*reports, *throughput, *page); err != nil {
		fmt.Fprintln(os.Stderr, "datapaths:", err)
		os.Exit(1)
	}
}

func write(reports, throughput, page string) error {
	all, err := read(reports)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(heading)
	writeTable(&b, all)
	writeDetails(&b, all)
	b.WriteString(differences)
	if err := writeThroughput(&b, throughput); err != nil {
		return err
	}
	b.WriteString(again)
	return os.WriteFile(page, b.Bytes(), 0o644)
}

// read reads all reports of a directory, those of userspace first. Each is in the file of its series.
func read(dir string) ([]*probe.Report, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []*probe.Report
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		r, err := probe.ReadReport(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if want := r.Environment.Series() + ".json"; filepath.Base(file) != want {
			return nil, fmt.Errorf("%s: this is a report of %s; call the file %s", file, r.Environment, want)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no report: make datapaths writes one", dir)
	}
	slices.SortStableFunc(all, func(a, b *probe.Report) int {
		return strings.Compare(string(a.Environment.Datapath), string(b.Environment.Datapath))
	})
	return all, nil
}

func writeTable(b *bytes.Buffer, all []*probe.Report) {
	b.WriteString("| feature | needed for |")
	for _, r := range all {
		fmt.Fprintf(b, " %s |", r.Environment)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, f := range probe.Features() {
		need := f.For
		switch f.Need {
		case probe.Now:
			need = "**now**: " + need
		case probe.Known:
			need = "(" + need + ")"
		}
		fmt.Fprintf(b, "| %s | %s |", f.Title, need)
		for _, r := range all {
			fmt.Fprintf(b, " %s |", cell(r, f))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// cell is what a report has of a feature: what was tried counts, and what the datapath says where that is all or differs.
func cell(r *probe.Report, f probe.Feature) string {
	found, ok := r.Finding(f.Name)
	switch {
	case !ok || found.Asked == "" && found.Tried == "":
		return "not probed"
	case found.Tried == "":
		return "says " + string(found.Asked)
	}
	text := string(found.Tried)
	if found.Tried == probe.No {
		text = "**no**"
	}
	if found.Slow {
		text += ", slow path"
	}
	if found.Asked != "" && found.Asked != found.Tried && found.Asked != probe.Unknown {
		text += ", says " + string(found.Asked)
	}
	return text
}

// writeDetails shows what was seen where a trial failed, and the outer headers.
func writeDetails(b *bytes.Buffer, all []*probe.Report) {
	b.WriteString("## What was seen\n\n| datapath | feature | seen |\n|---|---|---|\n")
	for _, r := range all {
		for _, f := range probe.Features() {
			if found, _ := r.Finding(f.Name); found.Detail != "" {
				fmt.Fprintf(b, "| %s | %s | `%s` |\n", r.Environment, f.Title, strings.ReplaceAll(found.Detail, "|", "¦"))
			}
		}
	}
	b.WriteString("\n")
}

// writeThroughput shows the ratios of a result, if there is one.
func writeThroughput(b *bytes.Buffer, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := harness.ReadResult(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	b.WriteString(throughputHeading)
	if strings.Contains(r.Environment.CPU, "TCG") {
		b.WriteString("**Under TCG emulation: only ratios mean anything**, and they are those of a processor on which every instruction costs about the same.\n")
	}
	fmt.Fprintf(b, "%s, %s; %d rounds of %s; machine noise ±%.1f %%. A ratio is taken within each round; in brackets is where its median lies with %.0f %% confidence.\n\n",
		r.Environment.Kernel, r.Environment.OpenVSwitch, r.Rounds, r.Load, 100*r.Conditions.Noise.Spread(), 100*harness.Confidence)
	b.WriteString("| throughput of | against | ratio | |\n|---|---|---|---|\n")
	for _, c := range r.Comparisons {
		if c.Detail != "" || c.Against == "" || c.Verdict == harness.NotMeasured {
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", c.Peer, c.Against, r.Figure(c), r.Words(c))
	}
	b.WriteString("\n")
	return nil
}
