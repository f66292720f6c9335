package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// lockdWith is a daemon that has these locks.
func lockdWith(t *testing.T, all ...imsg.LockEntry) string {
	return lockdAt(t, func(r link.Request) { family.Answer(r, &imsg.LockList{Locks: all}) })
}

// TestExported: who is blocked, in each form. Times are so that a second more or less
// does not show.
func TestExported(t *testing.T) {
	const half = int64(time.Second / 2)
	now := time.Now().UnixNano()
	entry := func(name string, bits int) imsg.LockEntry {
		return imsg.LockEntry{Name: name, Bits: bits, Created: now - hour, Expires: now + 100*hour - half, Refusals: 5}
	}
	with := func(e imsg.LockEntry, change func(*imsg.LockEntry)) imsg.LockEntry {
		change(&e)
		return e
	}
	socket := lockdWith(t,
		entry("192.0.2.1", 32),
		with(entry("192.0.2.2", 32), func(e *imsg.LockEntry) { e.Expires = 0 }),
		with(entry("192.0.2.3", 32), func(e *imsg.LockEntry) { e.Expires = now - 1 }),
		with(entry("192.0.2.4", 32), func(e *imsg.LockEntry) { e.Protected = true }),
		with(entry("192.0.2.5", 32), func(e *imsg.LockEntry) { e.Saint, e.Expires = true, 0 }),
		entry("192.0.2.6", 0),
		entry("192.0.2.7-bob", 32), // whatever a daemon says
		entry("192.0.2.8", 24),
		entry("192.0.2.9", 33),
		with(entry("2001:db8:1::", 64), func(e *imsg.LockEntry) { e.Expires = now + half }),
		entry("2001:db8:2::", 32),
		with(entry("203.0.113.1", 32), func(e *imsg.LockEntry) { e.Created = now - hour/60 }),
		with(entry("203.0.113.2", 32), func(e *imsg.LockEntry) { e.Refusals = 2 }),
		entry("fe80::1", 128),
		entry("x", 128),
	)
	const pf = "192.0.2.1\n192.0.2.2\n203.0.113.1\n203.0.113.2\n2001:db8:1::/64\nfe80::1\n"
	for args, want := range map[string]string{
		"pf":                  pf,
		"plain":               pf,
		"pf --min-age 5m":     "192.0.2.1\n192.0.2.2\n203.0.113.2\n2001:db8:1::/64\nfe80::1\n",
		"pf --min-refusals 3": "192.0.2.1\n192.0.2.2\n203.0.113.1\n2001:db8:1::/64\nfe80::1\n",
		"pf --min-refusals 6": "",
		"nft:ip6/a-b.c/d_1,E": `flush set ip6 a-b.c d_1
flush set ip6 a-b.c E
add element ip6 a-b.c d_1 {
192.0.2.1 timeout 360000s,
192.0.2.2,
203.0.113.1 timeout 360000s,
203.0.113.2 timeout 360000s,
}
add element ip6 a-b.c E {
2001:db8:1::/64 timeout 1s,
fe80::1 timeout 360000s,
}
`,
		"nft:inet/t/a,b --min-refusals 6": "flush set inet t a\nflush set inet t b\n",
	} {
		code, out, errs := gatectl(append([]string{"--socket", socket, "lock", "export"}, strings.Fields(args)...)...)
		if code != exitOK || out != want {
			t.Errorf("%s: exit %d %s:\n%s", args, code, errs, out)
		}
	}
	_, out, _ := gatectl("--json", "--socket", socket, "lock", "export", "pf")
	var all []struct {
		Network string
		Expires time.Time
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 6 || all[0].Network != "192.0.2.1/32" || !all[1].Expires.IsZero() || all[4].Expires.IsZero() {
		t.Errorf("%v: %s", err, out)
	}
}

// TestExportFails: a daemon that is not there, or fails in the middle, has nothing printed
// that would empty a table.
func TestExportFails(t *testing.T) {
	pages := 0
	socket := lockdAt(t, func(r link.Request) {
		if pages++; pages > 1 {
			r.Fail(imsg.Internal)
			return
		}
		family.Answer(r, &imsg.LockList{Locks: []imsg.LockEntry{{Name: "192.0.2.1", Bits: 32}}, More: true})
	})
	for _, at := range []string{socket, socket + ".not"} {
		if code, out, errs := gatectl("--socket", at, "lock", "export", "nft:inet/t/a,b"); code != exitFailed || out != "" {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
	}
}

// TestExportOfAges: no time that a daemon could tell makes nonsense for nft.
func TestExportOfAges(t *testing.T) {
	now := time.Now()
	for expires, want := range map[int64]string{
		now.UnixNano() + 1:                  "timeout 1s,",
		now.Add(time.Second).UnixNano():     "timeout 1s,",
		now.Add(time.Second).UnixNano() + 1: "timeout 2s,",
		math.MaxInt64:                       fmt.Sprintf("timeout %ds,", (math.MaxInt64-now.UnixNano()-1)/int64(time.Second)+1),
	} {
		all := exported([]lock{{Name: "192.0.2.1", bits: 32, Expires: moment(expires)}}, now, 0, 0)
		if out := nftSets("ip t a", "ip t b", all, now); !strings.Contains(out, want) {
			t.Errorf("%d: no %q in %s", expires, want, out)
		}
	}
}
