package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Answer is yes, no, unknown or a number.
type Answer string

// The answers that are no number.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Environment is what the answers hold for. Nothing in it names a host.
type Environment struct {
	Datapath    Datapath `json:"datapath"`
	OpenVSwitch string   `json:"open_vswitch"`
	Kernel      string   `json:"kernel"`
}

func environment(dp Datapath, version string) Environment {
	e := Environment{Datapath: dp, OpenVSwitch: parseVersion(version)}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		e.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return e
}

// Series is what two environments have in common for which the same answers are expected: the datapath type, the
// series of Open vSwitch, and that of the kernel where it is its datapath. It is a file name, too.
func (e Environment) Series() string {
	s := string(e.Datapath) + "-" + series(e.OpenVSwitch)
	if e.Datapath == Kernel {
		s += "-linux-" + series(e.Kernel)
	}
	return s
}

// String is the environment in words.
func (e Environment) String() string {
	if e.Datapath == Kernel {
		return "Linux " + series(e.Kernel) + ", Open vSwitch " + series(e.OpenVSwitch)
	}
	return "userspace, Open vSwitch " + series(e.OpenVSwitch)
}

// series are the first two numbers of a version; "unknown" if it has none.
func series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 || !digits(parts[0]) || !digits(parts[1]) {
		return string(Unknown)
	}
	return parts[0] + "." + parts[1]
}

func digits(s string) bool {
	return s != "" && len(s) < 6 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// Finding is what is known of one feature.
type Finding struct {
	Feature string `json:"feature"` // Feature.Name
	Asked   Answer `json:"asked,omitempty"`
	Tried   Answer `json:"tried,omitempty"`
	// Slow says that packets went through ovs-vswitchd, each of them: the datapath itself cannot do it.
	Slow bool `json:"slow,omitempty"`
	// Detail is what was seen, where the answer alone says too little.
	Detail string `json:"detail,omitempty"`
}

// Report is what a probe has found.
type Report struct {
	Schema      int         `json:"schema"`
	Environment Environment `json:"environment"`
	Findings    []Finding   `json:"findings"`
}

// Schema is the version of a Report's form.
const Schema = 1

// WriteJSON writes the report.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// maxReport bounds a report that is read, in bytes.
const maxReport = 1 << 20

// ReadReport reads what WriteJSON wrote.
func ReadReport(r io.Reader) (*Report, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxReport {
		return nil, fmt.Errorf("a report of more than %d bytes", maxReport)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	rep := &Report{}
	if err := d.Decode(rep); err != nil {
		return nil, fmt.Errorf("this is no report of a datapath probe: %w", err)
	}
	if rep.Schema != Schema {
		return nil, fmt.Errorf("a report of schema %d; this program reads %d: probe again", rep.Schema, Schema)
	}
	if rep.Environment.Datapath != Kernel && rep.Environment.Datapath != Userspace {
		return nil, fmt.Errorf("a report of datapath %.20q; there are %s and %s", rep.Environment.Datapath, Kernel, Userspace)
	}
	return rep, nil
}

// Finding is what the report has of a feature.
func (r *Report) Finding(name string) (Finding, bool) {
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Feature == name })
	if i < 0 {
		return Finding{}, false
	}
	return r.Findings[i], true
}

// Differences say where another report of the same series answers otherwise. Details may differ.
func (r *Report) Differences(now *Report) []string {
	var out []string
	if a, b := r.Environment.Series(), now.Environment.Series(); a != b {
		return []string{fmt.Sprintf("reports of %s and %s are not of one kind", a, b)}
	}
	for _, f := range Features() {
		was, had := r.Finding(f.Name)
		is, has := now.Finding(f.Name)
		was.Detail, is.Detail = "", ""
		if had != has || was != is {
			out = append(out, fmt.Sprintf("%s: it was %s, it is %s", f.Name, was.words(had), is.words(has)))
		}
	}
	return out
}

func (f Finding) words(there bool) string {
	if !there {
		return "not in the report"
	}
	slow := ""
	if f.Slow {
		slow = ", slow path"
	}
	return fmt.Sprintf("asked %q, tried %q%s", f.Asked, f.Tried, slow)
}
