// Package config is the configuration of the controller: what can be set, where
// it comes from and what is valid. A flag beats the environment (OFCTL_LAB_*), the
// environment beats the file (YAML), the file beats the default. A key in the file
// that does not exist is an error, with a suggestion.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/ofctl-lab/ofctl-lab/topo/nearest"
)

// EnvPrefix starts the name of every environment variable: the key api.socket is
// OFCTL_LAB_API_SOCKET.
const EnvPrefix = "OFCTL_LAB"

// DefaultFile is read when no file is named, if it exists.
const DefaultFile = "/etc/ofctl-lab/ofctl-lab.yaml"

// Config is a valid configuration.
type Config struct {
	// StateDir holds the store.
	StateDir string
	// APISocket is the path of the unix socket of the HTTP interface.
	APISocket string
	// APIListen is an additional TCP address of the HTTP interface, loopback
	// only; empty for none.
	APIListen string
	// OpenFlowListen and OVSDBListen are the TCP addresses on which hosts connect.
	OpenFlowListen, OVSDBListen string
	LogLevel                    slog.Level
	LogFormat                   string // text or json
	// Settle bounds how long, after a start, switches that already forward stay
	// untouched while the picture of the hosts is incomplete.
	Settle time.Duration
	// AuditInterval is how often each switch is compared with what it should
	// hold; 0 turns audits off.
	AuditInterval time.Duration
	// MACAgeing is how long a learned source MAC is kept without a frame from it.
	MACAgeing time.Duration
	// KeyLinger is how long a tunnel key that was given up is kept back after no
	// switch has flows with it any more.
	KeyLinger time.Duration
	// BridgeName is the name of the integration bridge on every host.
	BridgeName string
	// DatapathType of new bridges: system, netdev, or empty for what the host can do.
	DatapathType string
	// VXLANPort and GenevePort are the UDP destination ports of the tunnels.
	VXLANPort, GenevePort uint16
}

// setting is one key: its default as text, what it is for, and how text becomes
// a value.
type setting struct {
	key, def, doc string
	set           func(*Config, string) error
}

func settings() []setting {
	return []setting{
		{"state-dir", "/var/lib/ofctl-lab", "directory of the store", func(c *Config, s string) error { return absPath(&c.StateDir, s) }},
		{"api.socket", "/run/ofctl-lab/ofctl-lab.sock", "unix socket of the HTTP interface", func(c *Config, s string) error { return socketPath(&c.APISocket, s) }},
		{"api.listen", "", "additional TCP address of the HTTP interface, loopback only (empty: none)", func(c *Config, s string) error { return loopback(&c.APIListen, s) }},
		{"openflow.listen", ":6653", "TCP address on which switches connect", func(c *Config, s string) error { return listenAddr(&c.OpenFlowListen, s) }},
		{"ovsdb.listen", ":6640", "TCP address on which the hosts' ovsdb-servers connect", func(c *Config, s string) error { return listenAddr(&c.OVSDBListen, s) }},
		{"log.level", "info", "debug, info, warn or error", func(c *Config, s string) error { return level(&c.LogLevel, s) }},
		{"log.format", "text", "text or json", func(c *Config, s string) error { return oneOf(&c.LogFormat, s, "text", "json") }},
		{"settle", "5s", "after a start, how long switches that forward stay untouched while hosts are still missing (0s…10m)", func(c *Config, s string) error { return duration(&c.Settle, s, 10*time.Minute) }},
		{"audit.interval", "60s", "how often each switch is compared with what it should hold (0s: never, up to 24h)", func(c *Config, s string) error { return duration(&c.AuditInterval, s, 24*time.Hour) }},
		{"mac.ageing", "300s", "how long a source MAC that was learned at a port of profile switch is kept without a frame from it (1s…277h46m40s; IEEE 802.1D: from 10s)", func(c *Config, s string) error { return ageing(&c.MACAgeing, s) }},
		{"key.linger", "5s", "how long a tunnel key that a network gave up is given to no other after all switches have dropped its flows, since frames with it may be on their way (0s…10m)", func(c *Config, s string) error { return duration(&c.KeyLinger, s, 10*time.Minute) }},
		{"bridge.name", "br-int", "name of the integration bridge", func(c *Config, s string) error { return bridgeName(&c.BridgeName, s) }},
		{"bridge.datapath-type", "auto", "auto, system or netdev", func(c *Config, s string) error { return datapathType(&c.DatapathType, s) }},
		{"vxlan.port", "4789", "UDP destination port of VXLAN", func(c *Config, s string) error { return port(&c.VXLANPort, s) }},
		{"geneve.port", "6081", "UDP destination port of Geneve", func(c *Config, s string) error { return port(&c.GenevePort, s) }},
	}
}

