// The family's counters: what each is called, wherever it is shown. This file owns
// the one table of them; who counts needs no more than a Counter.

package imsg

// Counter numbers one of the family's counters.
type Counter uint16

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
	CountIPv4
	CountIPv6
	CountTLSPassed
	CountTLSMasked
	CountTLSTerminated
	CountClean
	CountUncleared // nothing was found, and not all looked who are to
	CountUndecided
	CountUnscannedSize
	CountUnscannedLoad
	CountUnscannedEngine
	CountUnscannedAuth
	CountUnscannedExempt
	CountUnscannedTLS
	CountEngineScand // in the order of Engine, each followed by its time-outs
	CountEngineScandTimeout
	CountEngineClamd
	CountEngineClamdTimeout
	CountEngineMksd
	CountEngineMksdTimeout
	CountEngineSpamd
	CountEngineSpamdTimeout
	CountEngineBuiltin
	CountEngineBuiltinTimeout
	CountQuotaConnections // in the order of Rate
	CountQuotaMessages
	CountQuotaRecipients
	CountQuotaBytes
	CountQuotaMailFromRejects
	CountQuotaRcptToRejects
	CountQuotaAuthRejects
	CountQuotaTLSSessions
	CountQuotaTLSBytes
	CountQuotaTLSServers
	CountQuotaTargets
	CountLockByHand
	CountLockEarlyTalk // in the order of PolicyRule
	CountLockDNSBL
	CountLockSPF
	CountLockRegex
	CountLockSpam
	CountLockVirus
	CountLockRate
	CountLockMaxHost
	CountLockMaxIdent
	CountDNSBLAnswered
	CountDNSBLSilent
	CountDNSBLFailed
	CountSPFAnswered
	CountSPFSilent
	CountSPFFailed
	CountFilesScanned // for an operator
	CountRejectLogin
	CountWouldMaxLogin
	CountProxyClient // headers of the PROXY protocol, by what became of them
	CountProxyCheck
	CountProxyMalformed
	CountProxyLate
	CountProxySource
	CountProxyUnexpected
	Counters // how many there are
)

// CounterGroup is the line on which people see a counter.
type CounterGroup string

// The groups, in the order in which they are shown.
const (
	CountedSeen      CounterGroup = "seen"
	CountedFound     CounterGroup = "found"
	CountedRefused   CounterGroup = "refused"
	CountedLogin     CounterGroup = "login"
	CountedTrouble   CounterGroup = "trouble"
	CountedOctets    CounterGroup = "octets"
	CountedTLS       CounterGroup = "TLS"
	CountedWould     CounterGroup = "would"
	CountedUnscanned CounterGroup = "unscanned"
	CountedEngine    CounterGroup = "engines"
	CountedQuota     CounterGroup = "quotas"
	CountedLock      CounterGroup = "locked"
	CountedDNS       CounterGroup = "DNS"
	CountedScan      CounterGroup = "looked at by hand"
	CountedProxy     CounterGroup = "PROXY"
)

// CounterGroups lists them.
var CounterGroups = []CounterGroup{
	CountedSeen, CountedFound, CountedRefused, CountedLogin, CountedTrouble, CountedOctets, CountedTLS,
	CountedWould, CountedUnscanned, CountedEngine, CountedQuota, CountedLock, CountedDNS, CountedScan, CountedProxy,
}

// Sparse tells that a group has many counters, of which most stay at zero: people are
// shown the others.
func (g CounterGroup) Sparse() bool {
	switch g {
	case CountedTLS, CountedWould, CountedUnscanned, CountedEngine, CountedQuota, CountedLock, CountedDNS, CountedScan, CountedProxy:
		return true
	}
	return false
}

// CountWould is the counter of what a rule of policy.monitor would have refused.
func CountWould(r PolicyRule) Counter {
	if r == RuleMaxLogin {
		return CountWouldMaxLogin
	}
	return CountWouldEarlyTalk + Counter(r-RuleEarlyTalk)
}

