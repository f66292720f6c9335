package lookupd

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v3"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// deviations are the cases of the RFC 7208 suite in which the library answers
// otherwise than the suite wants, and what it answers. The list may only shrink.
var deviations = map[string]imsg.SPFVerdict{
	// It takes a name that DNS cannot have for one that does not exist, not for
	// an error of the policy.
	"a-bad-domain":                 imsg.SPFNeutral,
	"a-bad-toplabel":               imsg.SPFNeutral,
	"a-null":                       imsg.SPFNeutral,
	"a-numeric":                    imsg.SPFNeutral,
	"a-numeric-toplabel":           imsg.SPFNeutral,
	"a-only-toplabel":              imsg.SPFNeutral,
	"a-only-toplabel-trailing-dot": imsg.SPFNeutral,
	"invalid-domain":               imsg.SPFFail,
	"mx-bad-domain":                imsg.SPFNeutral,
	"mx-bad-toplab":                imsg.SPFNeutral,
	"mx-null":                      imsg.SPFNeutral,
	"mx-numeric-top-label":         imsg.SPFNeutral,
	// It takes a slash in a name for a mask.
	"a-colon-domain":            imsg.SPFPermError,
	"a-colon-domain-ip4mapped":  imsg.SPFPermError,
	"macro-mania-in-domain":     imsg.SPFFail,
	"mx-colon-domain":           imsg.SPFPermError,
	"mx-colon-domain-ip4mapped": imsg.SPFPermError,
	// It reads a policy only as far as a match, and does not look for octets or
	// leading zeros that no policy may have.
	"bare-ip6":                imsg.SPFFail,
	"control-char-policy":     imsg.SPFFail,
	"detect-errors-anywhere":  imsg.SPFPass,
	"non-ascii-policy":        imsg.SPFFail,
	"redirect-empty-domain":   imsg.SPFNeutral,
	"redirect-is-modifier":    imsg.SPFPass,
	"redirect-syntax-error":   imsg.SPFNeutral,
	"unknown-modifier-syntax": imsg.SPFFail,
	"cidr4-032":               imsg.SPFPass,
	// It does not look at exp, and neither do we: the text refuses nobody.
	"exp-empty-domain":    imsg.SPFFail,
	"exp-only-macro-char": imsg.SPFFail,
	"exp-syntax-error":    imsg.SPFNeutral,
	"exp-twice":           imsg.SPFFail,
	// It fills in "unknown" for the client's name.
	"p-macro-multiple": imsg.SPFNeutral,
}

// oneOrMore is a list of the suite's, or a single word in its place.
type oneOrMore []string

func (o *oneOrMore) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = oneOrMore{n.Value}
		return nil
	}
	return n.Decode((*[]string)(o))
}

type suite struct {
	Description string
	Tests       map[string]struct {
		Helo, Host, MailFrom string
		Result               oneOrMore
	}
	ZoneData map[string][]yaml.Node
}

// policies is a name server of a suite's zones.
type policies struct {
	records map[string][]dns.RR // by name, lower case
	silent  map[string]bool     // names of which questions get no answer
}

// load reads zones. A record of type SPF stands for TXT too, unless the name has
// a TXT record of its own or says that it has none.
func load(t *testing.T, zones map[string][]yaml.Node) *policies {
	p := &policies{make(map[string][]dns.RR), make(map[string]bool)}
	for name, nodes := range zones {
		key := strings.ToLower(dns.Fqdn(name))
		p.records[key] = nil
		var spf []dns.RR
		text := false
		for _, n := range nodes {
			if n.Kind == yaml.ScalarNode {
				p.silent[key] = n.Value == "TIMEOUT"
				continue
			}
			var fields map[string]yaml.Node
			if err := n.Decode(&fields); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for kind, value := range fields {
				var words oneOrMore
				if err := value.Decode(&words); err != nil {
					t.Fatalf("%s %s: %v", name, kind, err)
				}
				h := dns.RR_Header{Name: key, Class: dns.ClassINET, Ttl: 60}
				switch kind {
				case "TIMEOUT":
					p.silent[key] = true
				case "A":
					h.Rrtype = dns.TypeA
					p.records[key] = append(p.records[key], &dns.A{Hdr: h, A: net.ParseIP(words[0])})
				case "AAAA":
					h.Rrtype = dns.TypeAAAA
					p.records[key] = append(p.records[key], &dns.AAAA{Hdr: h, AAAA: net.ParseIP(words[0])})
				case "MX":
					h.Rrtype = dns.TypeMX
					p.records[key] = append(p.records[key], &dns.MX{Hdr: h, Mx: dns.Fqdn(words[1])})
				case "PTR":
					h.Rrtype = dns.TypePTR
					p.records[key] = append(p.records[key], &dns.PTR{Hdr: h, Ptr: dns.Fqdn(words[0])})
				case "CNAME":
					h.Rrtype = dns.TypeCNAME
					p.records[key] = append(p.records[key], &dns.CNAME{Hdr: h, Target: dns.Fqdn(words[0])})
				case "CNAMELOOP":
					h.Rrtype = dns.TypeCNAME
					p.records[key] = append(p.records[key], &dns.CNAME{Hdr: h, Target: key})
				case "SPF", "TXT":
					text = text || kind == "TXT"
					h.Rrtype = dns.TypeTXT
					rr := &dns.TXT{Hdr: h}
					for _, w := range words {
						rr.Txt = append(rr.Txt, escape(w))
					}
					switch {
					case kind == "SPF":
						spf = append(spf, rr)
					case words[0] != "NONE":
						p.records[key] = append(p.records[key], rr)
					}
				default:
					t.Fatalf("%s: record of type %s", name, kind)
				}
			}
		}
		if !text {
			p.records[key] = append(p.records[key], spf...)
		}
	}
	return p
}

