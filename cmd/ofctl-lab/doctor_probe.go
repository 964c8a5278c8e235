package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
	"github.com/ofctl-lab/ofctl-lab/datapath/probe"
)

const (
	// askTimeout bounds each question, and probeTimeout all trials together, on a slow machine too.
	askTimeout   = 5 * time.Second
	probeTimeout = 10 * time.Minute
)

// checkFeatures asks the bridge what its datapath can do, and says what is missing and for which service. It sends no
// packet: doctor --probe does, on a bridge of its own.
func (c *checkup) checkFeatures(ctx context.Context) {
	const check = "datapath features"
	client := ovsctl.New(ovsctl.Options{RunDir: c.ovs.rundir, Timeout: askTimeout})
	asked, err := probe.Ask(ctx, client, c.bridge)
	if err != nil {
		c.fail(check, err.Error(), "is ovs-vswitchd running?")
		return
	}
	missing := asked.Missing()
	for _, f := range missing {
		what := fmt.Sprintf("%s: the datapath says that it cannot; needed for %s", f.Title, f.For)
		fix := f.Fix(asked.Environment.Datapath) + "\nofctl-lab doctor --probe   tries it on a bridge of its own"
		if f.Need == probe.Now {
			c.fail(check, what, fix)
		} else {
			c.warn(check, what, fix)
		}
	}
	if len(missing) == 0 {
		c.ok(check, "%s: nothing that a service needs is missing", asked.Environment)
	}
}

// datapathProbe is what doctor --probe was asked for.
type datapathProbe struct{ datapath, bridge, rundir string }

// probeDatapath tries what a datapath does, and reports it.
func (a *app) probeDatapath(ctx context.Context, p datapathProbe) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	dp, err := p.choose(ctx)
	if err != nil {
		return err
	}
	report, err := probe.Try(ctx, dp, nil)
	if err != nil {
		return err
	}
	if err := a.emit(report, func(t *tables, _ format) { printReport(t, report) }); err != nil {
		return err
	}
	for _, f := range probe.Features() {
		if found, _ := report.Finding(f.Name); f.Need == probe.Now && found.Tried == probe.No {
			return statusError{status: exitFailed}
		}
	}
	return nil
}

// choose is the datapath type that was asked for, or that of the integration bridge, or what this machine has.
func (p datapathProbe) choose(ctx context.Context) (probe.Datapath, error) {
	switch dp := probe.Datapath(p.datapath); dp {
	case probe.Kernel, probe.Userspace:
		return dp, nil
	case "":
	default:
		return "", usagef("--datapath %q is neither %s nor %s", p.datapath, probe.Kernel, probe.Userspace)
	}
	text, err := ovsShell{rundir: p.rundir}.vsctl(ctx, "get", "Bridge", p.bridge, "datapath_type")
	switch {
	case err == nil && text == string(probe.Userspace):
		return probe.Userspace, nil
	case err == nil:
		return probe.Kernel, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", ctx.Err()
	}
	// No bridge, or no Open vSwitch that runs: the trials need neither.
	if _, err := os.Stat("/sys/module/openvswitch"); err == nil {
		return probe.Kernel, nil
	}
	return probe.Userspace, nil
}

func printReport(t *tables, r *probe.Report) {
	t.line("%s (datapath type %s)", r.Environment, r.Environment.Datapath)
	t.gap()
	var rows [][]string
	var missing []probe.Feature
	for _, f := range probe.Features() {
		found, _ := r.Finding(f.Name)
		does := string(found.Tried)
		if found.Slow {
			does += ", slow path"
		}
		rows = append(rows, []string{f.Title, string(found.Asked), does, f.For})
		if found.Tried == probe.No && f.Need != probe.Known {
			missing = append(missing, f)
		}
	}
	t.table([]string{"FEATURE", "SAYS", "DOES", "NEEDED FOR"}, rows)
	for _, f := range missing {
		found, _ := r.Finding(f.Name)
		t.gap()
		t.line("%s: %s", f.Title, clean(found.Detail))
		for line := range strings.SplitSeq(f.Fix(r.Environment.Datapath), "\n") {
			if line != "" {
				t.line("  %s", line)
			}
		}
	}
}
