package flows

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// NATKind is what a ct action translates.
type NATKind uint8

// The kinds.
const (
	NATNone        NATKind = iota
	NATExisting            // as the connection was translated when it was committed
	NATSource              // the source of a connection that is committed
	NATDestination         // its destination
)

// NAT is the nat(…) of a CT (NXAST_NAT). The zero value translates nothing.
type NAT struct {
	Kind NATKind
	// Min and Max are the first and the last address that a connection may get. Max is
	// none where there is one address, and both are where the packet's own stays.
	Min, Max netip.Addr
	// PortMin and PortMax are the ports likewise, 0 for none.
	PortMin, PortMax uint16
	// How one of several is chosen.
	Persistent, Hash, Random bool
}

// Fixed reports whether the address and the port that a connection gets are said: the
// address is one, and so is the port if there is any.
func (n NAT) Fixed() (address, port bool) {
	return !n.Max.IsValid() || n.Max == n.Min, n.PortMax == 0 || n.PortMax == n.PortMin
}

func (n NAT) validate(ethType uint64, commit bool) error {
	switch {
	case n.Kind == NATNone && n != NAT{}:
		return errors.New("an address or port without a kind of nat")
	case n.Kind == NATExisting && n != NAT{Kind: NATExisting}:
		return errors.New("an address or port needs nat(src=…) or nat(dst=…)")
	case n.Kind > NATDestination:
		return fmt.Errorf("%d is not a kind of nat", n.Kind)
	case n.Kind >= NATSource && !commit:
		return errors.New("nat(src) and nat(dst) need commit")
	case !n.Min.IsValid() && (n.Max.IsValid() || n.PortMin != 0 || n.PortMax != 0 || n.Persistent || n.Hash || n.Random):
		return errors.New("nat: a range needs its first address")
	case n.PortMin == 0 && n.PortMax != 0:
		return errors.New("nat: a range of ports needs its first one")
	case n.Min.IsValid() && n.Min.Is4() != (ethType == ethIPv4),
		n.Max.IsValid() && n.Max.Is4() != n.Min.Is4():
		return fmt.Errorf("nat: %s is not an address of the packets", n.Min)
	case n.Min.Is4In6() || n.Min.Zone() != "" || n.Max.Is4In6() || n.Max.Zone() != "":
		return fmt.Errorf("nat: %s is not a plain address", n.Min)
	case n.Min.IsValid() && n.Min.IsUnspecified():
		return errors.New("nat: an address of zeros is none")
	case n.Max.IsValid() && n.Max.Less(n.Min), n.PortMax != 0 && n.PortMax < n.PortMin:
		return errors.New("nat: a range that ends before it begins")
	case n.Hash && n.Random:
		return errors.New("nat: hash and random exclude each other")
	}
	return nil
}

func (p *printer) nat(n NAT) {
	p.str("nat")
	if n.Kind == NATExisting {
		return
	}
	p.str(map[NATKind]string{NATSource: "(src", NATDestination: "(dst"}[n.Kind])
	if n.Min.IsValid() {
		address := func(a netip.Addr) {
			if a.Is6() && n.PortMin != 0 {
				p.printf("[%s]", a)
				return
			}
			p.str(a.String())
		}
		p.str("=")
		address(n.Min)
		if n.Max.IsValid() && n.Max != n.Min {
			p.str("-")
			address(n.Max)
		}
		if n.PortMin != 0 {
			p.printf(":%d", n.PortMin)
			if n.PortMax != 0 && n.PortMax != n.PortMin {
				p.printf("-%d", n.PortMax)
			}
		}
		for _, c := range [...]struct {
			is   bool
			name string
		}{{n.Persistent, ",persistent"}, {n.Hash, ",hash"}, {n.Random, ",random"}} {
			if c.is {
				p.str(c.name)
			}
		}
	}
	p.str(")")
}

// parseNAT reads nat, nat(src), nat(dst=ADDRESS-ADDRESS:PORT-PORT,random) and so on.
func parseNAT(arg word) (NAT, error) {
	n := NAT{Kind: NATExisting}
	words, err := arg.split()
	if err != nil {
		return n, err
	}
	for _, w := range words {
		key, val, ranged := w.cut("=")
		switch key.text {
		case "src", "dst":
			n.Kind = NATSource
			if key.text == "dst" {
				n.Kind = NATDestination
			}
			if ranged {
				if n, err = n.parseRange(val); err != nil {
					return n, err
				}
			}
		case "persistent":
			n.Persistent = true
		case "hash":
			n.Hash = true
		case "random":
			n.Random = true
		default:
			return n, key.errorf("nat: %q is not known", key.text)
		}
	}
	return n, nil
}

func (n NAT) parseRange(w word) (NAT, error) {
	bad := w.errorf("%q: want ADDRESS[-ADDRESS][:PORT[-PORT]], an IPv6 address before a port in brackets", w.text)
	addresses, ports := w.text, ""
	if i := strings.LastIndexByte(w.text, ']'); i >= 0 {
		addresses = w.text[:i+1]
		if rest, ok := strings.CutPrefix(w.text[i+1:], ":"); ok {
			ports = rest
		} else if w.text[i+1:] != "" {
			return n, bad
		}
	} else if strings.Count(w.text, ":") == 1 {
		addresses, ports, _ = strings.Cut(w.text, ":")
	}
	first, last, several := strings.Cut(addresses, "-")
	parse := func(s string) (netip.Addr, error) {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		if err == nil && a.Zone() != "" {
			err = bad
		}
		return a, err
	}
	var err error
	if n.Min, err = parse(first); err != nil {
		return n, bad
	}
	if several {
		if n.Max, err = parse(last); err != nil {
			return n, bad
		}
	}
	if ports == "" {
		return n, nil
	}
	first, last, several = strings.Cut(ports, "-")
	if n.PortMin, err = port16(first); err != nil {
		return n, bad
	}
	if several {
		if n.PortMax, err = port16(last); err != nil {
			return n, bad
		}
	}
	return n, nil
}

func port16(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err
}
