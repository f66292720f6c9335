package lookupd

import (
	"context"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

func TestListName(t *testing.T) {
	for _, tt := range []struct{ client, zone, want string }{
		// RFC 5782 sections 2.1 and 2.4.
		{"192.0.2.99", "bad.example.com", "99.2.0.192.bad.example.com."},
		{"2001:db8:1:2:3:4:567:89ab", "ugly.example.com", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com."},
		{"::ffff:192.0.2.1", "z.", "1.2.0.192.z."},
		{"fe80::1%eth0", "z", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.z."},
	} {
		if got := listName(netip.MustParseAddr(tt.client), tt.zone); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.client, got, tt.want)
		}
	}
}

// zones are lists of which every entry counts.
func zones(names ...string) (all []imsg.BlockList) {
	for _, n := range names {
		all = append(all, imsg.BlockList{Zone: n})
	}
	return all
}

func ask(t *testing.T, c *link.Conn, client string) *imsg.DNSBLResult {
	t.Helper()
	m, err := link.Ask(c, &imsg.DNSBLQuery{Client: netip.MustParseAddr(client)}, patience)
	if err != nil {
		t.Fatalf("ask for %s: %v", client, err)
	}
	return m
}

func TestListed(t *testing.T) {
	s := serve(t, map[string]zone{
		"one.test": lists("one.test", map[string][]string{
			"1.2.0.192":  {"127.0.0.2"},
			"2.2.0.192":  {"127.0.0.9", "127.0.0.4"},
			"3.2.0.192":  {"192.0.2.80"},
			"4.2.0.192":  {"192.0.2.80", "127.0.0.3"},
			"5.2.0.192":  {"127.255.255.254"},
			"6.2.0.192":  {},
			"9.2.0.192":  {"127.0.0.1"},
			"10.2.0.192": {"127.0.0.0"},
			"11.2.0.192": {"127.0.0.1", "127.255.255.255", "127.0.0.2"},
		}),
		"two.test": lists("two.test", map[string][]string{
			"1.2.0.192": {"127.0.0.7"},
			"7.2.0.192": {"127.1.2.3"},
			"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2": {"127.0.0.6"},
		}),
	})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: zones("one.test", "two.test."), Timeout: patience}).session()
	for _, tt := range []struct {
		client, zone, answer string
		failed               int
	}{
		{"192.0.2.1", "one.test", "127.0.0.2", 0},
		{"::ffff:192.0.2.1", "one.test", "127.0.0.2", 0},
		{"192.0.2.2", "one.test", "127.0.0.4", 0},
		{"192.0.2.3", "", "", 1},
		{"192.0.2.4", "one.test", "127.0.0.3", 0},
		{"192.0.2.5", "", "", 1},
		{"192.0.2.6", "", "", 0},
		{"192.0.2.7", "two.test.", "127.1.2.3", 0},
		{"192.0.2.8", "", "", 0},
		{"192.0.2.9", "", "", 1},
		{"192.0.2.10", "", "", 1},
		{"192.0.2.11", "one.test", "127.0.0.2", 0},
		{"2001:db8::1", "two.test.", "127.0.0.6", 0},
		{"2001:db8::2", "", "", 0},
	} {
		want := imsg.DNSBLResult{Zone: tt.zone, Failed: tt.failed, DNS: imsg.DNSAnswered}
		if tt.failed > 0 {
			want.DNS = imsg.DNSSilent
		}
		if tt.answer != "" {
			want.Answer = netip.MustParseAddr(tt.answer)
		}
		got := ask(t, c, tt.client)
		if n := bits.OnesCount32(got.Silent); n != tt.failed || got.Answered&got.Silent != 0 || tt.zone == "" && got.Answered|got.Silent != 0b11 {
			t.Errorf("%s: %b answered, %b did not", tt.client, got.Answered, got.Silent)
		}
		got.Answered, got.Silent = 0, 0
		if *got != want {
			t.Errorf("%s: %+v, want %+v", tt.client, *got, want)
		}
	}
	if _, err := link.Ask(c, &imsg.DNSBLQuery{}, patience); err != imsg.Invalid {
		t.Errorf("no client: %v", err)
	}
}

