package smtp

import (
	"strings"
	"testing"
)

func TestOffer(t *testing.T) {
	all := Offer{NoChunking: true, NoStartTLS: true, NoXClient: true, SizeLimit: 5000}
	tests := []struct {
		offer Offer
		in    string
		out   string // "=" means as in
		noted Cap
	}{
		{Offer{}, "250-PIPELINING", "=", CapPipelining},
		{Offer{}, "250-pipelining", "=", CapPipelining},
		{Offer{}, "250-8BITMIME", "=", 0},
		{Offer{}, "250-NEWTHING x", "=", 0},
		{Offer{}, "250 ", "=", 0},
		{Offer{}, "250", "=", 0},
		{Offer{}, "250 ENHANCEDSTATUSCODES", "=", CapEnhancedStatus},
		{Offer{}, "250-AUTH PLAIN LOGIN", "=", CapAuth},
		{Offer{}, "250-AUTH=PLAIN LOGIN", "=", 0},
		{Offer{}, "250-AUTH", "=", CapAuth},
		{Offer{}, "250-CHUNKING", "=", CapChunking},
		{Offer{}, "250-BINARYMIME", "=", CapBinaryMIME},
		{Offer{}, "250-STARTTLS", "=", CapStartTLS},
		{Offer{}, "250-XCLIENT NAME ADDR", "=", CapXClient},
		{Offer{}, "250-XEXCH50", "250-XEX*H50", 0},
		{Offer{}, "250-BURL imap", "250-BUR* imap", 0},
		{Offer{}, "250-CHECKPOINT", "250-CHE*KPOINT", 0},
		{Offer{}, "250-ATRN", "250-ATR*", 0},
		{Offer{}, "250-X-ANONYMOUSTLS", "250-X-A*ONYMOUSTLS", 0},
		{Offer{}, "250-PRDR", "250-PRD*", 0},
		{Offer{}, "250-PIPECONNECT", "250-PIP*CONNECT", 0},
		{Offer{}, "250-X_PIPE_CONNECT", "250-X_P*PE_CONNECT", 0},
		{Offer{}, "250-X-EXPS GSSAPI NTLM LOGIN", "250-X-E*PS GSSAPI NTLM LOGIN", 0},
		{Offer{}, "250-X-EXPS=LOGIN", "250-X-E*PS=LOGIN", 0},
		{Offer{}, "250-VERB", "250-VER*", 0},
		{Offer{}, "250-SIZE 1000", "=", CapSize},
		{Offer{}, "250-SIZE", "=", CapSize},
		{all, "250-CHUNKING", "250-CHU*KING", CapChunking},
		{all, "250-chunking", "250-chu*king", CapChunking},
		{all, "250 CHUNKING", "250 CHU*KING", CapChunking},
		{all, "250-  CHUNKING x", "250-  CHU*KING x", CapChunking},
		{all, "250-CHUNKINGS", "=", 0},
		{all, "250-BINARYMIME", "250-BIN*RYMIME", CapBinaryMIME},
		{all, "250-STARTTLS", "250-STA*TTLS", CapStartTLS},
		{all, "250-XCLIENT NAME ADDR", "250-XCL*ENT NAME ADDR", CapXClient},
		{all, "250-PIPELINING", "=", CapPipelining},
		{all, "250-SIZE 1000", "=", CapSize},
		{all, "250-SIZE 5000", "=", CapSize},
		{all, "250-SIZE 5001", "250-SIZE 5000", CapSize},
		{all, "250 size 99999999999999999999", "250 SIZE 5000", CapSize},
		{all, "250-SIZE", "250-SIZE 5000", CapSize},
		{all, "250-SIZE 0", "250-SIZE 5000", CapSize},
		{all, "250-SIZE x", "250-SIZE 5000", CapSize},
	}
	for _, tt := range tests {
		r, err := ParseReply([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		out, noted := tt.offer.Append([]byte("before"), &r)
		want := tt.out
		if want == "=" {
			want = tt.in
		}
		if string(out) != "before"+want+"\r\n" || noted != tt.noted {
			t.Errorf("%q: got %q, %b, want %q, %b", tt.in, out, noted, want, tt.noted)
		}
		r.First = true
		if out, noted := tt.offer.Append(nil, &r); string(out) != tt.in+"\r\n" || noted != 0 {
			t.Errorf("%q as first line: got %q, %b", tt.in, out, noted)
		}
	}
}

// TestOfferUnbound: where client and server do not share one TLS, nothing is offered that
// is bound to it.
func TestOfferUnbound(t *testing.T) {
	for _, tt := range []struct {
		in, out string // "=" means as in
		noted   Cap
	}{
		{"250-AUTH PLAIN LOGIN", "=", CapAuth},
		{"250-AUTH PLAIN SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1", "250-AUTH PLAIN SCRAM-SHA-256 SCRAM-SHA-1", CapAuth},
		{"250 auth scram-sha-1-plus login", "250 auth login", CapAuth},
		{"250- AUTH\tSCRAM-SHA-1-PLUS\tPLAIN", "250-AUTH PLAIN", CapAuth},
		{"250-AUTH=SCRAM-SHA-1-PLUS LOGIN", "250-AUTH=LOGIN", 0},
		{"250-AUTH=PLAIN LOGIN GS2-KRB5-PLUS", "250-AUTH=PLAIN LOGIN", 0},
		{"250-AUTH SCRAM-SHA-1-PLUS", "250-AUT*", 0},
		{"250-AUTH=SCRAM-SHA-1-PLUS", "250-AUT*", 0},
		{"250-AUTH", "=", CapAuth},
		{"250-AUTH -PLUS", "=", CapAuth},
		{"250-AUTHORITY SCRAM-SHA-1-PLUS", "=", 0},
		{"250-8BITMIME", "=", 0},
	} {
		r, err := ParseReply([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		want := tt.out
		if want == "=" {
			want = tt.in
		}
		o := Offer{NoBinding: true}
		if out, noted := o.Append([]byte("before"), &r); string(out) != "before"+want+"\r\n" || noted != tt.noted {
			t.Errorf("%q: got %q, %b, want %q, %b", tt.in, out, noted, want, tt.noted)
		}
		if out, _ := (&Offer{}).Append(nil, &r); string(out) != tt.in+"\r\n" {
			t.Errorf("%q: got %q where nothing is bound to us", tt.in, out)
		}
	}
}

func TestOfferSize(t *testing.T) {
	for _, tt := range []struct {
		limit, added int64
		in, out      string
	}{
		{0, 0, "SIZE 1000", "SIZE 1000"},
		{0, 90, "SIZE 1000", "SIZE 910"},
		{0, 90, "size  1000 octets", "SIZE 910"},
		{0, 90, "SIZE 91", "SIZE 1"},
		{0, 90, "SIZE 90", "SIZE 1"},
		{0, 90, "SIZE 1", "SIZE 1"},
		{0, 90, "SIZE 0", "SIZE 0"},
		{0, 90, "SIZE", "SIZE"},
		{0, 90, "SIZE x", "SIZE x"},
		{0, 90, "SIZE 9223372036854775807", "SIZE 9223372036854775717"},
		{500, 90, "SIZE 1000", "SIZE 500"}, // our own limit counts no header of ours
		{950, 90, "SIZE 1000", "SIZE 910"},
		{910, 90, "SIZE 1000", "SIZE 910"},
		{500, 90, "SIZE 0", "SIZE 500"},
		{500, 90, "SIZE", "SIZE 500"},
		{500, 90, "SIZE 50", "SIZE 1"},
	} {
		r, err := ParseReply([]byte("250-" + tt.in))
		if err != nil {
			t.Fatal(err)
		}
		out, _ := (&Offer{SizeLimit: tt.limit, Added: tt.added}).Append(nil, &r)
		if string(out) != "250-"+tt.out+"\r\n" {
			t.Errorf("%q with limit %d and %d added: got %q, want %q", tt.in, tt.limit, tt.added, out, tt.out)
		}
	}
}

// registered are the keywords of IANA's SMTP Service Extensions.
const registered = "SEND SOML SAML EXPN HELP TURN 8BITMIME SIZE VERB ONEX CHUNKING BINARYMIME CHECKPOINT DELIVERBY PIPELINING DSN ETRN " +
	"ENHANCEDSTATUSCODES STARTTLS NO-SOLICITING MTRK SUBMITTER ATRN AUTH BURL FUTURERELEASE CONPERM CONNEG UTF8SMTP SMTPUTF8 " +
	"MT-PRIORITY RRVS REQUIRETLS LIMITS"

func TestExtensions(t *testing.T) {
	words := make(map[string]bool)
	last := ""
	for _, x := range Extensions {
		if x.Keyword <= last || x.Keyword != strings.ToUpper(x.Keyword) || x.Source == "" || x.Why == "" {
			t.Errorf("after %s: %+v", last, x)
		}
		last = x.Keyword
		words[x.Keyword] = true
		if len(x.Keyword) < 4 && x.Treatment != Pass {
			t.Errorf("%s has no fourth letter to mask", x.Keyword)
		}
		if (x.Treatment == Pass || x.Treatment == Lower) && len(x.Verbs)+len(x.Params) > 0 {
			t.Errorf("%s is not masked, yet something of it would be refused", x.Keyword)
		}
	}
	for word := range strings.FieldsSeq(registered) {
		if !words[word] {
			t.Errorf("%s is registered, and not in the table", word)
		}
	}
}

// What is masked is masked however it is offered, and nothing of it is let through.
func TestMasked(t *testing.T) {
	all := Offer{NoChunking: true, NoStartTLS: true, NoXClient: true}
	for _, x := range Extensions {
		masked := x.Keyword[:3] + "*" + x.Keyword[min(4, len(x.Keyword)):]
		for _, line := range []string{"%s", "%s x y", "%s=x"} {
			for _, o := range []Offer{{}, all} {
				in, want := strings.ReplaceAll(line, "%s", x.Keyword), strings.ReplaceAll(line, "%s", x.Keyword)
				if o.masks(x.Treatment) && (x.Treatment == Mask || line != "%s=x") {
					want = strings.ReplaceAll(line, "%s", masked)
				}
				r, err := ParseReply([]byte("250-" + in))
				if err != nil {
					t.Fatal(err)
				}
				if out, _ := o.Append(nil, &r); string(out) != "250-"+want+"\r\n" {
					t.Errorf("%q: got %q, want %q", in, out, want)
				}
			}
		}
		for _, verb := range x.Verbs {
			for _, line := range []string{verb, strings.ToLower(verb) + " x", "\t " + verb + "\tx"} {
				cmd, err := ParseCommand([]byte(line))
				if err != nil || x.Treatment == Mask && cmd.Verb != Masked || x.Treatment != Mask && cmd.Verb.String() != verb {
					t.Errorf("%q: %v, %v", line, cmd.Verb, err)
				}
			}
		}
		for _, p := range x.Params {
			for _, params := range []string{p, strings.ToLower(p), "SIZE=1 " + p, p + "=x FOO", "A=b\t" + p} {
				if keyword, found := all.Refused([]byte(params)); !found && (x.Treatment == Mask || !strings.HasSuffix(params, "=x FOO")) || found && keyword != x.Keyword {
					t.Errorf("%q: %q, %v", params, keyword, found)
				}
				if _, found := (Offer{}).Refused([]byte(params)); found != (x.Treatment == Mask) {
					t.Errorf("%q, with nothing configured: %v", params, found)
				}
			}
		}
	}
	for _, params := range []string{"", "SIZE=1000 BODY=8BITMIME RET=HDRS", "PRDRX", "XPRDR=1", "A=PRDR", "BODY=7BIT"} {
		if keyword, found := all.Refused([]byte(params)); found {
			t.Errorf("%q is refused for %s", params, keyword)
		}
	}
}

// TestOfferOfOurs: STARTTLS stands in a reply once, whoever offers it, and AUTH not where a
// password would go in clear.
func TestOfferOfOurs(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"250 msa.test", "250-msa.test|250 STARTTLS"},
		{"250", "250-|250 STARTTLS"},
		{"250-msa.test|250 SIZE", "250-msa.test|250-STARTTLS|250 SIZE"},
		{"250-msa.test|250-STARTTLS|250 SIZE", "="},
		{"250-msa.test|250 starttls", "="},
		{"250-STARTTLS|250 SIZE", "250-STARTTLS|250-STARTTLS|250 SIZE"}, // the first line names the server
		{"250-msa.test|250-AUTH PLAIN|250-AUTH=PLAIN|250 SIZE", "250-msa.test|250-AUT* PLAIN|250-AUT*=PLAIN|250-STARTTLS|250 SIZE"},
	} {
		o := Offer{StartTLS: true, NoAuth: true}
		for range 2 { // what was in one reply means nothing to the next
			var out []byte
			var scan ReplyScanner
			for rest := []byte(strings.ReplaceAll(tt.in, "|", "\n") + "\n"); len(rest) > 0; {
				r, n, err := scan.Next(rest)
				if err != nil || n == 0 {
					t.Fatalf("%q: %v", tt.in, err)
				}
				var noted Cap
				if out, noted = o.Append(out, &r); noted&CapAuth != 0 {
					t.Errorf("%q offers AUTH", tt.in)
				}
				rest = rest[n:]
			}
			want := tt.out
			if want == "=" {
				want = tt.in
			}
			if got := strings.TrimSuffix(strings.ReplaceAll(string(out), "\r\n", "|"), "|"); got != want {
				t.Errorf("%q becomes %q, want %q", tt.in, got, want)
			}
		}
	}
}