// CountEngine is the counter of scans of an engine that came to no verdict. EngineOff
// stands for scand, who asks the engines.
func CountEngine(e Engine, o Outcome) Counter {
	c := CountEngineScand + 2*Counter(e)
	if o == TimedOut {
		c++
	}
	return c
}

// CountQuota is the counter of uses that a quota refused.
func CountQuota(r Rate) Counter { return CountQuotaConnections + Counter(r) }

// CountLock is the counter of locks made because of f.
func CountLock(f Found) Counter {
	switch r := f.Rule(); {
	case r == NoRule:
		return CountLockByHand
	case r <= RuleRate:
		return CountLockEarlyTalk + Counter(r-RuleEarlyTalk)
	default:
		return CountLockMaxHost + Counter(r-RuleMaxHost)
	}
}

// CountDNS is the counter of questions about a client, of either of the objects of
// FindingDNS; failed tells that the room that asks did not answer.
func CountDNS(object string, did DNSOutcome, failed bool) Counter {
	c := CountDNSBLAnswered
	if object == ObjectSPF {
		c = CountSPFAnswered
	}
	switch {
	case failed:
		return c + 2
	case did == DNSSilent:
		return c + 1
	}
	return c
}

// CountUnscannedFor is the counter of what passes unseen for a cause, as FindingUnscanned
// has it. False: the decision on the message has counted it.
func CountUnscannedFor(cause string) (Counter, bool) {
	switch cause {
	case UnscannedSize:
		return CountUnscannedSize, true
	case UnscannedLoad:
		return CountUnscannedLoad, true
	case UnscannedEngine:
		return CountUnscannedEngine, true
	case UnscannedAuth:
		return CountUnscannedAuth, true
	case UnscannedExempt:
		return CountUnscannedExempt, true
	case UnscannedTLS:
		return CountUnscannedTLS, true
	}
	return 0, false
}

// CounterRow is all there is to say of a counter.
type CounterRow struct {
	Name   string // in JSON
	Help   string // a sentence
	Group  CounterGroup
	Word   string   // for people, on the group's line
	State  string   // its key in the flat state file, whose form is the old daemon's; empty: it has none there
	Metric Metric   // it is exposed as
	Labels []string // and the values of that one's labels
}

