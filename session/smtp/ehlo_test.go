package smtp

import (
	"slices"
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
		out, noted := tt.offer.Append([]byte("before"), r)
		want := tt.out
		if want == "=" {
			want = tt.in
		}
		if string(out) != "before"+want+"\r\n" || noted != tt.noted {
			t.Errorf("%q: got %q, %b, want %q, %b", tt.in, out, noted, want, tt.noted)
		}
		r.First = true
		if out, noted := tt.offer.Append(nil, r); string(out) != tt.in+"\r\n" || noted != 0 {
			t.Errorf("%q as first line: got %q, %b", tt.in, out, noted)
		}
	}
}

func TestExtensions(t *testing.T) {
	var words []string
	for _, x := range Extensions {
		words = append(words, x.Keyword)
		if len(x.Keyword) < 4 && x.Treatment != Pass {
			t.Errorf("%s has no fourth letter to mask", x.Keyword)
		}
		if x.Keyword != strings.ToUpper(x.Keyword) || x.Source == "" {
			t.Errorf("%q, %q", x.Keyword, x.Source)
		}
	}
	if !slices.IsSorted(words) || len(slices.Compact(words)) != len(Extensions) {
		t.Errorf("not sorted, or not unique: %q", words)
	}
}
