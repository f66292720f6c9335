// The family's counters: what each is called, wherever it is shown. This file owns
// the one table of them; who counts needs no more than a Counter.

package imsg

// Counter numbers one of the family's counters.
type Counter uint8

// The counters. Those of the state file first (behaviour of the status file).
const (
	CountTotal Counter = iota // every accepted connection
	CountDirect
	CountEmpty // ended without a 354
	CountViruses
	CountSpams
	CountNoAuth
	CountSPF
	CountRegex
	CountEarlyTalk
	CountRejectHost
	CountRejectIdent
	CountRejectLock
	CountRejectDNSBL
	CountRejectRate
	CountRejectRateLimit
	CountRejectOther
	CountPipeline // times a client was read no further until a reply came
	CountAuthAccepted
	CountAuthRejected
	CountBugs // panics caught in a session
	CountMessages
	CountRecipients
	CountClientBytes
	CountServerBytes
	CountUnscanned // passed without a look because ignore_errors says so
	CountScanFailed
	CountWouldEarlyTalk // those of policy.monitor, in the order of PolicyRule
	CountWouldDNSBL
	CountWouldSPF
	CountWouldRegex
	CountWouldSpam
	CountWouldVirus
	CountWouldRate
	CountWouldMaxHost
	CountWouldMaxIdent
	CountWouldLocked
	CountWouldSize
	CountWouldAuth
	Counters // how many there are
)

// CounterGroup is the line on which people see a counter.
type CounterGroup string

// The groups, in the order in which they are shown.
const (
	CountedSeen    CounterGroup = "seen"
	CountedFound   CounterGroup = "found"
	CountedRefused CounterGroup = "refused"
	CountedLogin   CounterGroup = "login"
	CountedTrouble CounterGroup = "trouble"
	CountedOctets  CounterGroup = "octets"
	CountedWould   CounterGroup = "would"
)

// CountWould is the counter of what a rule of policy.monitor would have refused.
func CountWould(r PolicyRule) Counter { return CountWouldEarlyTalk + Counter(r-RuleEarlyTalk) }

// CounterGroups lists them.
var CounterGroups = []CounterGroup{CountedSeen, CountedFound, CountedRefused, CountedLogin, CountedTrouble, CountedOctets, CountedWould}

// CounterRow is all there is to say of a counter.
type CounterRow struct {
	Name   string // in JSON
	Help   string // a sentence
	Group  CounterGroup
	Word   string // for people, on the group's line
	State  string // its key in the flat state file, whose form is the old daemon's; empty: it has none there
	Metric string // name and label in the exposition format of Prometheus
}