// escape writes octets as miekg/dns wants them in a TXT record.
func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

func (p *policies) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	for range 8 { // aliases
		if p.silent[name] && !slices.ContainsFunc(p.records[name], func(rr dns.RR) bool { return rr.Header().Rrtype == q.Question[0].Qtype }) {
			return nil
		}
		records, ok := p.records[name]
		if !ok {
			m.Rcode = dns.RcodeNameError
			return m
		}
		alias := ""
		for _, rr := range records {
			switch c, isAlias := rr.(*dns.CNAME); {
			case rr.Header().Rrtype == q.Question[0].Qtype:
				m.Answer = append(m.Answer, rr)
			case isAlias:
				m.Answer = append(m.Answer, rr)
				alias = strings.ToLower(c.Target)
			}
		}
		if alias == "" {
			return m
		}
		name = alias
	}
	m.Rcode = dns.RcodeServerFailure
	return m
}

// TestRFC7208 runs the suite of the SPF project against a name server that has its
// zones.
func TestRFC7208(t *testing.T) {
	f, err := os.Open("testdata/spf/rfc7208-tests.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var mu sync.Mutex
	others := make(map[string]imsg.SPFVerdict)
	cases := 0
	t.Run("suite", func(t *testing.T) {
		for d := yaml.NewDecoder(f); ; {
			var s suite
			if err := d.Decode(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			server := serve(t, map[string]zone{".": load(t, s.ZoneData).answer})
			room := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{server.addr}, Timeout: patience})
			for name, tt := range s.Tests {
				cases++
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					got := askSPF(t, room.session(), tt.Host, tt.Helo, tt.MailFrom)
					if !slices.Contains(tt.Result, got.Verdict.String()) {
						mu.Lock()
						others[name] = got.Verdict
						mu.Unlock()
						if want, known := deviations[name]; !known || got.Verdict != want {
							t.Errorf("%v, want %v; %s", got.Verdict, tt.Result, got.Problem)
						}
					}
				})
			}
		}
	})
	if cases != 203 {
		t.Errorf("%d cases, want 203", cases)
	}
	for _, name := range slices.Sorted(maps.Keys(deviations)) {
		if _, ok := others[name]; !ok {
			t.Errorf("%s is right now: take it off the list", name)
		}
	}
}

func askSPF(t *testing.T, c *link.Conn, client, helo, from string) *imsg.SPFResult {
	t.Helper()
	m, err := link.Ask(c, &imsg.SPF{Client: netip.MustParseAddr(client), Helo: helo, MailFrom: from}, patience)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestIdentity(t *testing.T) {
	for _, tt := range []struct{ helo, from, want string }{
		{"mx.example.com", "", "postmaster@mx.example.com"},
		{"mx.example.com", "user@example.com", "user@example.com"},
		{"mx.example.com", "@example.com", "postmaster@example.com"},
		{"mx.example.com", "user", "postmaster@mx.example.com"},
		{"mx.example.com", `"a@pass.example"@fail.example`, `"a_pass.example"@fail.example`},
		{"mx.example.com", "@relay.example:user@example.com", "_relay.example:user@example.com"},
		{"mx.example.com", "user@", "user@"},
		{"", "", "postmaster@"},
	} {
		if got := identity(tt.helo, tt.from); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.helo, tt.from, got, tt.want)
		}
	}
}

// txt answers questions for TXT records with those of entries, by name.
func txt(entries map[string]string) zone {
	return func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		text, ok := entries[strings.ToLower(q.Question[0].Name)]
		if !ok {
			m.Rcode = dns.RcodeNameError
		} else if q.Question[0].Qtype == dns.TypeTXT {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}})
		}
		return m
	}
}