// Default is the configuration when nothing is set.
func Default() *Config {
	c := &Config{}
	for _, s := range settings() {
		// A test holds that every default is valid.
		_ = s.set(c, s.def)
	}
	return c
}

// FlagName is the flag that sets a key: api.socket is --api-socket.
func FlagName(key string) string { return strings.ReplaceAll(key, ".", "-") }

// EnvName is the environment variable that sets a key.
func EnvName(key string) string {
	return EnvPrefix + "_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(key))
}

// AddFlags adds a flag for every key, and --config for the file.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", fmt.Sprintf("configuration file (default %s if it exists)", DefaultFile))
	for _, s := range settings() {
		fs.String(FlagName(s.key), s.def, s.doc)
	}
}

// Load reads the configuration from the flags in fs (made by AddFlags, and
// parsed; nil for none), the environment and the file. The error lists everything that is
// wrong, each with where it was set.
func Load(fs *pflag.FlagSet) (*Config, error) {
	v := viper.New()
	v.SetEnvPrefix(EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	file, err := readFile(v, fs)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	var errs []error
	for _, s := range settings() {
		v.SetDefault(s.key, s.def)
		origin := "default of " + s.key
		var fl *pflag.Flag
		if fs != nil {
			fl = fs.Lookup(FlagName(s.key))
		}
		switch {
		case fl != nil && fl.Changed:
			v.Set(s.key, fl.Value.String())
			origin = "--" + fl.Name
		case os.Getenv(EnvName(s.key)) != "":
			origin = EnvName(s.key)
		case file != "" && v.InConfig(s.key):
			origin = file + ": " + s.key
		}
		if err := s.set(c, v.GetString(s.key)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", origin, err))
		}
	}
	if err := distinct(c); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// maxFile bounds the configuration file.
const maxFile = 1 << 20

// readFile reads the file into v and returns its name, "" if there is none.
func readFile(v *viper.Viper, flags *pflag.FlagSet) (string, error) {
	name, must := os.Getenv(EnvPrefix+"_CONFIG"), true
	if flags != nil {
		if f := flags.Lookup("config"); f != nil && f.Changed {
			name = f.Value.String()
		}
	}
	if name == "" {
		name, must = DefaultFile, false
	}
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !must:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("configuration file: %w; name another with --config", err)
	case !st.Mode().IsRegular() || st.Size() > maxFile:
		return "", fmt.Errorf("configuration file %s: want a regular file of at most %d bytes", name, maxFile)
	}
	v.SetConfigFile(name)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		return "", fmt.Errorf("configuration file %s: %w", name, err)
	}
	return name, unknownKeys(v, name)
}

// unknownKeys is called before any default is set, so that v knows only the
// keys of the file.
func unknownKeys(v *viper.Viper, file string) error {
	known := make([]string, 0, len(settings()))
	for _, s := range settings() {
		known = append(known, s.key)
	}
	got := v.AllKeys()
	slices.Sort(got)
	var errs []error
	for _, k := range got {
		if slices.Contains(known, k) {
			continue
		}
		hint := "the keys are " + strings.Join(known, ", ")
		if s := nearest.To(k, known); s != "" {
			hint = "did you mean " + s + "?"
		}
		errs = append(errs, fmt.Errorf("%s: unknown key %s; %s", file, k, hint))
	}
	return errors.Join(errs...)
}

