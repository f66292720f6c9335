package exemptions

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// shelf is a list of which the test holds the clock and the file.
type shelf struct {
	*List
	t     testing.TB
	clock time.Time
	path  string
	log   *imsgtest.Journal
	over  []string // who has run out
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{t: t, clock: time.Unix(1700000000, 0), path: filepath.Join(t.TempDir(), "exempt")}
	s.begin()
	return s
}

// begin starts another life, with the file as it is.
func (s *shelf) begin() {
	s.log = new(imsgtest.Journal)
	s.List = New(func() time.Time { return s.clock }, slog.New(slog.NewTextHandler(s.log, nil)), func(e imsg.Exemption) { s.over = append(s.over, e.Who) })
	s.hand()
}

func (s *shelf) hand() {
	s.t.Helper()
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Open(f)
}

func (s *shelf) add(who string, lasting time.Duration, from ...imsg.Exempt) error {
	s.t.Helper()
	w, err := Parse(who)
	if err != nil {
		s.t.Fatal(err)
	}
	var set imsg.ExemptSet
	for _, e := range from {
		set = set.With(e)
	}
	err = s.Add(w, set, lasting, "because")
	if err == nil {
		err = s.Keep()
	}
	return err
}

func (s *shelf) remove(who string) bool {
	s.t.Helper()
	w, err := Parse(who)
	if err != nil {
		s.t.Fatal(err)
	}
	gone := s.Remove(w)
	s.Keep()
	return gone
}

// is holds what clients are spared against what they should be: "client server" or
// "client", and names.
func (s *shelf) is(want map[string]string) {
	s.t.Helper()
	for who, from := range want {
		client, server, _ := strings.Cut(who, " ")
		a := netip.Addr{}
		if server != "" {
			a = netip.MustParseAddr(server)
		}
		if got := s.Of(netip.MustParseAddr(client), a, "").String(); got != from {
			s.t.Errorf("%s is exempt from %q, want %q", who, got, from)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7":                "192.0.2.7",
		"192.0.2.7/32":             "192.0.2.7",
		"192.0.2.7/24":             "192.0.2.0/24",
		"::ffff:192.0.2.7":         "192.0.2.7",
		"::ffff:192.0.2.7/120":     "192.0.2.0/24",
		"::ffff:0:0/96":            "0.0.0.0/0",
		"::ffff:192.0.2.7/64":      "::/64",
		"2001:DB8:0::1":            "2001:db8::1",
		"2001:db8::1/64":           "2001:db8::/64",
		"2001:db8::1/128":          "2001:db8::1",
		"fe80::1%eth0":             "fe80::1",
		"0.0.0.0/0":                "0.0.0.0/0",
		"server=192.0.2.25":        "server=192.0.2.25",
		"server=::ffff:192.0.2.25": "server=192.0.2.25",
		"server=192.0.2.25/32":     "",
		"server=":                  "",
		"login=Joe":                "login=joe",
		"login=a b":                "login=a%20b",
		"login=a%20b":              "login=a%20b",
		"login=":                   "",
		"fe80::1%eth0/64":          "",
		"192.0.2.07":               "",
		"192.0.2.7/33":             "",
		"192.0.2.7-joe":            "",
		"":                         "",
		"* ":                       "",
	} {
		w, err := Parse(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %s", text, w)
			}
			continue
		}
		if again, errAgain := Parse(w.String()); err != nil || w.String() != want || again != w || errAgain != nil {
			t.Errorf("%q is %s, %v; want %s; again %s, %v", text, w, err, want, again, errAgain)
		}
	}
	for text, wide := range map[string]bool{
		"0.0.0.0/0": true, "10.0.0.0/7": true, "10.0.0.0/8": false, "::/0": true, "2000::/18": true, "2000::/19": false,
		"::ffff:10.0.0.0/103": true, "::ffff:10.0.0.0/104": false, "server=192.0.2.25": false, "192.0.2.7": false,
	} {
		if w, err := Parse(text); err != nil || w.Wide() != wide {
			t.Errorf("%s: wide %t, %v", text, w.Wide(), err)
		}
	}
}

// FuzzParse: who is named has one form, which is read as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "192.0.2.7/24", "::ffff:1.2.3.4/100", "fe80::1%x", "server=::1", "server=", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(w.String())
		list := &imsg.ExemptionList{Exemptions: []imsg.Exemption{{Who: w.String()}}}
		if err != nil || again != w || imsg.Row(list).Check(list) != nil {
			t.Errorf("%q is %q, and that %q, %v", s, w, again, err)
		}
	})
}