// TestCodes: of a list whose codes are named no other lists, and one behind it may.
func TestCodes(t *testing.T) {
	s := serve(t, map[string]zone{
		"some.test": lists("some.test", map[string][]string{
			"2.2.0.192": {"127.0.0.2"}, "3.2.0.192": {"127.0.0.3"}, "4.2.0.192": {"127.0.0.4"}, "11.2.0.192": {"127.0.0.11"},
			"12.2.0.192": {"127.0.0.12"}, "13.2.0.192": {"127.0.1.2"}, "14.2.0.192": {"127.0.0.3", "127.0.0.7", "127.0.0.12"},
		}),
		"all.test": lists("all.test", map[string][]string{"3.2.0.192": {"127.0.0.3"}}),
	})
	seven := []imsg.Octets{{First: 127, Last: 127}}
	none := []imsg.Octets{{}}
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Timeout: patience, Zones: []imsg.BlockList{
		{Zone: "some.test", Codes: [][]imsg.Octets{seven, none, none, {{First: 2, Last: 2}, {First: 4, Last: 11}}}}, {Zone: "all.test"},
	}}).session()
	for client, want := range map[string]string{
		"192.0.2.2": "some.test 127.0.0.2", "192.0.2.3": "all.test 127.0.0.3", "192.0.2.4": "some.test 127.0.0.4",
		"192.0.2.11": "some.test 127.0.0.11", "192.0.2.12": "", "192.0.2.13": "", "192.0.2.14": "some.test 127.0.0.7",
	} {
		got := ask(t, c, client)
		if said := strings.TrimSpace(got.Zone + " " + got.Answer.String()); got.Failed != 0 || got.Zone == "" && want != "" || got.Zone != "" && said != want {
			t.Errorf("%s: %+v, want %q", client, *got, want)
		}
	}
}

// TestNotAsked: what stands for another host in each network is nobody's business.
func TestNotAsked(t *testing.T) {
	s := serve(t, map[string]zone{".": lists("", nil)})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: zones("one.test"), Timeout: patience}).session()
	for _, client := range []string{
		"127.0.0.2", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "100.64.0.1", "100.127.255.255",
		"::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.0.1", "::ffff:100.100.0.1",
	} {
		if got := ask(t, c, client); *got != (imsg.DNSBLResult{}) {
			t.Errorf("%s: %+v", client, *got)
		}
	}
	if names := s.asked(); len(names) != 0 {
		t.Errorf("asked for %q", names)
	}
	others := []string{"9.255.255.255", "172.15.0.1", "172.32.0.1", "192.169.0.1", "169.253.0.1", "100.63.0.1", "100.128.0.1", "2001:db8::1", "fbff::1"}
	for _, client := range others {
		ask(t, c, client)
	}
	if names := s.asked(); len(names) != len(others) {
		t.Errorf("asked for %q", names)
	}
}

// TestStray: what a list answers in place of entries is said as what it is, and
// not for each client anew.
func TestStray(t *testing.T) {
	stray := func(origin, answer string) zone {
		return lists(origin, map[string][]string{"1.2.0.192": {answer}, "2.2.0.192": {answer}})
	}
	s := serve(t, map[string]zone{
		"white.test": stray("white.test", "127.0.0.1"), "refuses.test": stray("refuses.test", "127.255.255.254"),
		"parked.test": stray("parked.test", "192.0.2.80"), "broken.test": rcode(dns.RcodeServerFailure),
	})
	h := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: zones("white.test", "refuses.test", "parked.test", "broken.test"), Timeout: patience,
	})
	c := h.session()
	ask(t, c, "192.0.2.1")
	ask(t, c, "192.0.2.2")
	log := h.Logs("DNSBL query failed domain=broken.test, client=192.0.2.2")
	for _, words := range []string{
		"domain=white.test, answer=127.0.0.1, reason=what white lists answer",
		"domain=refuses.test, answer=127.255.255.254, reason=the list refuses",
		"domain=parked.test, answer=192.0.2.80, reason=outside 127.0.0.0/8",
	} {
		if n := strings.Count(log, words); n != 1 {
			t.Errorf("%q is said %d times:\n%s", words, n, log)
		}
	}
}

