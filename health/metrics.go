package health

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/proxy"
	"holdfast/sentinel"
)

// mostScrapes is how many scrapes are answered at a time.
const mostScrapes = 4

// metrics answers with a registry of its own, so that no library adds to it.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{s},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one odd label is not to hide all the rest
		MaxRequestsInFlight: mostScrapes,
		EnableOpenMetrics:   true,
	})
}

// collector makes metrics of one snapshot per scrape. Nothing is counted twice,
// and nobody has to keep a metric up to date.
type collector struct{ *Server }

// Describe tells nothing in advance: what there is depends on the snapshot.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect is called once a scrape.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	out.gauge("build_info", "Which program this is; always 1.", 1,
		"version", c.build.Version, "commit", c.build.Commit, "go", c.build.Go)
	traffic := c.below.Proxy()
	out.listeners(traffic)
	for _, m := range traffic.Masters {
		out.commands(m)
		out.connections(m)
	}
	masters := c.below.Sentinel()
	for _, m := range masters.Masters {
		out.view(m)
		out.failovers(m)
		out.evidence(m)
	}
	for _, s := range masters.Sentinels {
		out.sentinel(s)
	}
	out.routers(c.below.Routers())
}

// sink takes metrics. Labels are pairs of name and value.
type sink chan<- prometheus.Metric

const namespace = "holdfast_"

func (out sink) gauge(name, help string, value float64, labels ...string) {
	out.put(prometheus.GaugeValue, name, help, value, labels)
}

func (out sink) counter(name, help string, value uint64, labels ...string) {
	out.put(prometheus.CounterValue, name, help, float64(value), labels)
}

// reasons is one counter for each reason.
func (out sink) reasons(name, help, label string, by map[string]uint64, labels ...string) {
	for reason, n := range by {
		out.counter(name, help, n, append([]string{label, reason}, labels...)...)
	}
}

