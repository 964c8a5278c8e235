package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/probe"
)

func report(t *testing.T, dir string, r probe.Report, file string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.WriteJSON(f); err != nil {
		t.Fatal(err)
	}
}

var kernel = probe.Report{
	Schema:      probe.Schema,
	Environment: probe.Environment{Datapath: probe.Kernel, OpenVSwitch: "3.1.0", Kernel: "6.1.0-57-amd64"},
	Findings: []probe.Finding{
		{Feature: "recirculation", Asked: probe.Yes},
		{Feature: "nd-answer", Asked: probe.No, Tried: probe.Yes, Slow: true},
		{Feature: "truncate", Asked: probe.Yes, Tried: probe.No, Detail: "nothing | arrived"},
		{Feature: "two-tags", Asked: "2", Tried: probe.Yes},
	},
}

func TestPage(t *testing.T) {
	dir := t.TempDir()
	report(t, dir, kernel, "system-3.1-linux-6.1.json")
	page := filepath.Join(dir, "page.md")
	if err := write(dir, filepath.Join(dir, "none.json"), page); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| feature | needed for | Linux 6.1, Open vSwitch 3.1 |\n|---|---|---|\n",
		"| says yes |\n", "| yes, slow path, says no |\n", "| **no**, says yes |\n", "| yes, says 2 |\n", "| not probed |\n",
		"| output cut to a length | `nothing ¦ arrived` |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "## Throughput") {
		t.Error("a throughput that nobody measured")
	}
}

func TestPageRefuses(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	if err := write(dir, "", page); err == nil || !strings.Contains(err.Error(), "make datapaths") {
		t.Errorf("no report: %v", err)
	}
	report(t, dir, kernel, "mine.json")
	if err := write(dir, "", page); err == nil || !strings.Contains(err.Error(), "call the file system-3.1-linux-6.1.json") {
		t.Errorf("a report under another name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, "", page); err == nil || !strings.Contains(err.Error(), "no report of a datapath probe") {
		t.Errorf("no report at all: %v", err)
	}
}

// Ratios of an emulated machine say so, and comparisons with what was not measured are left out.
func TestThroughput(t *testing.T) {
	var b bytes.Buffer
	if err := writeThroughput(&b, "../../bench/results/kernel-vm/throughput-tcp.json"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"only ratios mean anything", "| GRE key, offloads on | VLAN trunk, NORMAL, offloads on | "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "OVN") {
		t.Errorf("OVN was not measured:\n%s", &b)
	}
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeThroughput(&b, broken); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("a broken result: %v", err)
	}
}
