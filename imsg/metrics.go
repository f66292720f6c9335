// What the family's numbers are called where Prometheus reads them. This file owns the one
// table of metrics, which the exporter, the manual and the counters follow. A label has
// values of a fixed list, or of the configuration; never what a client said.

package imsg

// Metric numbers one of them.
type Metric uint8

// The metrics.
const (
	NoMetric Metric = iota // what others are the parts of
	MetricUp
	MetricBuild
	MetricVerdict
	MetricFinding
	MetricReloaded
	MetricReloadTime
	MetricStart
	MetricRooms
	MetricRestarts
	MetricLogLost
	MetricLoad
	MetricSessionsNow
	MetricSessionsMax
	MetricSessions
	MetricSessionsRefused
	MetricSessionDuration
	MetricDirect
	MetricEmpty
	MetricTLS
	MetricTLSPassed
	MetricLogins
	MetricCommandsRefused
	MetricPipelineWaits
	MetricMessagesAnswered
	MetricMessages
	MetricUnscanned
	MetricWould
	MetricRecipients
	MetricBytes
	MetricAddedLatency
	MetricScanDuration
	MetricScanErrors
	MetricLocks
	MetricLocksMade
	MetricExemptions
	MetricQuotas
	MetricDNS
	MetricBugs
	MetricCertificate
	MetricFilesScanned
	MetricProxy
	Metrics // how many there are
)

// MetricKind is how a metric behaves.
type MetricKind string

// The kinds, as Prometheus calls them.
const (
	GaugeMetric     MetricKind = "gauge"
	CounterMetric   MetricKind = "counter"
	HistogramMetric MetricKind = "histogram"
)

// MetricRow is all there is to say of a metric.
type MetricRow struct {
	Name   string
	Kind   MetricKind
	Labels []string
	Help   string // a sentence
}

