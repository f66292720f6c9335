// What works but is probably not meant. This file owns the judgement of an
// experienced eye on a configuration that is right in every line and starts. It
// must never keep one out of force.

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Severity is how bad it may end.
type Severity uint8

// The severities.
const (
	Hint   Severity = iota // something has no effect, or another than it seems
	Danger                 // strangers may do harm, or mail passes or is lost that should not
)

func (s Severity) String() string { return [...]string{Hint: "hint", Danger: "danger"}[s] }

// clamdMaxFile is MaxFileSize of clamd as distributions set it up, in octets.
const clamdMaxFile = 25 << 20

// Advice is one sentence about one option: what happens, and what to write.
type Advice struct {
	Severity Severity
	Option   string // as the file calls it
	Text     string
}

func (a Advice) String() string { return named(a.Option) + a.Text }

// advisor collects.
type advisor struct {
	*Config
	all []Advice
}

func (a *advisor) hint(when bool, option, format string, args ...any) {
	a.say(Hint, when, option, format, args)
}

func (a *advisor) danger(when bool, option, format string, args ...any) {
	a.say(Danger, when, option, format, args)
}

func (a *advisor) say(s Severity, when bool, option, format string, args []any) {
	if when {
		a.all = append(a.all, Advice{s, a.Called(option), fmt.Sprintf(a.Speak(format), args...)})
	}
}

// Advise looks for what is probably not meant, dangers first. It looks at the
// Config alone, which Check should have passed.
func (c *Config) Advise() []Advice {
	a := &advisor{Config: c}
	a.reach()
	a.scanning()
	a.encryption()
	a.locking()
	a.policy()
	a.limits()
	a.permissions()
	a.ages()
	slices.SortStableFunc(a.all, func(x, y Advice) int { return int(y.Severity) - int(x.Severity) })
	return a.all
}

// public tells whether strangers can reach a listener.
func public(l netip.AddrPort) bool {
	ip := l.Addr()
	return !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
}

func (a *advisor) reach() {
	i := slices.IndexFunc(a.Listeners(), public)
	restricted := a.AuthRequire == imsg.AuthMandatory || a.EnforceRcpt != ""
	if a.Mode == imsg.ModeFixed && i >= 0 && !restricted {
		a.danger(true, "mode", "strangers who reach %s reach %s with the gateway's address, and a server that trusts it is an open relay: "+
			"use {mode} fixed+xclient or fixed+proxy, {auth_require} mandatory, a {regex_enforce_rcpt_to} for your domains, or a private {bind_address}", a.Listeners()[i], a.mailServers())
	}
	if j := slices.IndexFunc(a.SessionConfig.ProxyFrom, func(n netip.Prefix) bool { return n.Bits() == 0 }); j >= 0 {
		a.danger(true, "listen_proxy_from", "by %s anybody may say who he is, and pass for whom locks and limits spare: name your load balancers", a.SessionConfig.ProxyFrom[j])
	}
	a.hint(a.Mode == imsg.ModePf, "mode", "current releases of OpenBSD do not find what pf is asked for: there use divert-to in pf.conf, and {mode} getsockname")
	a.danger(a.BareNewline == imsg.NewlinePass, "bare_newline", "pass lets messages through that the scanner and the server read differently: write normalize or reject")
	a.danger(a.Dumps(), "limit_core_size", "what a room remembers, mail among it, can be read by processes of its user, and a dump of it lies in the room's folder: leave it out, unless a fault is looked for")
	a.danger(a.Mode == imsg.ModeRemoteUDP && a.RemoteSecret == 0, "remote_udp_secret", "without one, whoever can send as the router decides where sessions go: set the same number here and there")
}

// mailServers names those of the fixed modes.
func (a *advisor) mailServers() string {
	var all []string
	for _, s := range a.MailServers() {
		all = append(all, s.Addr().String())
	}
	return strings.Join(slices.Compact(all), " or ")
}