// TestUnion: a client is spared what any exemption says that is for it or its server.
func TestUnion(t *testing.T) {
	s := newShelf(t)
	s.is(map[string]string{"192.0.2.7": "", "192.0.2.7 192.0.2.25": ""})
	s.add("192.0.2.7", 0, imsg.ExemptLock)
	s.add("192.0.2.0/24", 0, imsg.ExemptRate, imsg.ExemptLock)
	s.add("0.0.0.0/0", 0, imsg.ExemptSpam)
	s.add("2001:db8::/32", 0, imsg.ExemptSPF)
	s.add("2001:db8::/64", 0, imsg.ExemptDNSBL)
	s.add("server=192.0.2.25", 0, imsg.ExemptRegex, imsg.ExemptEarlyTalk, imsg.ExemptLimit)
	s.is(map[string]string{
		"192.0.2.7":                   "lock,rate,spam",
		"::ffff:192.0.2.7":            "lock,rate,spam",
		"192.0.2.8":                   "lock,rate,spam",
		"192.0.3.8":                   "spam",
		"192.0.2.25":                  "lock,rate,spam",
		"192.0.3.8 192.0.2.25":        "limit,regex,earlytalk,spam",
		"192.0.3.8 ::ffff:192.0.2.25": "limit,regex,earlytalk,spam",
		"192.0.3.8 192.0.2.7":         "spam",
		"2001:db8::1":                 "dnsbl,spf",
		"2001:db8::1%eth0":            "dnsbl,spf",
		"2001:db8:1::1":               "spf",
		"2001:db9::1":                 "",
	})
	if a := netip.MustParseAddr("192.0.2.8"); !s.Of(a, netip.Addr{}, "").Has(imsg.ExemptRate) || s.Of(a, netip.Addr{}, "").Has(imsg.ExemptSPF) {
		t.Error("one check by itself is told wrongly")
	}
	if !s.Servers(imsg.ExemptLimit) || s.Servers(imsg.ExemptLock) {
		t.Error("which checks go by servers is told wrongly")
	}
	var names []string
	for _, e := range s.About(netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.25"), "", 3) {
		names = append(names, e.Who)
	}
	if want := []string{"192.0.2.7", "192.0.2.0/24", "0.0.0.0/0"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	// The same again replaces it; and one that is removed takes nothing of the others'.
	s.add("192.0.2.1/24", 0, imsg.ExemptSPF)
	if !s.remove("192.0.2.7") || s.remove("192.0.2.7") || s.Len() != 5 {
		t.Errorf("%d are left", s.Len())
	}
	s.is(map[string]string{"192.0.2.7": "spf,spam"})
	if n := testing.AllocsPerRun(100, func() { s.Of(netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.25"), "bob") }); n > 2 {
		t.Errorf("a look allocates %v times", n)
	}
}

// TestExpiry: one counts until its moment, and is told of once.
func TestExpiry(t *testing.T) {
	s := newShelf(t)
	s.add("192.0.2.7", time.Minute, imsg.ExemptLock)
	s.add("192.0.2.8", 0, imsg.ExemptLock)
	s.clock = s.clock.Add(time.Minute - 1)
	s.is(map[string]string{"192.0.2.7": "lock"})
	s.clock = s.clock.Add(1)
	s.is(map[string]string{"192.0.2.7": "", "192.0.2.8": "lock"})
	if page, _ := s.Page("", 10); s.Len() != 1 || len(page) != 1 || len(s.About(netip.MustParseAddr("192.0.2.7"), netip.Addr{}, "", 9)) != 0 {
		t.Errorf("%d of them, %v", s.Len(), page)
	}
	s.close()
	s.begin() // it runs out while nobody is there
	s.Expire()
	s.Expire()
	if !slices.Equal(s.over, []string{"192.0.2.7"}) || s.remove("192.0.2.7") {
		t.Errorf("%q", s.over)
	}
	s.Keep()
	s.close()
	s.begin()
	s.is(map[string]string{"192.0.2.7": "", "192.0.2.8": "lock"})
	if s.Expire(); len(s.over) != 1 {
		t.Errorf("%q", s.over)
	}
}

// TestBounds: there are so many, with the longest reasons, and they are kept, in pages.
func TestBounds(t *testing.T) {
	s := newShelf(t)
	all := imsg.ExemptSet(1<<imsg.Exempts - 1)
	who := func(i int) Who {
		w, err := Parse(fmt.Sprintf("server=2001:db8:ffff:ffff:ffff:ffff:ffff:%x", 0x1000+i))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for i := range Max {
		if err := s.Add(who(i), all, time.Hour, strings.Repeat("\"", imsg.MaxExemptReason)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := s.Add(who(Max), all, 0, ""); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := s.Add(who(7), all, 0, "another"); err != nil {
		t.Errorf("the same: %v", err)
	}
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	s.close()
	s.begin()
	n, after := 0, ""
	for more := true; more; {
		var list imsg.ExemptionList
		list.Exemptions, more = s.Page(after, imsg.ExemptPage)
		if err := imsg.Row(&list).Check(&list); err != nil {
			t.Fatal(err)
		}
		n += len(list.Exemptions)
		after = list.Exemptions[len(list.Exemptions)-1].Who
	}
	if n != Max || s.Len() != Max {
		t.Errorf("%d in pages, %d in all", n, s.Len())
	}
	s.clock = s.clock.Add(time.Hour) // all but one run out
	if err := s.Add(who(Max), all, 0, ""); err != nil || s.Len() != 2 || len(s.over) != Max-1 {
		t.Errorf("%v: %d are left", err, s.Len())
	}
}