func TestSPF(t *testing.T) {
	s := serve(t, map[string]zone{
		"pass.test":   txt(map[string]string{"pass.test.": "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"}),
		"fail.test":   txt(map[string]string{"fail.test.": "v=spf1 -all"}),
		"broken.test": rcode(dns.RcodeServerFailure),
		"loop.test":   txt(map[string]string{"loop.test.": "v=spf1 include:loop.test -all"}),
		"long.test":   txt(map[string]string{"long.test.": "v=spf1 ip4:" + strings.Repeat("x", 230) + " -all"}),
	})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Timeout: patience}).session()
	for _, tt := range []struct {
		client, helo, from string
		want               imsg.SPFVerdict
	}{
		{"192.0.2.1", "x", "a@pass.test", imsg.SPFPass},
		{"::ffff:192.0.2.1", "x", "a@pass.test", imsg.SPFPass},
		{"2001:db8::1", "x", "a@PASS.test", imsg.SPFPass},
		{"198.51.100.1", "x", "a@pass.test", imsg.SPFFail},
		{"192.0.2.1", "fail.test", "", imsg.SPFFail},
		{"192.0.2.1", "pass.test", "", imsg.SPFPass},
		{"192.0.2.1", "x", `"a@pass.test"@fail.test`, imsg.SPFFail},
		{"192.0.2.1", "x", "a@none.pass.test", imsg.SPFNone},
		{"192.0.2.1", "x", "a@[192.0.2.1]", imsg.SPFNone},
		{"192.0.2.1", "x", "a@127.0.0.1", imsg.SPFNone},
		{"192.0.2.1", "", "", imsg.SPFNone},
		{"192.0.2.1", "localhost", "", imsg.SPFNone},
		{"192.0.2.1", "x", "a@b..test", imsg.SPFNone},
		{"192.0.2.1", "x", "a@" + strings.Repeat("x.", 130) + "test", imsg.SPFNone},
		{"192.0.2.1", "x", "a@broken.test", imsg.SPFTempError},
		{"192.0.2.1", "x", "a@loop.test", imsg.SPFPermError},
		{"192.0.2.1", "x", "a@long.test", imsg.SPFPermError},
	} {
		got := askSPF(t, c, tt.client, tt.helo, tt.from)
		if got.Verdict != tt.want || len(got.Problem) > maxProblem || (got.Problem == "") != (tt.want != imsg.SPFTempError && tt.want != imsg.SPFPermError) {
			t.Errorf("%s %s <%s>: %+v, want %v", tt.client, tt.helo, tt.from, got, tt.want)
		}
	}
	if n := slices.Index(s.asked(), "127.0.0.1."); n >= 0 {
		t.Error("an address was taken for a name")
	}
	if _, err := link.Ask(c, &imsg.SPF{Helo: "x"}, patience); err != imsg.Invalid {
		t.Errorf("no client: %v", err)
	}
}

// TestSPFTime: what is not known in time is a temporary error, whatever the policy
// made of the missing answers.
func TestSPFTime(t *testing.T) {
	s := serve(t, map[string]zone{
		"slow.test": func(q *dns.Msg) *dns.Msg {
			if q.Question[0].Qtype != dns.TypeTXT {
				return nil
			}
			return txt(map[string]string{"slow.test.": "v=spf1 a:never.slow.test -all"})(q)
		},
	})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Timeout: 300 * time.Millisecond}).session()
	if got := askSPF(t, c, "192.0.2.1", "x", "a@slow.test"); got.Verdict != imsg.SPFTempError || got.Problem == "" || got.DNS != imsg.DNSAnswered {
		t.Errorf("%+v", got)
	}
	c = open(t, &imsg.LookupdConfig{Timeout: patience}).session()
	if got := askSPF(t, c, "192.0.2.1", "x", "a@slow.test"); got.Verdict != imsg.SPFTempError || got.DNS != imsg.DNSSilent {
		t.Errorf("without a name server: %+v", got)
	}
}

// TestSPFBound: no policy can make us ask without end.
func TestSPFBound(t *testing.T) {
	s := serve(t, map[string]zone{"test": txt(nil)})
	p := &spfResolver{dns: newNameservers([]netip.AddrPort{s.addr}), left: 3}
	for range 5 {
		p.LookupTXT(t.Context(), "x.test")
	}
	if n := len(s.asked()); n != 3 {
		t.Errorf("%d queries, want 3", n)
	}
	_, err := p.LookupTXT(t.Context(), "x.test")
	if _, bare := err.(*net.DNSError); !bare {
		t.Errorf("error of type %T", err)
	}
}
