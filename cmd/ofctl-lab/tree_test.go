package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReferenceIsUpToDate holds docs/reference/cli.md to the commands.
func TestReferenceIsUpToDate(t *testing.T) {
	const file = "../../docs/reference/cli.md"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := reference(newRoot(&app{})); !bytes.Equal(have, want) {
		t.Errorf("%s is not what go generate ./cmd/ofctl-lab writes: run it", file)
	}
}

// commands are all commands but cobra's own.
func commands(root *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range root.Commands() {
		out = append(append(out, c), commands(c)...)
	}
	return out
}

// TestExamplesParse holds that every example in a command's help is a command
// line of that command which parses, and that files named in it exist.
func TestExamplesParse(t *testing.T) {
	for _, c := range commands(newRoot(&app{})) {
		if c.Runnable() && !c.HasSubCommands() && !c.Hidden && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			t.Run(line, func(t *testing.T) { checkExample(t, c, line) })
		}
	}
}

func checkExample(t *testing.T, of *cobra.Command, line string) {
	words := strings.Fields(line)
	if i := slices.Index(words, "|"); i >= 0 {
		words = words[:i]
	}
	for _, w := range words {
		if strings.HasPrefix(w, "configs/") {
			if _, err := os.Stat("../../" + w); err != nil {
				t.Error(err)
			}
		}
	}
	if words[0] != "ofctl-lab" {
		t.Fatalf("it does not start with ofctl-lab")
	}
	// A fresh tree, because parsing leaves marks on the flags.
	cmd, rest, err := newRoot(&app{}).Find(words[1:])
	if err != nil {
		t.Fatal(err)
	}
	if cmd.CommandPath() != of.CommandPath() {
		t.Fatalf("it is of %s, not of %s", cmd.CommandPath(), of.CommandPath())
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Fatal(err)
	}
}

// TestHelpIsInOneStyle holds what is easily forgotten in a new command.
func TestHelpIsInOneStyle(t *testing.T) {
	for _, c := range commands(newRoot(&app{})) {
		if strings.HasSuffix(c.Short, ".") || c.Short == "" {
			t.Errorf("%s: the short help %q has to be words without a full stop", c.CommandPath(), c.Short)
		}
		for line := range strings.Lines(c.Long) {
			if len([]rune(line)) > 90 {
				t.Errorf("%s: the help has a line of over 90 columns: %s", c.CommandPath(), line)
			}
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: help %q has to be words without a full stop", c.CommandPath(), f.Name, f.Usage)
			}
		})
	}
}

func TestParseMap(t *testing.T) {
	got := parseMap(`{a=b, ofctl-lab-tep="192.168.0.1", "q\"k"="x, y=z"}`)
	want := map[string]string{"a": "b", "ofctl-lab-tep": "192.168.0.1", `q"k`: "x, y=z"}
	if len(got) != len(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
	if m := parseMap("{}"); len(m) != 0 {
		t.Errorf("parseMap({}) = %q", m)
	}
	parseMap(`{"unterminated`) // must not panic or loop
}