// TestWhoWasAsked: what is said of a question that failed names the servers that
// were asked, be it about a list or a policy.
func TestWhoWasAsked(t *testing.T) {
	s := serve(t, map[string]zone{"broken.test": rcode(dns.RcodeServerFailure)})
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	h := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{dead, s.addr}, Zones: zones("broken.test"), Timeout: patience})
	c := h.session()
	ask(t, c, "192.0.2.1")
	on := "broken.test. on " + dead.String() + " and " + s.addr.String() + ": "
	h.Logs("DNSBL query failed domain=broken.test, client=192.0.2.1, error=lookup 1.2.0.192." + on)
	if got := askSPF(t, c, "192.0.2.1", "x", "a@broken.test"); !strings.Contains(got.Problem, "lookup broken.test on "+dead.String()+" and "+s.addr.String()+": ") {
		t.Errorf("problem %q", got.Problem)
	}

	// Nor is that lost when the time for the question is over.
	ctx, cancel := context.WithCancel(t.Context())
	late := serve(t, map[string]zone{"late.test": func(*dns.Msg) *dns.Msg {
		cancel()
		return nil
	}})
	checker := spfChecker{newNameservers([]netip.AddrPort{late.addr})}
	got := checker.check(ctx, &imsg.SPF{Client: netip.MustParseAddr("192.0.2.1"), Helo: "x", MailFrom: "a@late.test"})
	if got.Verdict != imsg.SPFTempError || !strings.Contains(got.Problem, "lookup late.test on "+late.addr.String()+": ") {
		t.Errorf("%+v", got)
	}
}

// TestOrder: the first configured list wins though it answers last, and one that is
// behind it is not waited for. It must not be slower by more than grace, so on a
// busy machine it may need several questions.
func TestOrder(t *testing.T) {
	second := make(chan struct{})
	told := sync.OnceFunc(func() { close(second) })
	listed := map[string][]string{"1.2.0.192": {"127.0.0.2"}}
	s := serve(t, map[string]zone{
		"slow.test": after(second, lists("slow.test", listed)),
		"fast.test": func(q *dns.Msg) *dns.Msg {
			defer told()
			return lists("fast.test", listed)(q)
		},
		"never.test": silent,
	})
	c := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: zones("slow.test", "fast.test", "never.test"), Timeout: time.Minute,
	}).session()
	imsgtest.Until(t, "slow.test wins", func() bool { return ask(t, c, "192.0.2.1").Zone == "slow.test" })
}

// TestSilentList: a list that keeps silent does not hold up the answer of another.
// If it did, no question would be answered before the resolver gives up, after 4 s.
func TestSilentList(t *testing.T) {
	s := serve(t, map[string]zone{
		"never.test": silent,
		"fast.test":  lists("fast.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}}),
	})
	c := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: zones("never.test", "fast.test"), Timeout: time.Minute,
	}).session()
	imsgtest.Until(t, "one is answered soon", func() bool {
		start := time.Now()
		if got := ask(t, c, "192.0.2.1"); got.Zone != "fast.test" || got.Failed != 1 {
			t.Errorf("%+v", got)
		}
		return time.Since(start) < 2*retry
	})
}

// TestErrors: what a list does wrong never lists a client, and hides no other list.
func TestErrors(t *testing.T) {
	s := serve(t, map[string]zone{
		"servfail.test": rcode(dns.RcodeServerFailure),
		"refused.test":  rcode(dns.RcodeRefused),
		"silent.test":   silent,
		"good.test":     lists("good.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}}),
		"other.test": func(q *dns.Msg) *dns.Msg { // answers what was not asked
			m := lists("other.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}})(q)
			m.Question[0].Name = "x.other.test."
			return m
		},
	})
	all := zones("servfail.test", "refused.test", "silent.test", "other.test", "good.test")
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: all, Timeout: patience}).session()
	if got := ask(t, c, "192.0.2.1"); got.Zone != "good.test" || got.Failed != 4 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, c, "192.0.2.2"); got.Zone != "" || got.Failed != 4 {
		t.Errorf("%+v", got)
	}
}