// CounterTable tells of each counter.
var CounterTable = [Counters]CounterRow{
	CountTotal:           {"total", "Connections that were accepted.", CountedSeen, "connections", "requests.total", NoMetric, nil},
	CountDirect:          {"direct", "Sessions passed on without a look, after STARTTLS as a rule.", CountedSeen, "passed on blind", "requests.direct", MetricDirect, nil},
	CountEmpty:           {"empty", "Sessions that ended without a message begun.", CountedSeen, "without mail", "requests.empty", MetricEmpty, nil},
	CountViruses:         {"viruses", "Messages in which a virus was found.", CountedFound, "viruses", "found.viruses", MetricMessages, []string{"virus"}},
	CountSpams:           {"spams", "Messages whose score reached the threshold.", CountedFound, "spam", "found.spams", MetricMessages, []string{"spam"}},
	CountNoAuth:          {"noauths", "Messages refused for want of a log-in.", CountedFound, "not authenticated", "found.noauths", MetricCommandsRefused, []string{"noauth"}},
	CountSPF:             {"spf", "Senders whose domain forbids the client.", CountedFound, "SPF", "found.spf", MetricCommandsRefused, []string{"spf"}},
	CountRegex:           {"regex", "Commands refused by a regular expression.", CountedFound, "regex", "found.regex", MetricCommandsRefused, []string{"regex"}},
	CountEarlyTalk:       {"earlytalk", "Clients that talked before the greeting.", CountedFound, "early talkers", "found.earlytalk", MetricSessionsRefused, []string{"earlytalk"}},
	CountRejectHost:      {"reject_host", "Connections refused by limits.per_host.", CountedRefused, "per host", "rejects.host", MetricSessionsRefused, []string{"host"}},
	CountRejectIdent:     {"reject_ident", "Connections refused by limits.per_ident.", CountedRefused, "per ident", "rejects.ident", MetricSessionsRefused, []string{"ident"}},
	CountRejectLogin:     {"reject_login", "Sessions ended by limits.per_login.", CountedRefused, "per login", "", MetricSessionsRefused, []string{"login"}},
	CountWouldMaxLogin:   wouldRow(RuleMaxLogin),
	CountRejectLock:      {"reject_lock", "Connections of clients that are locked.", CountedRefused, "locked", "rejects.lock", MetricSessionsRefused, []string{"lock"}},
	CountRejectDNSBL:     {"reject_dnsbl", "Connections of clients on a DNS block list.", CountedRefused, "DNS lists", "rejects.dnsbl", MetricSessionsRefused, []string{"dnsbl"}},
	CountRejectRate:      {"reject_rate", "Connections refused by a quota of connections or servers.", CountedRefused, "rate", "rejects.rate", MetricSessionsRefused, []string{"rate"}},
	CountRejectRateLimit: {"reject_ratelimit", "Sessions ended by a quota of commands the server refused.", CountedRefused, "rate of rejects", "rejects.ratelimit", MetricSessionsRefused, []string{"ratelimit"}},
	CountRejectOther:     {"reject_other", "Connections refused by any other limit.", CountedRefused, "limits", "rejects.other", MetricSessionsRefused, []string{"other"}},
	CountPipeline:        {"pipeline", "Times a client was read no further until a reply came.", CountedTrouble, "waits for replies", "errors.pipeline", MetricPipelineWaits, nil},
	CountAuthAccepted:    {"auth_accepted", "Log-ins the server accepted.", CountedLogin, "accepted", "auth.accepts", MetricLogins, []string{"accepted"}},
	CountAuthRejected:    {"auth_rejected", "Log-ins the server refused.", CountedLogin, "rejected", "auth.rejects", MetricLogins, []string{"rejected"}},
	CountBugs:            {"bugs", "Panics caught in a session.", CountedTrouble, "bugs", "children.bugs", MetricBugs, nil},
	CountMessages:        {"messages", "Messages the server has answered.", CountedSeen, "messages", "", MetricMessagesAnswered, nil},
	CountRecipients:      {"recipients", "Recipients the server accepted.", CountedSeen, "recipients", "", MetricRecipients, nil},
	CountClientBytes:     {"client_bytes", "Octets from clients.", CountedOctets, "from clients", "", MetricBytes, []string{"from_client"}},
	CountServerBytes:     {"server_bytes", "Octets from servers.", CountedOctets, "from servers", "", MetricBytes, []string{"from_server"}},
	CountUnscanned:       {"unscanned", "Messages passed without a look because scan.ignore_errors says so.", CountedTrouble, "unscanned", "", MetricUnscanned, []string{UnscannedIgnored}},
	CountScanFailed:      {"scan_failed", "Scans that came to no verdict.", CountedTrouble, "scans failed", "", NoMetric, nil},

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

	CountIPv4:          {"ipv4", "Connections over IPv4.", CountedSeen, "over IPv4", "", MetricSessions, []string{"ipv4"}},
	CountIPv6:          {"ipv6", "Connections over IPv6.", CountedSeen, "over IPv6", "", MetricSessions, []string{"ipv6"}},
	CountTLSPassed:     {"tls_passed", "Sessions that began TLS with the server, and went on unseen.", CountedTLS, "passed", "", MetricTLS, []string{"pass"}},
	CountTLSMasked:     {"tls_masked", "Sessions in which the server offered STARTTLS, and it was masked.", CountedTLS, "masked", "", MetricTLS, []string{"masked"}},
	CountTLSTerminated: {"tls_terminated", "Sessions whose TLS ended here.", CountedTLS, "terminated", "", MetricTLS, []string{"terminated"}},

	CountClean:     {"clean", "All who are to look at the message did, and found nothing.", CountedFound, "clean", "", MetricMessages, []string{"clean"}},
	CountUncleared: {"uncleared", "Nothing was found, but not all who are to look at the message did, or none is.", CountedFound, "not looked at", "", MetricMessages, []string{"unscanned"}},
	CountUndecided: {"undecided", "The message was refused for now: nothing is known of it.", CountedTrouble, "deferred", "", MetricMessages, []string{"failed"}},

	CountUnscannedSize:   unscannedRow(UnscannedSize, "Messages too large to be looked at."),
	CountUnscannedLoad:   unscannedRow(UnscannedLoad, "Messages not looked at because of the machine's load."),
	CountUnscannedEngine: unscannedRow(UnscannedEngine, "Messages passed because the spam engine failed."),
	CountUnscannedAuth:   unscannedRow(UnscannedAuth, "Messages or sessions of clients that have logged in."),
	CountUnscannedExempt: unscannedRow(UnscannedExempt, "Messages of clients that an operator exempts from the spam engine."),
	CountUnscannedTLS:    unscannedRow(UnscannedTLS, "Sessions that went on in an encryption that is not ours."),

	CountEngineScand:          engineRow(EngineOff, Failed),
	CountEngineScandTimeout:   engineRow(EngineOff, TimedOut),
	CountEngineClamd:          engineRow(EngineClamd, Failed),
	CountEngineClamdTimeout:   engineRow(EngineClamd, TimedOut),
	CountEngineMksd:           engineRow(EngineMksd, Failed),
	CountEngineMksdTimeout:    engineRow(EngineMksd, TimedOut),
	CountEngineSpamd:          engineRow(EngineSpamd, Failed),
	CountEngineSpamdTimeout:   engineRow(EngineSpamd, TimedOut),
	CountEngineBuiltin:        engineRow(EngineBuiltin, Failed),
	CountEngineBuiltinTimeout: engineRow(EngineBuiltin, TimedOut),

	CountQuotaConnections:     quotaRow(RateConnections.String(), "Connections"),
	CountQuotaMessages:        quotaRow(RateMessages.String(), "Messages"),
	CountQuotaRecipients:      quotaRow(RateRecipients.String(), "Recipients"),
	CountQuotaBytes:           quotaRow(RateBytes.String(), "Messages by their octets"),
	CountQuotaMailFromRejects: quotaRow(RateMailFromRejects.String(), "Senders the server refused"),
	CountQuotaRcptToRejects:   quotaRow(RateRcptToRejects.String(), "Recipients the server refused"),
	CountQuotaAuthRejects:     quotaRow(RateAuthRejects.String(), "Log-ins the server refused"),
	CountQuotaTLSSessions:     quotaRow(RateTLSSessions.String(), "Sessions in an encryption that is not ours"),
	CountQuotaTLSBytes:        quotaRow(RateTLSBytes.String(), "Octets of such sessions"),
	CountQuotaTLSServers:      quotaRow(RateTLSServers.String(), "Servers of such sessions"),
	CountQuotaTargets:         quotaRow("targets", "Servers"),

	CountLockByHand:    lockRow("operator", "Clients locked by hand."),
	CountLockEarlyTalk: lockRow(RuleEarlyTalk.String(), "Clients locked because they talked early."),
	CountLockDNSBL:     lockRow(RuleDNSBL.String(), "Clients locked because of a DNS block list."),
	CountLockSPF:       lockRow(RuleSPF.String(), "Clients locked because of SPF."),
	CountLockRegex:     lockRow(RuleRegex.String(), "Clients locked because of a regular expression."),
	CountLockSpam:      lockRow(RuleSpam.String(), "Clients locked because of spam."),
	CountLockVirus:     lockRow(RuleVirus.String(), "Clients locked because of a virus."),
	CountLockRate:      lockRow(RuleRate.String(), "Clients locked because of what the server refused."),
	CountLockMaxHost:   lockRow(RuleMaxHost.String(), "Clients locked because of limits.per_host."),
	CountLockMaxIdent:  lockRow(RuleMaxIdent.String(), "Clients locked because of limits.per_ident."),

	CountDNSBLAnswered: {"dns_dnsbl_answered", "All block lists answered.", CountedDNS, "dnsbl answered", "", NoMetric, nil}, // each has its own
	CountDNSBLSilent:   {"dns_dnsbl_silent", "A block list did not answer.", CountedDNS, "dnsbl silent", "", NoMetric, nil},
	CountDNSBLFailed:   dnsRow(ObjectDNSBL, "failed", "The room that asks block lists did not answer."),
	CountSPFAnswered:   dnsRow(ObjectSPF, "answered", "A name server answered about SPF."),
	CountSPFSilent:     dnsRow(ObjectSPF, "silent", "No name server answered about SPF."),
	CountSPFFailed:     dnsRow(ObjectSPF, "failed", "The room that asks for SPF did not answer."),

	CountFilesScanned: {"files_scanned", "Files that an operator had looked at.", CountedScan, "files", "", MetricFilesScanned, nil},

	CountProxyClient:     proxyRow("client", "Clients that a load balancer has named."),
	CountProxyCheck:      proxyRow("check", "Health checks of load balancers."),
	CountProxyMalformed:  proxyRow("malformed", "Connections of load balancers that were closed because they did not begin with a header, or a wrong one."),
	CountProxyLate:       proxyRow("late", "Connections of load balancers that were closed because the header did not come in time."),
	CountProxySource:     proxyRow("source", "Connections of load balancers that were closed because the client they named can be none."),
	CountProxyUnexpected: proxyRow("unexpected", "Clients that said a header, and are in no network of listen.proxy_from."),
}

