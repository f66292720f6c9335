package lookupd

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/smtp-gated/smtp-gated/imsg"
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

func ask(t *testing.T, c *imsg.Conn, client string) *imsg.Listing {
	t.Helper()
	m, err := c.Call(&imsg.Listed{Client: netip.MustParseAddr(client)}, patience)
	if err != nil {
		t.Fatalf("ask for %s: %v", client, err)
	}
	return m.(*imsg.Listing)
}

func TestListed(t *testing.T) {
	s := serve(t, map[string]zone{
		"one.test": lists("one.test", map[string][]string{
			"1.2.0.192": {"127.0.0.2"},
			"2.2.0.192": {"127.0.0.9", "127.0.0.4"},
			"3.2.0.192": {"192.0.2.80"},
			"4.2.0.192": {"192.0.2.80", "127.0.0.3"},
			"5.2.0.192": {"127.255.255.254"},
			"6.2.0.192": {},
		}),
		"two.test": lists("two.test", map[string][]string{
			"1.2.0.192": {"127.0.0.7"},
			"7.2.0.192": {"127.1.2.3"},
			"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2": {"127.0.0.6"},
		}),
	})
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"one.test", "two.test."}, Timeout: patience}).session()
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
		{"2001:db8::1", "two.test.", "127.0.0.6", 0},
		{"2001:db8::2", "", "", 0},
	} {
		want := imsg.Listing{Zone: tt.zone, Failed: tt.failed}
		if tt.answer != "" {
			want.Answer = netip.MustParseAddr(tt.answer)
		}
		if got := ask(t, c, tt.client); *got != want {
			t.Errorf("%s: %+v, want %+v", tt.client, *got, want)
		}
	}
	if _, err := c.Call(&imsg.Listed{}, patience); err != imsg.Invalid {
		t.Errorf("no client: %v", err)
	}
}

// TestOrder: the first configured list wins though it answers last, and one that is
// behind it is not waited for.
func TestOrder(t *testing.T) {
	second := make(chan struct{})
	listed := map[string][]string{"1.2.0.192": {"127.0.0.2"}}
	s := serve(t, map[string]zone{
		"slow.test": after(second, lists("slow.test", listed)),
		"fast.test": func(q *dns.Msg) *dns.Msg {
			defer close(second)
			return lists("fast.test", listed)(q)
		},
		"never.test": silent,
	})
	c := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"slow.test", "fast.test", "never.test"}, Timeout: time.Minute,
	}).session()
	if got := ask(t, c, "192.0.2.1"); got.Zone != "slow.test" {
		t.Errorf("%+v", got)
	}
}

// TestSilentList: a list that keeps silent does not hold up the answer of another.
func TestSilentList(t *testing.T) {
	s := serve(t, map[string]zone{
		"never.test": silent,
		"fast.test":  lists("fast.test", map[string][]string{"1.2.0.192": {"127.0.0.2"}}),
	})
	c := open(t, &imsg.LookupdConfig{
		Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"never.test", "fast.test"}, Timeout: time.Minute,
	}).session()
	start := time.Now()
	if got := ask(t, c, "192.0.2.1"); got.Zone != "fast.test" || got.Failed != 1 {
		t.Errorf("%+v", got)
	}
	if d := time.Since(start); d > grace+2*time.Second { // the resolver takes 4 s to give up
		t.Errorf("waited %v", d)
	}
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
	zones := []string{"servfail.test", "refused.test", "silent.test", "other.test", "good.test"}
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: zones, Timeout: 2 * time.Second}).session()
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
		want    imsg.Listing
	}{
		{[]netip.AddrPort{dead, s.addr}, imsg.Listing{Zone: "good.test", Answer: netip.MustParseAddr("127.0.0.2")}},
		{[]netip.AddrPort{dead}, imsg.Listing{Failed: 1}},
		{nil, imsg.Listing{Failed: 1}},
	} {
		c := open(t, &imsg.LookupdConfig{Nameservers: tt.servers, Zones: []string{"good.test"}, Timeout: patience}).session()
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
	c := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{lossy.addr, good.addr}, Zones: []string{"good.test"}, Timeout: 2 * retry}).session()
	if got := ask(t, c, "192.0.2.1"); got.Zone != "good.test" {
		t.Errorf("%+v", *got)
	}
	if len(lossy.asked()) != 1 {
		t.Errorf("asked %q", lossy.asked())
	}
}

func TestNoLists(t *testing.T) {
	c := open(t, new(imsg.LookupdConfig)).session()
	if got := ask(t, c, "192.0.2.1"); *got != (imsg.Listing{}) {
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
		Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"a.test", "b.test", "c.test", "d.test"}, Timeout: patience,
	}).session()
	got := make(chan error, 250)
	for range cap(got) {
		go func() {
			_, err := c.Call(&imsg.Listed{Client: netip.MustParseAddr("192.0.2.1")}, patience)
			got <- err
		}()
	}
	for range cap(got) {
		if err := await(t, "an answer", got); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBusy(t *testing.T) {
	s := serve(t, map[string]zone{"silent.test": silent})
	h := open(t, &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"silent.test"}, Timeout: time.Minute})
	got := make(chan error, 5*250)
	for range 5 {
		c := h.session()
		for range 250 {
			go func() {
				_, err := c.Call(&imsg.Listed{Client: netip.MustParseAddr("192.0.2.1")}, time.Minute)
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
	conf := &imsg.LookupdConfig{Nameservers: []netip.AddrPort{s.addr}, Zones: []string{"good.test"}, Timeout: time.Minute}
	h := open(t, conf)
	c := h.session()
	ask(t, c, "192.0.2.1")
	h.parent.Send(&imsg.Drain{})
	ask(t, c, "192.0.2.1")
	c.Close()
	if err := await(t, "the end", h.ended); err != nil {
		t.Errorf("drained: %v", err)
	}

	conf.Zones = []string{"silent.test"}
	h = open(t, conf)
	c = h.session()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Call(&imsg.Listed{Client: netip.MustParseAddr("192.0.2.1")}, time.Minute)
		ended <- err
	}()
	h.parent.Close()
	if err := await(t, "the end", h.ended); err != nil {
		t.Errorf("parent gone: %v", err)
	}
	if err := await(t, "the call's end", ended); err != imsg.Gone {
		t.Errorf("the call: %v", err)
	}
}