// TestServers: a dead name server is followed by the next; without any, nothing is
// asked elsewhere and nobody is listed.
func TestServers(t *testing.T) {
	s := serve(t, map[string]zone{"good.test": lists("good.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}})})
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	for _, tt := range []struct {
		servers []netip.AddrPort
		want    imsg.DNSBLResult
	}{
		{[]netip.AddrPort{dead, s.addr}, imsg.DNSBLResult{Zone: "good.test", Answer: netip.MustParseAddr("127.0.0.2"), DNS: imsg.DNSAnswered, Answered: 1}},
		{[]netip.AddrPort{dead}, imsg.DNSBLResult{Failed: 1, DNS: imsg.DNSSilent, Silent: 1}},
		{nil, imsg.DNSBLResult{Failed: 1, DNS: imsg.DNSSilent, Silent: 1}},
	} {
		c := open(t, &imsg.LookupdConfig{Nameservers: tt.servers, Zones: zones("good.test"), Timeout: patience}).session()
		if got := ask(t, c, "192.0.2.1"); *got != tt.want {
			t.Errorf("%v: %+v", tt.servers, *got)
		}
	}
	if names := s.asked(); slices.ContainsFunc(names, func(n string) bool { return n != "1.2.0.192.good.test." }) {
		t.Errorf("asked for %q", names)
	}
}

// TestLostDatagram: a query that gets no answer is sent again, soon, elsewhere.
func TestLostDatagram(t *testing.T) {
	lossy := serve(t, map[string]zone{"good.test": silent})
	good := serve(t, map[string]zone{"good.test": lists("good.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}})})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{lossy.addr, good.addr}, Zones: zones("good.test"), Timeout: patience}).session()
	if got := ask(t, c, "192.0.2.1"); got.Zone != "good.test" {
		t.Errorf("%+v", *got)
	}
	if len(lossy.asked()) != 1 {
		t.Errorf("asked %q", lossy.asked())
	}
}

func TestNoLists(t *testing.T) {
	c := open(t, new(imsg.LookupdConfig)).session()
	if got := ask(t, c, "192.0.2.1"); *got != (imsg.DNSBLResult{}) {
		t.Errorf("%+v", got)
	}
}

// TestMany: more questions at once than queries may be on their way.
func TestMany(t *testing.T) {
	s := serve(t, map[string]zone{
		"a.test": lists("a.test", nil), "b.test": lists("b.test", nil), "c.test": lists("c.test", nil),
		"d.test": lists("d.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}}),
	})
	c := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: zones("a.test", "b.test", "c.test", "d.test"), Timeout: patience,
	}).session()
	got := make(chan error, 250)
	for range cap(got) {
		go func() {
			_, err := link.Ask(c, &imsg.DNSBLQuery{Client: netip.MustParseAddr("192.0.2.1")}, patience)
			got <- err
		}()
	}
	for range cap(got) {
		if err := await(t, "an answer", got); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBusy asks more than is worked on at once, of a router that never answers: a
// resolver would give up before all is asked.
func TestBusy(t *testing.T) {
	port := routerUDP(t, "127.0.0.1", func(int, []byte, func([]byte)) {})
	h := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 1, RemoteSecret: secret, Timeout: time.Minute})
	got := make(chan error, 5*250)
	for range 5 {
		c := h.session()
		for range 250 {
			go func() {
				_, err := link.Ask(c, ends("127.0.0.1"), patience)
				got <- err
			}()
		}
	}
	for range 5*250 - maxHeld {
		if err := await(t, "a refusal", got); err != imsg.Busy {
			t.Fatal(err)
		}
	}
}

// TestEnds: a session's end ends its questions; a draining room ends with the last
// session, any room with its parent.
func TestEnds(t *testing.T) {
	s := serve(t, map[string]zone{"silent.test": silent, "good.test": lists("good.test", nil)})
	conf := &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: zones("good.test"), Timeout: time.Minute}
	h := open(t, conf)
	c := h.session()
	ask(t, c, "192.0.2.1")
	h.Parent.Send(&imsg.Drain{})
	ask(t, c, "192.0.2.1")
	c.Close()
	if err := await(t, "the end", h.Ended); err != nil {
		t.Errorf("drained: %v", err)
	}

	conf.Zones = zones("silent.test")
	h = open(t, conf)
	c = h.session()
	ended := make(chan error, 1)
	go func() {
		_, err := link.Ask(c, &imsg.DNSBLQuery{Client: netip.MustParseAddr("192.0.2.1")}, time.Minute)
		ended <- err
	}()
	h.Parent.Close()
	if err := await(t, "the end", h.Ended); err != nil {
		t.Errorf("parent gone: %v", err)
	}
	if err := await(t, "the call's end", ended); err != imsg.Gone {
		t.Errorf("the call: %v", err)
	}
}
