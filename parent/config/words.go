// Kinds of values that are words out of a list. This file owns the lists; what
// a word does is told where it acts.

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// word is one accepted word. The old daemon took a value's number as well:
// numbers it is known to have used stand among the other spellings.
type word[T any] struct {
	name  string
	value T
	also  []string
}

func find[T any](words []word[T], name string) (word[T], bool) {
	i := slices.IndexFunc(words, func(w word[T]) bool { return w.name == name || slices.Contains(w.also, name) })
	if i < 0 {
		return word[T]{}, false
	}
	return words[i], true
}

func names[T any](words []word[T]) []string {
	var all []string
	for _, w := range words {
		all = append(all, w.name)
	}
	return all
}

// one takes exactly one of the words.
func one[T comparable](words []word[T]) kind[T] {
	of := func(v T) word[T] {
		return words[slices.IndexFunc(words, func(w word[T]) bool { return w.value == v })]
	}
	return kind[T]{
		name:    "ENUM [ONE]",
		accepts: strings.Join(names(words), " | "),
		parse: func(text string) (v T, _ string, err error) {
			// One mode has a comma in its name.
			w, ok := find(words, strings.Join(list(text), ","))
			if !ok {
				return v, "", fmt.Errorf("unknown word %s", quoted(text))
			}
			return w.value, "", nil
		},
		text: func(v T) string { return of(v).name },
	}
}

// optional is one that may be left empty. The first of the words is that.
func optional[T comparable](words []word[T]) kind[T] {
	k := one(words)
	k.accepts = strings.Join(names(words[1:]), " | ")
	return k
}

// many takes any of the words, joined by commas. The first one is the word for none of them.
func many[T ~uint8 | ~uint16 | ~uint64](words []word[T]) kind[T] {
	return kind[T]{
		name:        "ENUM [MULTI]",
		accepts:     "any of " + strings.Join(names(words), ", ") + ", joined by commas",
		acceptsTOML: "a list of any of " + strings.Join(names(words), ", "),
		multi:       true,
		parse: func(text string) (set T, _ string, err error) {
			for _, name := range list(text) {
				w, ok := find(words, name)
				if !ok {
					return 0, "", fmt.Errorf("unknown word %s", quoted(name))
				}
				set |= w.value
			}
			return set, "", nil
		},
		text: func(set T) string {
			var in []string
			for _, w := range words {
				if w.value != 0 && set&w.value == w.value {
					in = append(in, w.name)
				}
			}
			if in == nil {
				return words[0].name
			}
			return strings.Join(in, ",")
		},
	}
}

// summed is many, of which old files may give the sum of the numbers.
func summed[T ~uint8 | ~uint16](words []word[T]) kind[T] {
	k := many(words)
	var all T
	for _, w := range words {
		all |= w.value
	}
	parse := k.parse
	k.parse = func(text string) (T, string, error) {
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n <= uint64(all) {
			return T(n), "", nil
		}
		return parse(text)
	}
	return k
}

var modes = []word[imsg.Mode]{
	{name: "none", value: imsg.ModeNone},
	{name: "fixed", value: imsg.ModeFixed},
	{name: "fixed+xclient", value: imsg.ModeFixedXclient},
	{name: "fixed+proxy", value: imsg.ModeFixedProxy},
	{name: "remote", value: imsg.ModeRemote},
	{name: "remote-udp", value: imsg.ModeRemoteUDP},
	{name: "getsockname", value: imsg.ModeGetsockname},
	{name: "netfilter", value: imsg.ModeNetfilter},
	{name: "tproxy", value: imsg.ModeTproxy},
	{name: "tproxy,netfilter", value: imsg.ModeTproxyNetfilter},
	{name: "ipfw", value: imsg.ModeIpfw},
	{name: "ipfilter", value: imsg.ModeIpfilter},
	{name: "pf", value: imsg.ModePf},
}

// Human is what the state file is unless it is flat, so it is no bit here.
var stateForms = []word[imsg.StateFile]{
	{name: "human", value: 0},
	{name: "flat", value: imsg.StateFlat},
	{name: "slots", value: imsg.StateSlots},
}