func (out sink) put(kind prometheus.ValueType, name, help string, value float64, labels []string) {
	desc, values := describe(name, help, labels)
	m, err := prometheus.NewConstMetric(desc, kind, value, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	out <- m
}

// summary is how often something happened and how many seconds it took together.
func (out sink) summary(name, help string, count uint64, sum float64, labels ...string) {
	desc, values := describe(name, help, labels)
	m, err := prometheus.NewConstSummary(desc, count, sum, nil, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	out <- m
}

func describe(name, help string, labels []string) (desc *prometheus.Desc, values []string) {
	var names []string
	for i := 0; i < len(labels); i += 2 {
		names = append(names, labels[i])
		// Some values are the words of a Sentinel, which may not be UTF-8.
		values = append(values, strings.ToValidUTF8(labels[i+1], "?"))
	}
	return prometheus.NewDesc(namespace+name, help, names, nil), values
}

// stamp is a moment as Prometheus has it.
func stamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (out sink) listeners(t proxy.Stats) {
	out.gauge("draining", "1 while the process is ending.", bit(t.Draining))
	out.gauge("upstreams", "Connections to masters.", float64(t.Upstreams))
	out.gauge("shared_upstreams", "Of the connections to masters, those that carry the commands of many clients.", float64(t.Shared))
	out.counter("connections_total", "Client connections accepted.", t.Connections)
	out.counter("connections_turned_away_total", "Client connections refused because of limits.max_clients.", t.TurnedAway)
	for _, l := range t.Listeners {
		labels := []string{"listener", l.Address, "master", l.Master, "mode", l.Mode}
		out.gauge("clients", "Clients connected.", float64(l.Clients), labels...)
		out.gauge("listener_bound", "1 while the listener accepts clients.", bit(l.Bound), labels...)
		if l.TLS != nil {
			out.counter("tls_handshakes_failed_total", "Clients with which no TLS could be agreed on.", l.TLS.Failed, labels...)
			out.gauge("tls_certificate_expiry_seconds", "When the listener's certificate expires, a unix time.", stamp(l.TLS.Expires), labels...)
		}
	}
}

func (out sink) commands(m proxy.MasterStats) {
	master := []string{"master", m.Name}
	out.counter("commands_total", "Commands taken from clients = answered + refused + cut + in flight.", m.Accepted, master...)
	out.counter("commands_answered_total", "Commands answered by the master.", m.Answered, master...)
	out.reasons("commands_refused_total", "Commands that holdfast itself answered with an error.", "reason", m.Refused, master...)
	out.counter("commands_cut_total", "Commands whose client was gone before the answer.", m.Cut, master...)
	out.gauge("commands_in_flight", "Commands not answered yet.", float64(m.InFlight), master...)
	out.counter("commands_resent_total", "Commands sent a second time, to a new master.", m.Resent, master...)
	out.counter("received_bytes_total", "Bytes read from clients.", m.BytesIn, master...)
	out.counter("sent_bytes_total", "Bytes written to clients.", m.BytesOut, master...)
	out.gauge("clients_waiting", "Clients that wait for a master.", float64(m.Waiting), master...)
	out.summary("hold_seconds", "How long clients with something to send waited for a master.", m.Holds, m.HeldSeconds, master...)
	out.counter("unexpected_replies_total", "Replies that nobody waited for; must stay 0.", m.Unexpected, master...)
}

func (out sink) connections(m proxy.MasterStats) {
	master := []string{"master", m.Name}
	out.reasons("connections_closed_total", "Client connections that ended.", "reason", m.Closed, master...)
	out.reasons("session_pins_total", "Sessions that got a connection to the master of their own.", "reason", m.Pins, master...)
	out.counter("upstreams_opened_total", "Connections to the master made ready.", m.UpstreamsOpened, master...)
	out.counter("upstreams_lost_total", "Connections to the master that it ended.", m.UpstreamsLost, master...)
	out.counter("attach_failures_total", "Connections to the master that could not be made ready.", m.AttachFailed, master...)
	out.counter("role_denied_total", "Connections on which the node said that it is no master.", m.RoleDenied, master...)
}

func (out sink) view(m sentinel.MasterStats) {
	name, v := []string{"master", m.View.Name}, m.View
	for state := sentinel.Unknown; state <= sentinel.Doubt; state++ {
		out.gauge("master_state", "1 for the state that the master is in.", bit(state == v.State),
			"state", state.String(), "master", v.Name)
	}
	out.gauge("master_info", "Which node is the master; always 1.", 1, "address", v.Master, "master", v.Name)
	out.gauge("master_epoch", "Epoch of the Sentinel configuration that named the master.", float64(v.Epoch), name...)
	out.gauge("master_proven", "1 if the node itself said role:master to holdfast.", bit(v.Proven), name...)
	if !v.Since.IsZero() {
		out.gauge("master_state_since_timestamp_seconds", "When the master came into its state.", stamp(v.Since), name...)
	}
	out.counter("master_views_total", "Changes of state, epoch or master.", m.Views, name...)
	out.gauge("master_replicas", "Replicas that the Sentinels know.", float64(len(m.Replicas)), name...)
	out.gauge("master_attached_replicas", "Replicas by the master's own count.", float64(m.AttachedReplicas), name...)
	out.gauge("master_sentinels_known", "Sentinels that watch the master, also those that do not answer.", float64(m.KnownSentinels), name...)
	out.gauge("master_sentinels_answering", "Sentinels that watch the master and answer.", float64(m.SightedSentinels), name...)
	out.gauge("master_sentinels_needed", "Sentinels needed to elect the leader of a failover.", float64(m.NeededSentinels), name...)
}

func (out sink) failovers(m sentinel.MasterStats) {
	name := []string{"master", m.View.Name}
	out.counter("failovers_total", "Times that another master took over.", m.Moves, name...)
	out.counter("interruptions_total", "Times that the master stopped being served and was served again.", m.Interruptions, name...)
	out.counter("master_restarts_total", "Times that the master came back with another run id without a failover.", m.Reboots, name...)
	out.counter("old_masters_demoted_total", "Old masters that were told to be replicas (failover.demote_old_master).", m.Demotions, name...)
	out.counter("old_masters_undemoted_total", "Attempts at it that failed.", m.Undemoted, name...)
	out.counter("master_data_losses_total", "Of these restarts, those with an older or empty data set.", m.Losses, name...)
	if len(m.Failovers) == 0 {
		return
	}
	last := m.Failovers[len(m.Failovers)-1]
	out.gauge("last_failover_timestamp_seconds", "When the last failover or interruption began.", stamp(last.Began), name...)
	for _, step := range stepsOf(last) {
		out.gauge("last_failover_step_seconds", "Steps of the last failover or interruption, since it began.", step.After,
			"step", step.What, "master", m.View.Name)
	}
}

func (out sink) evidence(m sentinel.MasterStats) {
	name := []string{"master", m.View.Name}
	out.counter("doubts_total", "Role probes made because the data path had evidence against the master.", m.Doubts, name...)
	out.reasons("probes_total", "Role probes.", "outcome", m.Probes, name...)
	out.reasons("sentinel_events_by_kind_total", "Events of the Sentinels about the master.", "event", m.Events, name...)
	out.reasons("sentinel_reports_disbelieved_total", "Reports of the Sentinels that were not believed.", "reason", m.Disbelieved, name...)
}

func (out sink) sentinel(s sentinel.SentinelStats) {
	who := []string{"sentinel", s.Address}
	out.gauge("sentinel_up", "1 if the Sentinel answered its last poll.", bit(s.Connected), who...)
	out.gauge("sentinel_subscribed", "1 while the Sentinel's events arrive.", bit(s.Subscribed), who...)
	out.gauge("sentinel_tilt", "1 while the Sentinel distrusts its clock and does not act.", bit(s.Tilt), who...)
	out.counter("sentinel_polls_total", "Polls that the Sentinel answered.", s.Polls, who...)
	out.counter("sentinel_errors_total", "Polls and subscriptions of the Sentinel that failed.", s.ErrorCount, who...)
	out.counter("sentinel_events_total", "Events that the Sentinel sent.", s.Events, who...)
	if !s.LastHeard.IsZero() {
		out.gauge("sentinel_last_heard_timestamp_seconds", "When the Sentinel was last heard of.", stamp(s.LastHeard), who...)
	}
	for _, r := range s.Masters {
		out.gauge("sentinel_knows_master", "1 if the Sentinel has a master of this name.", bit(r.Known), "sentinel", s.Address, "master", r.Name)
		if r.Known {
			out.gauge("sentinel_master_epoch", "Epoch of the configuration that the Sentinel has; the address is the one that it names.", float64(r.Epoch),
				"sentinel", s.Address, "master", r.Name, "address", r.Address)
		}
	}
}