func (a *advisor) scanning() {
	engine := a.AntivirusType != imsg.EngineOff || a.AntispamType != imsg.EngineOff
	a.danger(!engine, "antivirus_type", "nothing is scanned: set {antivirus_type} or {antispam_type}")
	a.hint(a.AntivirusType != imsg.EngineOff && a.ScanMaxSize == 0, "scan_max_size", "0 switches the virus scan off: give the size up to which messages are scanned")
	a.hint(a.AntispamType != imsg.EngineOff && a.SpamMaxSize == 0, "spam_max_size", "0 switches the spam scan off: give the size up to which messages are scanned")
	trial := a.hint // nobody but this machine is to be protected yet
	if slices.ContainsFunc(a.Listeners(), func(l netip.AddrPort) bool { return !l.Addr().IsLoopback() }) {
		trial = a.danger
	}
	trial(a.AntivirusType == imsg.EngineBuiltin, "antivirus_type", "builtin finds the EICAR test file and no virus: write clamd")
	trial(a.AntispamType == imsg.EngineBuiltin, "antispam_type", "builtin finds the GTUBE test message and no spam: write spamassassin")
	a.hint(a.antispam() && !a.SpamRefuse, "antispam_refuse", "spam is found, logged and let through: write {yes} to refuse it")
	a.danger(a.IgnoreErrors && (a.antivirus() || a.antispam()), "ignore_errors", "while a scanner fails every message passes unscanned: write {no}, then senders try again later")

	a.danger(a.antivirus() && (a.SizeLimit == 0 || a.SizeLimit > a.ScanMaxSize), "size_limit", "messages larger than {scan_max_size} pass unscanned: write %d, or scan larger ones", a.ScanMaxSize)
	a.hint(a.antivirus() && a.SizeLimit > 0 && a.SizeLimit < a.ScanMaxSize, "size_limit", "no message as large as {scan_max_size} arrives: %d would do there", a.SizeLimit)
	a.hint(a.AntivirusType == imsg.EngineClamd && a.LargestScanned() > clamdMaxFile, "scan_max_size", "clamd calls clean what is larger than MaxFileSize in its clamd.conf, 25M as Debian has it: "+
		"see by smtp-gatectl doctor that this, MaxScanSize and StreamMaxLength are enough for %d, or write less for it and {size_limit}", a.LargestScanned())
	passed := engine && a.tlsPolicy() == imsg.TLSPass
	ours := a.TLSPolicy != imsg.TLSAuto || len(a.TLS.Rules) > 0 // these exclude forbid_starttls
	a.hint(passed && !ours, "forbid_starttls", "after STARTTLS a session cannot be scanned: write {yes} where clients may do without")
	a.hint(passed && ours, "tls_policy", "after STARTTLS a session cannot be scanned: write {tls_policy} mask where clients may do without")
	if by := a.byLogin(); by != "" {
		a.hint(true, by, "a client that logs in by NTLM, GSSAPI or another mechanism whose name cannot be read has no login, and counts by its address: leave the server no more than PLAIN, LOGIN, CRAM-MD5, SCRAM, XOAUTH2 and OAUTHBEARER")
		a.hint(a.tlsPolicy() == imsg.TLSPass, by, "after STARTTLS that is passed on no log-in is seen: end TLS here, by {tls_policy} terminate, or mask it")
		a.hint(a.MaxPerLogin > 0 && a.MaxPerLogin < 3, "max_per_login", "a mail program has several sessions at once: give 5 or more")
	}
	a.danger(engine && a.AuthSkip&imsg.SkipDirect != 0, "auth_skip", "direct leaves clients that log in unscanned, with stolen passwords too: leave it out")

	for _, f := range []struct {
		option  string
		timeout time.Duration
		until   string
	}{
		{"timeout_connect", a.TimeoutConnect, "a server that does not answer"},
		{"timeout_lookup", a.TimeoutLookup, "a router or name server that does not answer"},
		{"timeout_session", a.TimeoutSession, "a client whose session was taken over"},
		{"timeout_scanner", a.TimeoutScanner, "a virus scanner that hangs"},
		{"timeout_spam", a.TimeoutSpam, "a spam scanner that hangs"},
	} {
		a.hint(f.timeout == 0, f.option, "0 sets no limit, and %s holds a session up to an hour: give seconds", f.until)
	}
	longest := max(a.TimeoutScanner, a.TimeoutSpam)
	a.hint(longest > 3*time.Minute, "timeout_scanner", "a scan may last %v, and servers wait three minutes for the next line (RFC 5321, 4.5.3.2.5): write less for it and {timeout_spam}", longest)
	a.hint(engine && a.DrainTimeout < longest, "drain_timeout", "a stop cuts off messages whose scan may last %v: write more", longest)
	a.hint(a.SpoolLeaveOn&imsg.LeaveAlways != 0, "spool_leave_on", "always keeps a copy of mail on disk until somebody removes it: leave it out unless you look for a fault")
}

