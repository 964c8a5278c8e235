package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// source is what the switch is asked with.
type source uint8

const (
	nowhere       source = iota
	showFeatures         // ovs-appctl dpif/show-dp-features
	meterFeature         // ovs-ofctl meter-features
	groupFeature         // ovs-ofctl dump-group-features
	interfaceType        // ovs-vsctl get Open_vSwitch . iface_types
	zoneLimits           // ovs-appctl dpctl/ct-get-limits
)

// question is where a feature is shown, and under which key.
type question struct {
	from source
	key  string
}

// String is the command that shows it, and what to look for.
func (q question) String() string {
	switch q.from {
	case showFeatures:
		return "dpif/show-dp-features: " + q.key
	case meterFeature:
		return "meter-features: " + q.key
	case groupFeature:
		return "group-features: " + q.key
	case interfaceType:
		return "iface_types: " + q.key
	case zoneLimits:
		return "dpctl/ct-get-limits"
	default:
		return ""
	}
}

// Asked is what a switch says of itself.
type Asked struct {
	Environment Environment
	// said is what each source printed, by its keys.
	said map[source]map[string]string
}

// Ask asks a bridge. It only reads. What a version of Open vSwitch does not know, or refuses to say, is unknown; the
// error is for a switch that does not answer at all.
func Ask(ctx context.Context, c *ovsctl.Client, bridge string) (*Asked, error) {
	version, err := c.Appctl(ctx, "version")
	if err != nil {
		return nil, fmt.Errorf("ask bridge %s: %w", bridge, err)
	}
	text, err := c.Vsctl(ctx, "--if-exists", "--bare", "get", "Bridge", bridge, "datapath_type")
	if err != nil {
		return nil, fmt.Errorf("ask bridge %s: %w", bridge, err)
	}
	a := &Asked{Environment: environment(parseDatapath(text), version), said: map[source]map[string]string{}}
	// A source that is refused leaves what it would have said unknown.
	keep := func(from source, parse func(string) map[string]string, out string, err error) error {
		var refused *ovsctl.CommandError
		switch {
		case err == nil:
			a.said[from] = parse(out)
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &refused):
			return fmt.Errorf("ask bridge %s: %w", bridge, err)
		}
		return nil
	}
	out, err := c.Appctl(ctx, "dpif/show-dp-features", bridge)
	if err := keep(showFeatures, parseFeatures, out, err); err != nil {
		return nil, err
	}
	out, err = c.Ofctl(ctx, bridge, "meter-features")
	if err := keep(meterFeature, parseMeterFeatures, out, err); err != nil {
		return nil, err
	}
	out, err = c.Ofctl(ctx, bridge, "dump-group-features")
	if err := keep(groupFeature, parseGroupFeatures, out, err); err != nil {
		return nil, err
	}
	out, err = c.Vsctl(ctx, "get", "Open_vSwitch", ".", "iface_types")
	if err := keep(interfaceType, parseTypes, out, err); err != nil {
		return nil, err
	}
	out, err = c.Appctl(ctx, "dpctl/ct-get-limits", datapathName(a.Environment.Datapath))
	if err := keep(zoneLimits, parseLimits, out, err); err != nil {
		return nil, err
	}
	return a, nil
}

// datapathName is the name under which dpctl knows the datapath of all bridges of a type.
func datapathName(dp Datapath) string { return string(dp) + "@ovs-" + string(dp) }

// Answer is what the switch says of a feature.
func (a *Asked) Answer(f Feature) Answer {
	said, ok := a.said[f.question.from]
	if !ok {
		return Unknown
	}
	text, ok := said[f.question.key]
	if !ok {
		// These list all that there is.
		if f.question.from == interfaceType || f.question.from == meterFeature {
			return No
		}
		return Unknown
	}
	switch strings.ToLower(text) {
	case "yes", "true":
		return Yes
	case "no", "false":
		return No
	default:
		return Answer(text)
	}
}

// Missing are the features that the switch says it has not, of those that something needs.
func (a *Asked) Missing() []Feature {
	var missing []Feature
	for _, f := range Features() {
		if f.Need != Known && a.Answer(f) == No {
			missing = append(missing, f)
		}
	}
	return missing
}
