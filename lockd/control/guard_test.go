package control

import (
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
)

// crowd is a house with many live sessions.
type crowd struct {
	empty
	live []Session
}

func (c *crowd) LiveAfter(after uint64, n int) (page []Session) {
	for _, s := range c.live {
		if s.Number > after && len(page) < n {
			page = append(page, s)
		}
	}
	return page
}

// TestProtectedLocks: of each lock is told whether a packet filter may block it, and how
// often its client was turned away.
func TestProtectedLocks(t *testing.T) {
	config := usual()
	config.Mode, config.ClientPrefixIPv6 = imsg.ModeNetfilter, 64
	config.Protected = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1::25")}
	config.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32"), netip.MustParsePrefix("2001:db8:9::/48")}
	house := &crowd{empty: empty{config: config}}
	for i := range uint64(3 * livePage) {
		s := Session{LiveSession: imsg.LiveSession{Number: i + 1}}
		if i == 2*livePage+7 { // the others have none yet
			s.Target = netip.MustParseAddrPort("203.0.113.25:25")
		}
		house.live = append(house.live, s)
	}
	h := open(t, config, func(d *desk) { d.House = house })
	want := map[string]struct {
		bits      int
		protected bool
		refusals  uint64
	}{
		"127.0.0.7":        {32, true, 0},
		"192.0.2.1":        {32, true, 0},
		"192.0.2.2":        {32, false, 2},
		"192.0.2.9":        {32, true, 0},
		"192.0.2.10":       {32, false, 0},
		"2001:db8:9:1::":   {64, true, 0},
		"192.0.2.2-bob":    {0, false, 0},
		"198.51.100.9":     {32, true, 0},
		"203.0.113.25":     {32, true, 0},
		"2001:db8:1::":     {64, true, 0},
		"2001:db8:2::":     {64, false, 0},
		"2001:db8:3::":     {64, true, 0},
		"2001:db8:2::7":    {0, false, 0},
		"2001:db8:2:0::":   {0, false, 0}, // not the form of a name
		"::ffff:192.0.2.9": {0, false, 0},
	}
	for who, from := range map[string]imsg.Exempt{"198.51.100.9": imsg.ExemptLock, "2001:db8:3::9": imsg.ExemptLock, "192.0.2.0/30": imsg.ExemptSpam, "server=192.0.2.2": imsg.ExemptLock} {
		w, err := exemptions.Parse(who)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Exempt.Add(w, imsg.ExemptSet(0).With(from), 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	for name := range want {
		h.write(name, "")
	}
	h.Refusals.Count("192.0.2.2")
	h.Refusals.Count("192.0.2.2")
	h.Refusals.Count("192.0.2.77") // whose file is gone
	l := ask(t, h.connect(), &imsg.Locks{})
	if len(l.Locks) != len(want) {
		t.Fatalf("%d locks", len(l.Locks))
	}
	for _, e := range l.Locks {
		if w := want[e.Name]; e.Bits != w.bits || e.Protected != w.protected || e.Refusals != w.refusals {
			t.Errorf("%+v, want %+v", e, w)
		}
	}
	if h.Refusals.Of("192.0.2.77") > 0 {
		t.Error("it is counted for ever")
	}
	ask(t, h.connect(), &imsg.Unlock{Name: "192.0.2.2"})
	if h.Refusals.Of("192.0.2.2") > 0 {
		t.Error("it is counted without a lock")
	}
}