func absPath(dst *string, s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("%q is not an absolute path", s)
	}
	*dst = filepath.Clean(s)
	return nil
}

// socketPath also holds the limit of sockaddr_un.
func socketPath(dst *string, s string) error {
	if len(s) > 107 {
		return fmt.Errorf("%q has %d bytes; the path of a unix socket has at most 107", s, len(s))
	}
	return absPath(dst, s)
}

func listenAddr(dst *string, s string) error {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not ADDRESS:PORT or :PORT, for example :6653", s)
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q: %q is not an IP address; write for example 127.0.0.1:6653, or :6653 for all addresses", s, host)
		}
	}
	if _, err := strconv.ParseUint(p, 10, 16); err != nil {
		return fmt.Errorf("%q: port %q is not in 0…65535", s, p)
	}
	*dst = s
	return nil
}

func loopback(dst *string, s string) error {
	if s == "" {
		*dst = ""
		return nil
	}
	if err := listenAddr(dst, s); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(s)
	if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
		return fmt.Errorf("%q is not a loopback address: the interface has no authentication, so it is served on 127.0.0.0/8 or [::1] only; reach it from elsewhere through ssh", s)
	}
	return nil
}

func level(dst *slog.Level, s string) error {
	var name string
	if err := oneOf(&name, strings.ToLower(s), "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return dst.UnmarshalText([]byte(name))
}

func oneOf(dst *string, s string, allowed ...string) error {
	if !slices.Contains(allowed, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(allowed, ", "))
	}
	*dst = s
	return nil
}

func duration(dst *time.Duration, s string, limit time.Duration) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration, for example 5s or 1m30s", s)
	}
	if d < 0 || d > limit {
		return fmt.Errorf("%s is not in 0s…%s", d, limit)
	}
	*dst = d
	return nil
}

// ageing is at least a second: a shorter one would forget stations between two of
// their frames.
func ageing(dst *time.Duration, s string) error {
	if err := duration(dst, s, 1_000_000*time.Second); err != nil {
		return err
	}
	if *dst < time.Second {
		return fmt.Errorf("%s is not in 1s…%s", *dst, 1_000_000*time.Second)
	}
	return nil
}

// bridgeName also holds the limit of interface names.
func bridgeName(dst *string, s string) error {
	if s == "" || len(s) > 15 || strings.ContainsAny(s, "/ \t\n") || strings.HasPrefix(s, ".") {
		return fmt.Errorf("%q is not an interface name: 1 to 15 characters without spaces and slashes", s)
	}
	*dst = s
	return nil
}

func datapathType(dst *string, s string) error {
	if err := oneOf(dst, s, "auto", "system", "netdev"); err != nil {
		return err
	}
	if s == "auto" {
		*dst = ""
	}
	return nil
}

func port(dst *uint16, s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a UDP port, 1…65535", s)
	}
	*dst = uint16(n)
	return nil
}

// distinct refuses settings that are valid alone but not together.
func distinct(c *Config) error {
	var errs []error
	if c.VXLANPort == c.GenevePort && c.VXLANPort != 0 {
		errs = append(errs, fmt.Errorf("vxlan.port and geneve.port are both %d; a UDP port carries one encapsulation", c.VXLANPort))
	}
	listen := map[string]string{}
	for _, l := range []struct{ key, addr string }{{"openflow.listen", c.OpenFlowListen}, {"ovsdb.listen", c.OVSDBListen}, {"api.listen", c.APIListen}} {
		if other, ok := listen[l.addr]; ok && l.addr != "" && !strings.HasSuffix(l.addr, ":0") {
			errs = append(errs, fmt.Errorf("%s and %s are both %s; give them different ports", other, l.key, l.addr))
		}
		listen[l.addr] = l.key
	}
	return errors.Join(errs...)
}