func (a *advisor) encryption() {
	t := &a.TLS
	both := a.beginsTLS()
	a.danger(a.EndsTLS() && t.MinVersion < imsg.TLS12, "tls_min_version", "TLS 1.0 and 1.1 are broken, and RFC 8996 forbids them: write 1.2, unless clients are known that have nothing newer")
	a.hint(both && t.Verify == imsg.TLSVerifyNone, "tls_verify", "none encrypts to whoever answers for the server: write pin, with {tls_pins}, or name")
	server, elsewhere := a.elsewhere()
	a.danger(a.clearBehind() && elsewhere, "tls_upstream", "never has mail go on to %s in clear, which clients have sent encrypted: leave it out, and say with {tls_verify} how that server's certificate is looked at", server)
	unshown := len(a.TLSCertificates) > 0 && !a.EndsTLS()
	switch idle := !both && t.Verify != imsg.TLSUndecided; {
	case unshown: // what shows the certificate may give it something to do
	case a.EndsTLS() && elsewhere:
		a.hint(idle, "tls_verify", "it does nothing beside {tls_upstream} never: leave that out")
	default:
		a.hint(idle, "tls_verify", "no session of ours has TLS with a server: leave it out")
	}
	switch {
	case !a.Mode.Fixed():
		a.hint(unshown, "tls.certificate", "nobody is shown it: TLS ends here in the fixed modes, and mode is %s: leave it out", a.Mode)
	case a.ForbidSTARTTLS:
		a.hint(unshown, "tls.certificate", "nobody is shown it, because {forbid_starttls} is set: leave that out, or the certificate")
	default:
		a.hint(unshown, "tls.certificate", "nobody is shown it: write {tls_policy} terminate, or leave it out")
	}
	a.hint(len(t.Pins) > 0 && t.Verify != imsg.TLSVerifyPin, "tls_pins", "nothing is held against them: write {tls_verify} pin, or leave them out")
	a.hint(a.TLSCAFile != "" && t.Verify != imsg.TLSVerifyChain && t.Verify != imsg.TLSVerifyName, "tls_ca_file", "it is not read: write {tls_verify} chain or name, or leave it out")
}

func (a *advisor) locking() {
	if a.LockDuration == 0 {
		a.hint(a.LockOn != 0, "lock_duration", "0 locks nobody, whatever {lock_on} says: give seconds, or write {lock_on} never")
		return
	}
	a.hint(a.LockDuration < 0 && a.LockOn != 0, "lock_duration", "a lock lasts until somebody removes it: give seconds if it should end")
	a.danger(a.Mode.Fixed() && a.hasty() != "", "lock_on", "in mode %s clients are mail servers: one message or connection locks all mail of such a server out and bounces it: leave out %s", a.Mode, a.hasty())
	if a.option("lock_on").untouched() {
		return // nobody chose these words
	}
	for _, w := range []struct {
		cause  imsg.LockOn
		word   string
		idle   bool
		remedy string
	}{
		{imsg.LockVirus, "virus", !a.antivirus(), "set {antivirus_type}"},
		{imsg.LockSpam, "spam", !a.antispam() || !a.SpamRefuse, "set {antispam_type}, with {antispam_refuse}"},
		{imsg.LockMaxHost, "maxhost", a.MaxPerHost == 0, "set {max_per_host}"},
		{imsg.LockMaxIdent, "maxident", a.MaxPerIdent == 0 || !a.Mode.Remote(), "it needs {max_per_ident} and a remote mode"},
		{imsg.LockDNSBL, "dnsbl", a.DNSBL == nil, "set {dnsbl}"},
		{imsg.LockSPF, "spf", a.SPF == imsg.SPFOff || a.SPFLogOnly, "set {spf}, without {spf_log_only}"},
		{imsg.LockRegex, "regex", !a.regexes(), "set a regular expression"},
		{imsg.LockEarlyTalk, "earlytalk", !a.EarlyTalk, "write {earlytalker} {yes}"},
		{imsg.LockRateLimit, "ratelimit", a.RateExpiration == 0 || a.RateMailFromRejects+a.RateRcptToRejects == 0, "set {ratelimit_expiration}, and {ratelimit_mailfrom_rejects} or {ratelimit_rcptto_rejects}"},
	} {
		a.hint(a.LockOn&w.cause != 0 && w.idle, "lock_on", "%s never happens: %s, or leave it out", w.word, a.Speak(w.remedy))
	}
}