var lockCauses = []word[imsg.LockOn]{
	{name: "never", value: 0},
	{name: "virus", value: imsg.LockVirus},
	{name: "spam", value: imsg.LockSpam},
	{name: "maxhost", value: imsg.LockMaxHost},
	{name: "maxident", value: imsg.LockMaxIdent},
	{name: "dnsbl", value: imsg.LockDNSBL},
	{name: "spf", value: imsg.LockSPF},
	{name: "regex", value: imsg.LockRegex},
	{name: "earlytalk", value: imsg.LockEarlyTalk, also: []string{"earlytalker"}},
	{name: "ratelimit", value: imsg.LockRateLimit},
}

const lockAll = imsg.LockVirus | imsg.LockSpam | imsg.LockMaxHost | imsg.LockMaxIdent | imsg.LockDNSBL |
	imsg.LockSPF | imsg.LockRegex | imsg.LockEarlyTalk | imsg.LockRateLimit

var leaveCauses = []word[imsg.LeaveOn]{
	{name: "never", value: 0},
	{name: "error", value: imsg.LeaveError},
	{name: "spam", value: imsg.LeaveSpam},
	{name: "virus", value: imsg.LeaveVirus},
	{name: "always", value: imsg.LeaveAlways},
}

var authNeeds = []word[imsg.AuthRequire]{
	{name: "no", value: imsg.AuthNo, also: []string{"0"}},
	{name: "ifsupported", value: imsg.AuthIfSupported, also: []string{"1"}},
	{name: "mandatory", value: imsg.AuthMandatory, also: []string{"2"}},
}

var authSkips = []word[imsg.AuthSkip]{
	{name: "none", value: 0},
	{name: "direct", value: imsg.SkipDirect},
	{name: "antivir", value: imsg.SkipAntivirus},
	{name: "antispam", value: imsg.SkipAntispam},
	{name: "dnsbl", value: imsg.SkipDNSBL},
	{name: "regex", value: imsg.SkipRegex},
}

var addressLogs = []word[imsg.LogAddress]{
	{name: "off", value: 0, also: []string{"no", "none"}},
	{name: "accepted", value: imsg.LogAccepted},
	{name: "rejected", value: imsg.LogRejected},
	{name: "base64", value: imsg.LogBase64},
}

// RFC 5424 table 2 numbers the levels; logs.Severities names them, too.
var levels = []word[int]{
	{name: "emerg", value: 0, also: []string{"0"}},
	{name: "alert", value: 1, also: []string{"1"}},
	{name: "crit", value: 2, also: []string{"2"}},
	{name: "err", value: 3, also: []string{"3"}},
	{name: "warning", value: 4, also: []string{"4"}},
	{name: "notice", value: 5, also: []string{"5"}},
	{name: "info", value: 6, also: []string{"6"}},
	{name: "debug", value: 7, also: []string{"7"}},
}

// The other spelling is the constant of syslog(3), which is the code times eight.
var facilities = []word[int]{
	{name: "user", value: 1, also: []string{"8"}},
	{name: "mail", value: 2, also: []string{"16"}},
	{name: "daemon", value: 3, also: []string{"24"}},
	{name: "auth", value: 4, also: []string{"32"}},
	{name: "news", value: 7, also: []string{"56"}},
	{name: "authpriv", value: 10, also: []string{"80"}},
	{name: "local0", value: 16, also: []string{"128"}},
	{name: "local1", value: 17, also: []string{"136"}},
	{name: "local2", value: 18, also: []string{"144"}},
	{name: "local3", value: 19, also: []string{"152"}},
	{name: "local4", value: 20, also: []string{"160"}},
	{name: "local5", value: 21, also: []string{"168"}},
	{name: "local6", value: 22, also: []string{"176"}},
	{name: "local7", value: 23, also: []string{"184"}},
}

var logForms = []word[bool]{
	{name: "legacy", value: false},
	{name: "json", value: true},
}

var natForms = []word[imsg.NatHeader]{
	{name: "none", value: imsg.NatNone, also: []string{"0"}},
	{name: "generic", value: imsg.NatGeneric, also: []string{"simple", "1"}},
	{name: "ip-only", value: imsg.NatIPOnly, also: []string{"2"}},
}

