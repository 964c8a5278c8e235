package ovn

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

const (
	northboundSchema = "/usr/share/ovn/ovn-nb.ovsschema"
	southboundSchema = "/usr/share/ovn/ovn-sb.ovsschema"
	// southboundPort is OVN's own.
	southboundPort = 6642
)

// startCentral starts the two databases and northd in the lab's own namespace, and returns the
// address of the southbound database for the hosts.
func (o *Overlay) startCentral(ctx context.Context) (remote netip.AddrPort, err error) {
	ns, addr, err := o.Control(ctx)
	if err != nil {
		return remote, err
	}
	defer ns.Close()
	dir := o.ControlDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return remote, err
	}
	remote = netip.AddrPortFrom(addr, southboundPort)
	at := place{ns: ns, dir: dir, env: ovnEnv(dir)}
	o.nb = database{name: "OVN_Northbound", socket: filepath.Join(dir, "ovnnb_db.sock")}
	o.sb = database{name: "OVN_Southbound", socket: filepath.Join(dir, "ovnsb_db.sock")}

	// Two servers, as ovn-ctl starts them: each has a thread of its own.
	if err := o.startDatabase(ctx, at, "nb", northboundSchema, o.nb); err != nil {
		return remote, err
	}
	if _, err := o.nb.transact(ctx, insert("NB_Global", row{
		// Nobody disappears here, and a busy daemon must not be taken for a dead one.
		"options": ovsMap{"northd_probe_interval": "0"},
	})); err != nil {
		return remote, err
	}
	if err := o.startDatabase(ctx, at, "sb", southboundSchema, o.sb, "--remote=db:OVN_Southbound,SB_Global,connections"); err != nil {
		return remote, err
	}
	if _, err := o.sb.transact(ctx,
		named("connection", insert("Connection", row{"target": fmt.Sprintf("ptcp:%d:%s", remote.Port(), remote.Addr()), "inactivity_probe": 0})),
		insert("SB_Global", row{"connections": namedUUID("connection")}),
	); err != nil {
		return remote, err
	}
	// One thread, northd's default: more are for machines with four cores and thousands
	// of logical switches.
	return remote, o.launch(at, "northd", "ovn-northd", "--ovnnb-db=unix:"+o.nb.socket, "--ovnsb-db=unix:"+o.sb.socket)
}

func (o *Overlay) startDatabase(ctx context.Context, at place, name, schema string, db database, args ...string) error {
	file := filepath.Join(at.dir, name+".db")
	if err := run(ctx, at, "ovsdb-tool", "create", file, schema); err != nil {
		return err
	}
	if err := o.launch(at, name, "ovsdb-server", append([]string{file, "--remote=punix:" + db.socket}, args...)...); err != nil {
		return err
	}
	if err := db.awaitListening(ctx); err != nil {
		return fmt.Errorf("%w%s", err, o.complaints())
	}
	return nil
}

// startHost makes a host a chassis. Its integration bridge is there, with the datapath type
// of its underlay bridge; ovn-controller would create one otherwise.
func (o *Overlay) startHost(ctx context.Context, host string, southbound netip.AddrPort) error {
	ns, env, err := o.Host(host)
	if err != nil {
		return err
	}
	defer ns.Close()
	dir := filepath.Join(o.ControlDir(), host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	settings := []string{
		"system-id=" + host,
		"hostname=" + host,
		fmt.Sprintf("ovn-remote=tcp:%s", southbound),
		"ovn-encap-type=geneve",
		"ovn-encap-ip=" + overlay.TEP(host).String(),
		// The outer UDP checksum is computed by the processor here, for each packet. This
		// project's tunnels have none either.
		"ovn-encap-csum=false",
		// Every host takes part in every network, so all of the southbound database
		// concerns it: conditions would only cost.
		"ovn-monitor-all=true",
		// Nobody disappears here, and a busy daemon must not be taken for a dead one.
		"ovn-remote-probe-interval=0",
		"ovn-openflow-probe-interval=0",
	}
	argv := []string{"ovs-vsctl", "--timeout=30", "set", "Open_vSwitch", "."}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		argv = append(argv, fmt.Sprintf("external_ids:%s=%q", key, value))
	}
	if _, err := o.Run(ctx, host, argv...); err != nil {
		return err
	}
	return o.launch(place{ns: ns, dir: dir, env: append(env, ovnEnv(dir)...)}, host+"/ovn-controller", "ovn-controller")
}

// GuestMTU is the most a guest may send on the lab's underlay, in bytes: outer IPv4 20,
// UDP 8, Geneve 8, OVN's option with the logical ports 8, inner Ethernet 14.
const GuestMTU = overlay.UnderlayMTU - 58
