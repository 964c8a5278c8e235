package flows

import "strings"

// ParseGroup reads a group in the syntax of ovs-ofctl, as add-group takes it and
// dump-groups prints it. An error is a *SyntaxError.
func ParseGroup(s string) (*Group, error) {
	w := word{s, 1}
	parts := splitBuckets(w)
	words, err := parts[0].split()
	if err != nil {
		return nil, err
	}
	g := new(Group)
	var hasID, hasType bool
	for _, w := range words {
		key, val, _ := w.cut("=")
		switch key.text {
		case "group_id":
			n, err := val.uint(32)
			if err != nil {
				return nil, err
			}
			g.ID, hasID = uint32(n), true
		case "type":
			if g.Type, err = parseGroupType(val); err != nil {
				return nil, err
			}
			hasType = true
		default:
			return nil, key.errorf("%q: unknown attribute of a group", key.text)
		}
	}
	if !hasID || !hasType {
		return nil, w.errorf("a group needs group_id= and type=")
	}
	for _, p := range parts[1:] {
		b, err := parseBucket(p, g.Type)
		if err != nil {
			return nil, err
		}
		g.Buckets = append(g.Buckets, b)
	}
	return g, nil
}

func parseGroupType(w word) (GroupType, error) {
	for t, name := range groupTypes {
		if w.text == name {
			return GroupType(t), nil
		}
	}
	if w.text == "fast_failover" {
		return GroupFastFailover, nil
	}
	return 0, w.errorf("%q: a group is all, select, indirect or ff", w.text)
}

// splitBuckets is what stands before the first bucket= and the text of each.
func splitBuckets(w word) []word {
	var parts []word
	for {
		i := strings.Index(w.text, "bucket=")
		for i > 0 && strings.IndexByte(", \t", w.text[i-1]) < 0 {
			n := strings.Index(w.text[i+1:], "bucket=")
			if n < 0 {
				i = -1
				break
			}
			i += 1 + n
		}
		if i < 0 {
			return append(parts, w)
		}
		parts = append(parts, word{w.text[:i], w.col})
		w = w.from(i + len("bucket="))
	}
}

func parseBucket(w word, t GroupType) (Bucket, error) {
	b := Bucket{Weight: defaultWeight(t), WatchPort: PortAny, WatchGroup: GroupAny}
	head, rest, found := w.cutActions()
	if !found {
		var err error
		if head, rest, err = w.cutAttributes(); err != nil {
			return b, err
		}
	}
	words, err := head.split()
	if err != nil {
		return b, err
	}
	for _, w := range words {
		if err := b.attribute(w); err != nil {
			return b, err
		}
	}
	b.Actions, err = parseActions(rest)
	return b, err
}

// cutAttributes splits a bucket without actions= before its first action.
func (w word) cutAttributes() (head, rest word, err error) {
	words, err := w.split()
	if err != nil {
		return w, w, err
	}
	for _, a := range words {
		if !bucketAttribute(a) {
			n := a.col - w.col
			return word{w.text[:n], w.col}, w.from(n), nil
		}
	}
	return w, w.from(len(w.text)), nil
}

func bucketAttribute(w word) bool {
	switch w.key() {
	case "weight", "watch_port", "watch_group", "bucket_id":
		return true
	}
	return false
}

// key is w up to the first colon or equals sign, which a bucket takes alike.
func (w word) key() string {
	if i := strings.IndexAny(w.text, ":="); i >= 0 {
		return w.text[:i]
	}
	return w.text
}

func (b *Bucket) attribute(w word) error {
	key := w.key()
	val := word{"", w.col + len(w.text)}
	if len(key) < len(w.text) {
		val = w.from(len(key) + 1)
	}
	var n uint64
	var err error
	switch key {
	case "weight":
		n, err = val.uint(16)
		b.Weight = uint16(n)
	case "watch_port":
		b.WatchPort, err = parsePort(val)
	case "watch_group":
		n, err = val.uint(32)
		b.WatchGroup = uint32(n)
	case "bucket_id": // numbers that Open vSwitch gives over OpenFlow 1.5
		_, err = val.uint(32)
	default:
		err = w.errorf("%q: unknown attribute of a bucket", key)
	}
	return err
}

// ParseMeter reads a meter in the syntax of ovs-ofctl add-meter and dump-meters.
// An error is a *SyntaxError.
func ParseMeter(s string) (*Meter, error) {
	w := word{s, 1}
	words, err := w.split()
	if err != nil {
		return nil, err
	}
	m := new(Meter)
	var hasID, hasUnit bool
	for _, w := range words {
		if bands, ok := strings.CutPrefix(w.text, "bands="); ok {
			w = word{bands, w.col + len("bands=")}
			if bands == "" {
				continue
			}
		}
		key, val, _ := w.cut("=")
		var n uint64
		var err error
		switch key.text {
		case "meter":
			n, err = val.uint(32)
			m.ID, hasID = uint32(n), true
		case "kbps", "pktps":
			m.Pktps, hasUnit = key.text == "pktps", true
		case "burst", "stats": // said by burst_size of the bands; always on
		case "type":
			if val.text != "drop" {
				return nil, val.errorf("%q: only drop bands are supported", val.text)
			}
			m.Bands = append(m.Bands, MeterBand{})
		case "rate", "burst_size", "burst_rate":
			if len(m.Bands) == 0 {
				return nil, key.errorf("%s: stands after type=drop", key.text)
			}
			n, err = val.uint(32)
			band := &m.Bands[len(m.Bands)-1]
			if key.text == "rate" {
				band.Rate = uint32(n)
			} else {
				band.Burst = uint32(n)
			}
		default:
			err = key.errorf("%q: unknown attribute of a meter", key.text)
		}
		if err != nil {
			return nil, err
		}
	}
	if !hasID || !hasUnit || len(m.Bands) == 0 {
		return nil, w.errorf("a meter needs meter=, kbps or pktps, and a band")
	}
	return m, nil
}
