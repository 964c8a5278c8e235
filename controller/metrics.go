package controller

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// namespace starts the name of every metric of ours.
const namespace = "ofctl_lab"

// metrics are what is counted as it happens. What can be read off the state at
// any time is collected when asked for, see collector.
type metrics struct {
	registry *prometheus.Registry

	engineSeconds  prometheus.Histogram
	engineBatch    prometheus.Histogram
	compileSeconds prometheus.Histogram
	commitSeconds  prometheus.Histogram
	entries        *prometheus.CounterVec
	syncErrors     *prometheus.CounterVec
	audits         *prometheus.CounterVec
	drift          *prometheus.CounterVec
	stale          *prometheus.CounterVec
	refused        *prometheus.CounterVec
	packetIns      *prometheus.CounterVec
	probes         *prometheus.CounterVec
	cutOvers       prometheus.Counter
	moves          prometheus.Counter
	movesHeld      prometheus.Counter
	macLimits      prometheus.Counter
}

func newMetrics(c *Controller) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		engineSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "overlay_commit_seconds",
			Help: "Time to commit changes to the overlay, storing included.", Buckets: prometheus.ExponentialBuckets(1e-5, 4, 10)}),
		engineBatch: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "overlay_commit_requests",
			Help: "Requests put into one commit of the overlay.", Buckets: prometheus.ExponentialBuckets(1, 4, 6)}),
		compileSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "recompile_seconds",
			Help: "Time to recompile what one host must hold.", Buckets: prometheus.ExponentialBuckets(1e-5, 4, 10)}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "switch_commit_seconds",
			Help: "Time for a switch to confirm a commit that changed something. Its count is the hosts touched.", Buckets: prometheus.ExponentialBuckets(1e-4, 4, 10)}),
		entries:    counters("switch_entries_total", "Entries sent to a switch, by kind (flow, group, meter) and operation (add, modify, delete).", "host", "kind", "op"),
		syncErrors: counters("switch_sync_errors_total", "Attempts to bring a switch up to date that failed.", "host"),
		audits:     counters("switch_audits_total", "Comparisons of a switch with what it should hold.", "host"),
		stale:      counters("compile_stale_entries_total", "Entries that audits found otherwise in what was compiled change by change than in a fresh compilation; always 0 unless the controller has a mistake.", "host"),
		drift:      counters("switch_drift_entries_total", "Entries that audits found changed behind the controller's back, and repaired.", "host"),
		refused:    counters("connections_refused_total", "Connections that were not served, by protocol (openflow, ovsdb).", "protocol"),
		packetIns:  counters("packet_ins_total", "Packets that a switch sent to the controller, by the feature of the flow that sent them; dropped: those that nobody asked for, or too many.", "host", "feature"),
		probes:     counters("reachability_probes_total", "Probes of the ways between hosts, by what became of them (sent, answered: by the host that sent them; ignored: by the host that they came to, those that the controller had not sent, or too long ago).", "host", "result"),
		moves: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "learned_mac_moves_total",
			Help: "Learned source MACs that moved from one port to another."}),
		movesHeld: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "learned_mac_moves_held_total",
			Help: "Sightings of learned source MACs at another port that were not followed, since the MAC moves all the time."}),
		macLimits: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "mac_limits_reached_total",
			Help: "Times that a port has come to have as many learned source MACs as it may."}),
	}
	m.cutOvers = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "cut_overs_total",
		Help: "Ports that went over to the host that they were being migrated to, or back."})
	m.registry.MustRegister(m.engineSeconds, m.engineBatch, m.compileSeconds, m.commitSeconds,
		m.entries, m.syncErrors, m.audits, m.drift, m.stale, m.refused, m.packetIns, m.probes, m.cutOvers, m.moves, m.movesHeld, m.macLimits, collector{c},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

func (m *metrics) engineCommit(took time.Duration, requests int) {
	m.engineSeconds.Observe(took.Seconds())
	m.engineBatch.Observe(float64(requests))
}

// count notes what was sent to a switch.
func (m *metrics) count(host string, d *flows.Delta) {
	for _, e := range []struct {
		kind, op string
		n        int
	}{
		{"flow", "add", len(d.AddFlows)}, {"flow", "modify", len(d.ModFlows)}, {"flow", "delete", len(d.DelFlows)},
		{"group", "add", len(d.AddGroups)}, {"group", "modify", len(d.ModGroups)}, {"group", "delete", len(d.DelGroups)},
		{"meter", "add", len(d.AddMeters)}, {"meter", "modify", len(d.ModMeters)}, {"meter", "delete", len(d.DelMeters)},
	} {
		if e.n > 0 {
			m.entries.WithLabelValues(host, e.kind, e.op).Add(float64(e.n))
		}
	}
}

// collector reads the gauges off the state.
type collector struct{ c *Controller }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// descs are the gauges.
func descs() (d struct{ revision, settled, objects, ports, unclaimed, learned, atLimit, connected, hostRevision, hostEntries, hostReady, hostFallback, hostUnreachable *prometheus.Desc }) {
	d.revision = gauge("overlay_revision", "Newest revision of the overlay.")
	d.settled = gauge("settled", "1 when switches that forwarded before the start may be changed.")
	d.objects = gauge("overlay_objects", "Objects in the overlay, by kind.", "kind")
	d.ports = gauge("ports", "Declared ports, by state (down, binding, up, conflict, migrating).", "state")
	d.learned = gauge("learned_macs", "Source MACs that are learned at ports of profile switch.")
	d.atLimit = gauge("ports_at_mac_limit", "Ports that have learned as many source MACs as they may; frames from others are dropped.")
	d.unclaimed = gauge("unclaimed", "What is there but nobody declared, by kind (interface, bridge).", "kind")
	d.connected = gauge("host_connected", "1 while the host's session is alive, by protocol (openflow, ovsdb).", "host", "protocol")
	d.hostRevision = gauge("host_revision", "Newest revision that the host's switch confirmed.", "host")
	d.hostEntries = gauge("host_entries", "Entries of ours in the host's switch, by kind (flow, group, meter).", "host", "kind")
	d.hostReady = gauge("host_ready", "1 when the host is connected, right and up to date.", "host")
	d.hostFallback = gauge("host_datapath_fallback", "1 when the host's bridge has the userspace datapath although the kernel's was intended.", "host")
	d.hostUnreachable = gauge("host_unreachable_peers", "Peers, each over each encapsulation that it shares with the host, that no packet of the host reaches, by probes through the tunnel.", "host")
	return d
}

// Describe sends nothing: the set of series depends on the hosts.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the newest state.
func (k collector) Collect(ch chan<- prometheus.Metric) {
	d := descs()
	set := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	v := k.c.view()
	s := v.status()
	set(d.revision, float64(s.Revision))
	set(d.settled, number(s.Settled))
	set(d.objects, float64(s.Hosts), "host")
	set(d.objects, float64(s.Tenants), "tenant")
	set(d.objects, float64(s.Networks), "network")
	set(d.objects, float64(s.Ports), "port")
	for state, n := range v.portStates() {
		set(d.ports, float64(n), string(state))
	}
	set(d.learned, float64(v.model.TotalLearned()))
	set(d.atLimit, float64(len(v.fullPorts())))
	set(d.unclaimed, float64(len(v.model.Unclaimed())), "interface")
	set(d.unclaimed, float64(len(k.c.unclaimed.all())), "bridge")
	for _, h := range v.model.Hosts() {
		st := v.hostStatus(h)
		set(d.connected, number(st.OVSDB.Connected), h.Name, "ovsdb")
		set(d.connected, number(st.OpenFlow.Connected), h.Name, "openflow")
		set(d.hostRevision, float64(st.Revision), h.Name)
		set(d.hostEntries, float64(st.Flows), h.Name, "flow")
		set(d.hostEntries, float64(st.Groups), h.Name, "group")
		set(d.hostEntries, float64(st.Meters), h.Name, "meter")
		set(d.hostReady, number(st.Ready), h.Name)
		set(d.hostFallback, number(fellBack(st.Bridge)), h.Name)
		set(d.hostUnreachable, float64(st.Reachability.Unreachable), h.Name)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
