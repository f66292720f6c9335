// What may keep a client or its mail out. This file owns the rules' names, in the one
// table that status, events, explain, the option policy.monitor and the manual follow.

package imsg

// PolicyRule is what decided against a client: a rule of the administrator's, or what
// was in the way.
type PolicyRule uint8

// The rules. Histories hold their numbers: one is only ever added at the end.
const (
	NoRule PolicyRule = iota
	RuleEarlyTalk
	RuleDNSBL
	RuleSPF
	RuleRegex
	RuleSpam
	RuleVirus
	RuleRate
	RuleMaxHost
	RuleMaxIdent
	RuleLocked
	RuleSize
	RuleAuth

	RuleConnections
	RuleLoad
	RuleLoop
	RuleMasked
	RuleProtocol
	RuleTLSHello
	RuleScanner
	RuleSpool
	RuleServer
	RuleLookup
	RuleRoom
	RuleShutdown
	RuleTimeout
	RuleServerTLS
	RuleXclient
	RuleOperator
	RuleMaxLogin

	PolicyRules // how many there are, and one
)

// PolicyRuleSet is a set of rules that policy.monitor may name.
type PolicyRuleSet uint64

// Has tells whether r is in the set.
func (s PolicyRuleSet) Has(r PolicyRule) bool { return s&(1<<r) != 0 }

// With is the set and r.
func (s PolicyRuleSet) With(r PolicyRule) PolicyRuleSet { return s | 1<<r }

// monitored are the rules that policy.monitor may name, and none.
const monitored = PolicyRuleSet(1<<(RuleAuth+1) - 1 | 1<<RuleMaxLogin)

// PolicyRuleRow is all there is to say of a rule.
type PolicyRuleRow struct {
	Name    string
	Monitor bool   // policy.monitor may name it
	Help    string // what has happened, a sentence
	Remedy  string // what to do about it, for who runs the gateway: a sentence
}

// PolicyRuleTable tells of each rule.
var PolicyRuleTable = [PolicyRules]PolicyRuleRow{
	RuleEarlyTalk: {"earlytalk", true, "The client talked before the server's greeting.", "No mail program does so; look for malware on the client, or set {earlytalker} to {no}."},
	RuleDNSBL:     {"dnsbl", true, "A DNS block list names the client's address.", "Have the address delisted by that list, or take the list out of {dnsbl}."},
	RuleSPF:       {"spf", true, "The sender's domain forbids its use from this address.", "Correct the domain's SPF record, or have the sender use its own domain's server."},
	RuleRegex:     {"regex", true, "A regular expression of the configuration refused what the client said.", "Look at the regular expressions of the configuration."},
	RuleSpam:      {"spam", true, "The message's score reached {spam_threshold}.", "Look at the message with the spam scanner; train it, or raise the threshold."},
	RuleVirus:     {"virus", true, "A virus was found in the message.", "Clean the client's machine; a false alarm is to be reported to the scanner's makers."},
	RuleRate:      {"rate", true, "A quota of the client is used up.", "smtp-gatectl rate show tells how much was used, rate reset gives it back."},
	RuleMaxHost:   {"maxhost", true, "The client has as many sessions as {max_per_host} allows.", "Raise {max_per_host}, or find out why the client opens so many."},
	RuleMaxIdent:  {"maxident", true, "The client and its ident have as many sessions as {max_per_ident} allows.", "Raise {max_per_ident}, or find out why so many are opened."},
	RuleLocked:    {"locked", true, "The client is locked out.", "When the cause is gone, smtp-gatectl lock remove lets it in again."},
	RuleSize:      {"size", true, "The message is larger than {size_limit}.", "Raise {size_limit}, or have it sent another way."},
	RuleAuth:      {"auth", true, "The client did not log in, and {auth_require} wants it.", "Have the client log in with its server."},

	RuleConnections: {"connections", false, "As many sessions were live as {max_connections} allows.", "Raise {max_connections}, or find out who has them: smtp-gatectl sessions."},
	RuleLoad:        {"load", false, "The machine's load was above {max_load}.", "Find out what loads it, or raise {max_load}."},
	RuleLoop:        {"loop", false, "The connection would have come back to the gateway.", "The firewall must not redirect the gateway's own connections."},
	RuleMasked:      {"masked", false, "The command, or its parameter, belongs to an extension that is not passed on.", "The client should not use what was not offered."},
	RuleProtocol:    {"protocol", false, "What the client or the server said is not SMTP.", "Correct the program that said it."},
	RuleTLSHello:    {"tls-hello", false, "The client began TLS where SMTP is spoken.", "Redirect ports of SMTP in clear only, and those at which TLS is passed on or ended here."},
	RuleScanner:     {"scanner", false, "A virus scanner came to no verdict.", "smtp-gatectl status says which, and why."},
	RuleSpool:       {"spool", false, "The spool could not take the message.", "smtp-gatectl status says why: look at the disk of {spool_path}."},
	RuleServer:      {"server", false, "The server could not be reached, or went away.", "Look at the server, and at the way to it."},
	RuleLookup:      {"lookup", false, "Where the client wanted to go could not be found out.", "Look at the packet filter's rules, or at the router's helper."},
	RuleRoom:        {"room", false, "A room of the gateway did not answer in time.", "smtp-gatectl status and the log say which."},
	RuleShutdown:    {"shutdown", false, "The gateway, or this part of it, was ending.", "The client comes again by itself."},
	RuleTimeout:     {"timeout", false, "The client or the server was silent for too long.", "Look at the one that was silent."},
	RuleServerTLS:   {"server-tls", false, "TLS with the server failed, or it does not offer it.", FindingTable[FindingUpstreamTLS].Remedy},
	RuleXclient:     {"xclient", false, "The server did not take what it was told of its client by XCLIENT.", FindingTable[FindingXclient].Remedy},
	RuleMaxLogin:    {"maxlogin", true, "The login has as many sessions as {max_per_login} allows.", "Raise {max_per_login}, or find out why so many are opened: its password may be stolen."},
	RuleOperator:    {"operator", false, "An operator has ended the session.", "The log says who, as an operator's order: kill."},
}

func (r PolicyRule) String() string { return PolicyRuleTable[r%PolicyRules].Name }