// proxyRow is the row of what became of a header of the PROXY protocol.
func proxyRow(result, help string) CounterRow {
	return CounterRow{"proxy_" + result, help, CountedProxy, result, "", MetricProxy, []string{result}}
}

func unscannedRow(cause, help string) CounterRow {
	return CounterRow{"unscanned_" + cause, help, CountedUnscanned, cause, "", MetricUnscanned, []string{cause}}
}

// engineRow is the row of how an engine came to no verdict.
func engineRow(e Engine, o Outcome) CounterRow {
	name, kind, word, help := e.String(), "failed", "", " came to no verdict."
	if e == EngineOff {
		name = ObjectScand
	}
	if word = name + " failed"; o == TimedOut {
		kind, word, help = "timeout", name+" timed out", " took too long."
	}
	return CounterRow{"engine_" + name + "_" + kind, "Scans for which " + name + help, CountedEngine, word, "", MetricScanErrors, []string{name, kind}}
}

func quotaRow(counter, what string) CounterRow {
	return CounterRow{"quota_" + counter, what + " beyond the client's quota.", CountedQuota, counter, "", MetricQuotas, []string{counter}}
}

func lockRow(cause, help string) CounterRow {
	return CounterRow{"locked_" + cause, help, CountedLock, cause, "", MetricLocksMade, []string{cause}}
}

func dnsRow(object, result, help string) CounterRow {
	return CounterRow{"dns_" + object + "_" + result, help, CountedDNS, object + " " + result, "", MetricDNS, []string{object, result}}
}

// wouldRow is the row of a rule of policy.monitor.
func wouldRow(r PolicyRule) CounterRow {
	name := r.String()
	return CounterRow{"would_" + name, "What the rule " + name + " of policy.monitor would have refused.", CountedWould, name, "", MetricWould, []string{name}}
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