// The numbers are the old daemon's; an engine it did not know has none.
var (
	antivirusEngines = engines(imsg.RoleVirus, map[imsg.Engine]string{imsg.EngineOff: "0", imsg.EngineClamd: "1", imsg.EngineMksd: "2"})
	antispamEngines  = engines(imsg.RoleSpam, map[imsg.Engine]string{imsg.EngineOff: "0", imsg.EngineSpamd: "1"})
)

// engines lists those that may have the role, and off.
func engines(role imsg.Roles, numbers map[imsg.Engine]string) []word[imsg.Engine] {
	var words []word[imsg.Engine]
	for i := range imsg.EngineKinds {
		e := imsg.Engine(i)
		if e != imsg.EngineOff && e.Kind().Roles&role == 0 {
			continue
		}
		w := word[imsg.Engine]{name: e.Kind().Name, value: e}
		if number, ok := numbers[e]; ok {
			w.also = []string{number}
		}
		words = append(words, w)
	}
	return words
}

var methods = []word[imsg.Method]{
	{name: "auto", value: imsg.MethodAuto},
	{name: "fildes", value: imsg.MethodFildes},
	{name: "instream", value: imsg.MethodInstream},
	{name: "scan", value: imsg.MethodScan},
}

var newlines = []word[imsg.BareNewline]{
	{name: "normalize", value: imsg.NewlineNormalize},
	{name: "reject", value: imsg.NewlineReject},
	{name: "pass", value: imsg.NewlinePass},
}

var nulls = []word[bool]{
	{name: "strip", value: false},
	{name: "reject", value: true},
}

var chunkings = []word[bool]{
	{name: "scan", value: true},
	{name: "filter", value: false},
}

var tlsPolicies = []word[imsg.TLSPolicy]{
	{name: "auto", value: imsg.TLSAuto},
	{name: "pass", value: imsg.TLSPass},
	{name: "mask", value: imsg.TLSMask},
	{name: "terminate", value: imsg.TLSTerminate},
}

var tlsVersions = []word[uint16]{
	{name: "1.0", value: imsg.TLS10},
	{name: "1.2", value: imsg.TLS12},
	{name: "1.3", value: imsg.TLS13},
}

var tlsUpstreams = []word[imsg.TLSUpstream]{
	{name: "lockstep", value: imsg.TLSLockstep},
	{name: "always", value: imsg.TLSAlways},
	{name: "never", value: imsg.TLSNever},
}

var tlsVerifies = []word[imsg.TLSVerify]{
	{name: "", value: imsg.TLSUndecided},
	{name: "none", value: imsg.TLSVerifyNone},
	{name: "pin", value: imsg.TLSVerifyPin},
	{name: "chain", value: imsg.TLSVerifyChain},
	{name: "name", value: imsg.TLSVerifyName},
}

var spfs = []word[imsg.SPFAddress]{
	{name: "off", value: imsg.SPFOff, also: []string{"none", "0"}},
	{name: "incoming", value: imsg.SPFIncoming, also: []string{"1"}},
	{name: "outgoing", value: imsg.SPFOutgoing, also: []string{"2"}},
	{name: "fixed", value: imsg.SPFFixed, also: []string{"3"}},
}

var historyAddresses = []word[imsg.HistoryAddresses]{
	{name: "as-logged", value: imsg.AddressesAsLogged},
	{name: "clear", value: imsg.AddressesClear},
	{name: "hash", value: imsg.AddressesHash},
	{name: "off", value: imsg.AddressesOff},
}

var lockBys = []word[imsg.By]{
	{name: "address", value: imsg.ByAddress},
	{name: "login", value: imsg.ByLogin},
	{name: "both", value: imsg.ByBoth},
}

var rateBys = lockBys[:2]

// monitors are the rules that may be looked for without anything following.
var monitors = func() (all []word[imsg.PolicyRuleSet]) {
	all = append(all, word[imsg.PolicyRuleSet]{name: "off"})
	for r, row := range imsg.PolicyRuleTable {
		if row.Monitor {
			all = append(all, word[imsg.PolicyRuleSet]{name: row.Name, value: imsg.PolicyRuleSet(0).With(imsg.PolicyRule(r))})
		}
	}
	return all
}()