// CounterTable tells of each counter.
var CounterTable = [Counters]CounterRow{
	CountTotal:           {"total", "Connections that were accepted.", CountedSeen, "connections", "requests.total", "smtp_gated_sessions_total"},
	CountDirect:          {"direct", "Sessions passed on without a look, after STARTTLS as a rule.", CountedSeen, "passed on blind", "requests.direct", "smtp_gated_sessions_direct_total"},
	CountEmpty:           {"empty", "Sessions that ended without a message begun.", CountedSeen, "without mail", "requests.empty", "smtp_gated_sessions_empty_total"},
	CountViruses:         {"viruses", "Messages in which a virus was found.", CountedFound, "viruses", "found.viruses", `smtp_gated_messages_found_total{verdict="virus"}`},
	CountSpams:           {"spams", "Messages whose score reached the threshold.", CountedFound, "spam", "found.spams", `smtp_gated_messages_found_total{verdict="spam"}`},
	CountNoAuth:          {"noauths", "MAIL commands refused for want of a log-in.", CountedFound, "not authenticated", "found.noauths", `smtp_gated_commands_refused_total{reason="noauth"}`},
	CountSPF:             {"spf", "Senders whose domain forbids the client.", CountedFound, "SPF", "found.spf", `smtp_gated_commands_refused_total{reason="spf"}`},
	CountRegex:           {"regex", "Commands refused by a regular expression.", CountedFound, "regex", "found.regex", `smtp_gated_commands_refused_total{reason="regex"}`},
	CountEarlyTalk:       {"earlytalk", "Clients that talked before the greeting.", CountedFound, "early talkers", "found.earlytalk", `smtp_gated_sessions_refused_total{reason="earlytalk"}`},
	CountRejectHost:      {"reject_host", "Connections refused by max_per_host.", CountedRefused, "per host", "rejects.host", `smtp_gated_sessions_refused_total{reason="host"}`},
	CountRejectIdent:     {"reject_ident", "Connections refused by max_per_ident.", CountedRefused, "per ident", "rejects.ident", `smtp_gated_sessions_refused_total{reason="ident"}`},
	CountRejectLock:      {"reject_lock", "Connections of clients that are locked.", CountedRefused, "locked", "rejects.lock", `smtp_gated_sessions_refused_total{reason="lock"}`},
	CountRejectDNSBL:     {"reject_dnsbl", "Connections of clients on a DNS block list.", CountedRefused, "DNS lists", "rejects.dnsbl", `smtp_gated_sessions_refused_total{reason="dnsbl"}`},
	CountRejectRate:      {"reject_rate", "Connections refused by a quota of connections or servers.", CountedRefused, "rate", "rejects.rate", `smtp_gated_sessions_refused_total{reason="rate"}`},
	CountRejectRateLimit: {"reject_ratelimit", "Sessions ended by a quota of commands the server refused.", CountedRefused, "rate of rejects", "rejects.ratelimit", `smtp_gated_sessions_refused_total{reason="ratelimit"}`},
	CountRejectOther:     {"reject_other", "Connections refused by any other limit.", CountedRefused, "limits", "rejects.other", `smtp_gated_sessions_refused_total{reason="other"}`},
	CountPipeline:        {"pipeline", "Times a client was read no further until a reply came.", CountedTrouble, "waits for replies", "errors.pipeline", "smtp_gated_pipeline_waits_total"},
	CountAuthAccepted:    {"auth_accepted", "Log-ins the server accepted.", CountedLogin, "accepted", "auth.accepts", `smtp_gated_logins_total{result="accepted"}`},
	CountAuthRejected:    {"auth_rejected", "Log-ins the server refused.", CountedLogin, "rejected", "auth.rejects", `smtp_gated_logins_total{result="rejected"}`},
	CountBugs:            {"bugs", "Panics caught in a session.", CountedTrouble, "bugs", "children.bugs", "smtp_gated_bugs_total"},
	CountMessages:        {"messages", "Messages begun.", CountedSeen, "messages", "", "smtp_gated_messages_total"},
	CountRecipients:      {"recipients", "Recipients the server accepted.", CountedSeen, "recipients", "", "smtp_gated_recipients_total"},
	CountClientBytes:     {"client_bytes", "Octets from clients.", CountedOctets, "from clients", "", `smtp_gated_bytes_total{direction="from_client"}`},
	CountServerBytes:     {"server_bytes", "Octets from servers.", CountedOctets, "from servers", "", `smtp_gated_bytes_total{direction="from_server"}`},
	CountUnscanned:       {"unscanned", "Messages passed without a look because ignore_errors says so.", CountedTrouble, "unscanned", "", "smtp_gated_messages_unscanned_total"},
	CountScanFailed:      {"scan_failed", "Scans that came to no verdict.", CountedTrouble, "scans failed", "", "smtp_gated_scan_errors_total"},

	CountWouldEarlyTalk: wouldRow(RuleEarlyTalk),
	CountWouldDNSBL:     wouldRow(RuleDNSBL),
	CountWouldSPF:       wouldRow(RuleSPF),
	CountWouldRegex:     wouldRow(RuleRegex),
	CountWouldSpam:      wouldRow(RuleSpam),
	CountWouldVirus:     wouldRow(RuleVirus),
	CountWouldRate:      wouldRow(RuleRate),
	CountWouldMaxHost:   wouldRow(RuleMaxHost),
	CountWouldMaxIdent:  wouldRow(RuleMaxIdent),
	CountWouldLocked:    wouldRow(RuleLocked),
	CountWouldSize:      wouldRow(RuleSize),
	CountWouldAuth:      wouldRow(RuleAuth),
}

// wouldRow is the row of a rule of policy.monitor.
func wouldRow(r PolicyRule) CounterRow {
	name := r.String()
	return CounterRow{"would_" + name, "What the rule " + name + " of policy.monitor would have refused.", CountedWould, name, "", `smtp_gated_would_total{rule="` + name + `"}`}
}

// String is the counter's name in JSON.
func (c Counter) String() string { return CounterTable[c].Name }

// CountersWith lists the counters of which is says yes, in their order.
func CountersWith(is func(CounterRow) bool) (list []Counter) {
	for c := range Counters {
		if is(CounterTable[c]) {
			list = append(list, c)
		}
	}
	return list
}