// hasty names the causes that lock a mail server out for what somebody else did
// through it, or for a busy hour.
func (a *advisor) hasty() string {
	var words []string
	loggedIn := a.LockBy == imsg.ByLogin && a.AuthRequire == imsg.AuthMandatory // whoever sends is no mail server
	for _, w := range []struct {
		cause imsg.LockOn
		word  string
		can   bool
	}{
		{imsg.LockSpam, "spam", a.antispam() && a.SpamRefuse && !loggedIn}, {imsg.LockMaxHost, "maxhost", a.MaxPerHost > 0}, {imsg.LockDNSBL, "dnsbl", a.DNSBL != nil},
	} {
		if a.LockOn&w.cause != 0 && w.can {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}

func (c *Config) regexes() bool {
	return c.EnforceHelo+c.RejectHelo+c.EnforceMail+c.RejectMail+c.EnforceRcpt+c.RejectRcpt != ""
}

func (a *advisor) policy() {
	inside := !a.Mode.Fixed() && a.Mode != imsg.ModeNone
	a.hint(inside && a.DNSBL != nil, "dnsbl", "in mode %s clients are your own, and dial-up addresses are often listed: use it in the fixed modes, or add {auth_skip} dnsbl", a.Mode)
	a.hint(inside && a.SPF == imsg.SPFIncoming && !a.SPFLogOnly, "spf", "incoming holds your clients' inner addresses against their domains, which do not know them: write outgoing, or fixed with {spf_fixed_ip}")
	a.danger(a.Monitor.Has(imsg.RuleVirus), "policy_monitor", "viruses are found, told of, and let through: leave virus out as soon as you have seen enough")
	a.hint(a.AuthSkip&imsg.SkipRegex != 0 && a.regexes(), "auth_skip", "regex switches the regular expressions for MAIL and RCPT off for everybody, logged in or not: leave it out")
	a.hint(len(a.ListenTLS) > 0 && a.EnforceRcpt != "" && a.AuthSkip&imsg.SkipRegex == 0, "regex_enforce_rcpt_to", "it holds for clients that log in at {listen_tls}, too, who can write to nobody else: leave to the server whom it relays for, or give them a gateway of their own")
	a.hint(a.SPFLogOnly && a.SPF != imsg.SPFOff, "spf_log_only", "mail that fails SPF is logged and let through: write {no} to refuse it")

	counted := a.RateConnections+a.RateMessages+a.RateRecipients+a.RateBytes+a.RateMailFromRejects+a.RateRcptToRejects+a.RateAuthRejects+a.RateTLSSessions+a.RateTLSBytes+a.RateTLSServers > 0
	a.hint(a.RateExpiration == 0 && (counted || a.RateDstExpiration >= 0), "ratelimit_expiration", "without a period no quota counts: give its seconds")
	a.hint(a.RateExpiration > 0 && !counted && a.RateDstExpiration < 0, "ratelimit_expiration", "there is a period and no quota: set {ratelimit_messages} or another")
}

func (a *advisor) limits() {
	a.hint(a.MaxPerHost == 0, "max_per_host", "one client may take all of {max_connections}: give a number")
	a.hint(a.MaxPerHost >= a.MaxConnections, "max_per_host", "one client may take all %d of {max_connections}: give a smaller number", a.MaxConnections)
	a.hint(a.antispam() && a.SpamMaxLoad > 0 && a.SpamMaxLoad < 1, "spam_max_load", "above a load of %g spam passes unscanned: give at least the number of CPUs, or 0 to scan always", a.SpamMaxLoad)
}

// ages names what is as 1.4 has it by default, because the file is of its syntax.
func (a *advisor) ages() {
	if a.Config.inTOML {
		return
	}
	var names []string
	for _, o := range table(a.Config) {
		if o.Aged() && o.untouched() {
			names = append(names, fmt.Sprintf("%s %s (%s)", o.Name, o.DefaultIn(false), o.DefaultIn(true)))
		}
	}
	a.hint(names != nil, "", "these are as 1.4 has them by default, beside them what a new site has, which writes TOML: %s", strings.Join(names, ", "))
}

// option returns the row of an option.
func (a *advisor) option(name string) Option { return index(table(a.Config))[name] }

// untouched tells whether an option has its default.
func (o Option) untouched() bool { return o.Value() == o.Default() }

func (a *advisor) permissions() {
	var readable, writable []string
	for _, f := range []struct {
		option string
		perm   uint32
		secret bool
	}{
		{"spool_perm", a.SpoolPerm, true},
		{"lock_perm", a.LockPerm, false},
		{"statefile_perm", a.StateFilePerm, false},
		{"control_perm", a.ControlPerm, false},
	} {
		if f.perm&0o002 != 0 {
			writable = append(writable, a.Called(f.option))
		} else if f.secret && f.perm&0o004 != 0 {
			readable = append(readable, a.Called(f.option))
		}
	}
	a.danger(writable != nil, strings.Join(writable, ", "), "everybody on this machine may write there: write 0660")
	a.hint(a.ReadPerm&0o002 != 0, "control_read_perm", "everybody on this machine may see who sends and is locked out: write 0660, and name a group as {control_read_group}")
	a.danger(readable != nil, strings.Join(readable, ", "), "everybody on this machine may read the mail: write 0660")
}