// MetricTable tells of each.
var MetricTable = [Metrics]MetricRow{
	MetricUp:         {"smtp_gated_up", GaugeMetric, nil, "Whether the daemon answered. If it did not, nothing else is told."},
	MetricBuild:      {"smtp_gated_build_info", GaugeMetric, []string{"version"}, "Always 1; the label is the daemon's version."},
	MetricVerdict:    {"smtp_gated_verdict", GaugeMetric, []string{"verdict"}, "1 for what smtp-gatectl status says in sum, else 0."},
	MetricFinding:    {"smtp_gated_finding", GaugeMetric, []string{"id", "object"}, "1 for each finding that there is: what is wrong, and with what."},
	MetricReloaded:   {"smtp_gated_config_last_reload_successful", GaugeMetric, nil, "Whether the configuration on disk was read when it was last to be."},
	MetricReloadTime: {"smtp_gated_config_last_reload_success_timestamp_seconds", GaugeMetric, nil, "When the configuration in force was read."},
	MetricStart:      {"smtp_gated_start_timestamp_seconds", GaugeMetric, nil, "When the daemon was started."},
	MetricRooms:      {"smtp_gated_rooms", GaugeMetric, []string{"room", "state"}, "Rooms that run."},
	MetricRestarts:   {"smtp_gated_room_restarts_total", CounterMetric, []string{"room"}, "Rooms that ended unasked."},
	MetricLogLost:    {"smtp_gated_log_lines_lost_total", CounterMetric, nil, "Lines that the log did not take."},
	MetricLoad:       {"smtp_gated_load", GaugeMetric, nil, "The machine's load average of the last minute, as the limits see it."},

	MetricSessionsNow:     {"smtp_gated_sessions", GaugeMetric, []string{"state"}, "Live sessions by what they do or wait for; unknown are those whose worker did not answer."},
	MetricSessionsMax:     {"smtp_gated_sessions_max", GaugeMetric, nil, "How many there may be."},
	MetricSessions:        {"smtp_gated_sessions_total", CounterMetric, []string{"family"}, "Connections that were accepted."},
	MetricSessionsRefused: {"smtp_gated_sessions_refused_total", CounterMetric, []string{"reason"}, "Connections that were refused, or ended by a rule."},
	MetricSessionDuration: {"smtp_gated_session_duration_seconds", HistogramMetric, nil, "How long sessions took, from the connection to its end."},
	MetricDirect:          {"smtp_gated_sessions_direct_total", CounterMetric, nil, "Sessions passed on without a look."},
	MetricEmpty:           {"smtp_gated_sessions_empty_total", CounterMetric, nil, "Sessions that ended without a message begun."},
	MetricTLS:             {"smtp_gated_tls_sessions_total", CounterMetric, []string{"mode"}, "Sessions by what became of STARTTLS."},
	MetricTLSPassed:       {"smtp_gated_tls_passed_ratio", GaugeMetric, nil, "How much of all sessions since the start went on in a TLS that nobody here reads, 0 to 1."},
	MetricLogins:          {"smtp_gated_logins_total", CounterMetric, []string{"result"}, "Log-ins by the server's answer."},
	MetricCommandsRefused: {"smtp_gated_commands_refused_total", CounterMetric, []string{"reason"}, "Commands that were refused."},
	MetricPipelineWaits:   {"smtp_gated_pipeline_waits_total", CounterMetric, nil, "Times a client was read no further until a reply came."},

	MetricMessagesAnswered: {"smtp_gated_messages_answered_total", CounterMetric, nil, "Messages the server has answered."},
	MetricMessages:         {"smtp_gated_messages_total", CounterMetric, []string{"verdict"}, "Messages that came to their end, by what was decided."},
	MetricUnscanned:        {"smtp_gated_unscanned_total", CounterMetric, []string{"cause"}, "What passed without a look that was to be taken, by the cause."},
	MetricWould:            {"smtp_gated_would_total", CounterMetric, []string{"rule"}, "What rules of policy.monitor would have refused."},
	MetricRecipients:       {"smtp_gated_recipients_total", CounterMetric, nil, "Recipients the server accepted."},
	MetricBytes:            {"smtp_gated_bytes_total", CounterMetric, []string{"direction"}, "Octets of sessions that are over."},
	MetricAddedLatency:     {"smtp_gated_added_latency_seconds", HistogramMetric, nil, "How long the end of a message was held back, from the client's until the server's."},
	MetricScanDuration:     {"smtp_gated_scan_duration_seconds", HistogramMetric, []string{"engine"}, "How long an engine took."},
	MetricScanErrors:       {"smtp_gated_scan_errors_total", CounterMetric, []string{"engine", "kind"}, "Scans that came to no verdict; scand is the room that asks the engines."},

	MetricLocks:      {"smtp_gated_locks", GaugeMetric, []string{"origin"}, "Clients that are locked."},
	MetricLocksMade:  {"smtp_gated_locks_total", CounterMetric, []string{"cause"}, "Locks that were made, by the cause."},
	MetricExemptions: {"smtp_gated_exemptions", GaugeMetric, nil, "Exemptions that are in force: smtp-gatectl exempt list."},
	MetricQuotas:     {"smtp_gated_quota_exceeded_total", CounterMetric, []string{"counter"}, "Uses that a client's quota did not allow."},
	MetricDNS:        {"smtp_gated_dns_queries_total", CounterMetric, []string{"zone", "result"}, "Questions to each block list, up to the first that names a client; and to spf."},
	MetricBugs:       {"smtp_gated_bugs_total", CounterMetric, nil, "Panics caught in a session."},

	MetricFilesScanned: {"smtp_gated_files_scanned_total", CounterMetric, nil, "Files that an operator had looked at by the scanners."},

	MetricProxy: {"smtp_gated_proxy_headers_total", CounterMetric, []string{"result"}, "Headers of the PROXY protocol, by what became of them."},

	MetricCertificate: {"smtp_gated_certificate_not_after_seconds", GaugeMetric, []string{"name"}, "When a certificate that clients are shown ends, by the first name it is for."},
}
