package upstream

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestServers: in order, past those that have failed, for as long as is said, and never
// past all of them.
func TestServers(t *testing.T) {
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	name := func(a netip.AddrPort) string { return string("abc"[a.Port()-1]) }
	at := func(word string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.25"), uint16(strings.Index("abc", word)+1))
	}
	type step struct {
		at      time.Duration
		what    string // failed x, served x: and whether that is news; next: of a session that is new; on: of the same
		who     string
		news    bool
		passing string // those told of
		last    bool
	}
	for _, test := range []struct {
		name, servers string
		steps         []step
	}{
		{"all well", "abc", []step{
			{what: "next", who: "a"},
			{what: "served", who: "a"},
			{what: "next", who: "a"},
		}},
		{"one fails", "abc", []step{
			{what: "next", who: "a"},
			{what: "failed", who: "a", news: true},
			{what: "on", who: "b"},
			{what: "served", who: "b"},
			{what: "next", who: "b", passing: "a"},
			{at: 29 * time.Second, what: "next", who: "b", passing: "a"},
			{at: 30 * time.Second, what: "next", who: "a"},
			{at: 30 * time.Second, what: "next", who: "b", passing: "a"}, // for one session tries
			{at: 30 * time.Second, what: "failed", who: "a"},             // it still does
			{at: 59 * time.Second, what: "next", who: "b", passing: "a"},
			{at: 60 * time.Second, what: "next", who: "a"},
			{at: 60 * time.Second, what: "served", who: "a", news: true},
			{at: 60 * time.Second, what: "served", who: "a"},
			{at: 60 * time.Second, what: "next", who: "a"},
		}},
		{"all fail, and each is asked once", "abc", []step{
			{what: "next", who: "a"},
			{what: "failed", who: "a", news: true},
			{what: "on", who: "b"},
			{what: "failed", who: "b", news: true},
			{what: "on", who: "c", last: true},
			{what: "failed", who: "c", news: true},
			{what: "on"},
			{what: "next", who: "a"}, // rather than nobody
			{what: "failed", who: "a"},
			{what: "on", who: "b"},
			{what: "served", who: "b", news: true},
			{what: "next", who: "b", passing: "a"},
		}},
		{"what is left of those passed over is asked, too", "ab", []step{
			{what: "failed", who: "a", news: true},
			{what: "next", who: "b", passing: "a"},
			{what: "failed", who: "b", news: true},
			{what: "on", who: "a", last: true},
			{what: "on"},
		}},
		{"another session's success", "ab", []step{
			{what: "failed", who: "a", news: true},
			{what: "next", who: "b", passing: "a"},
			{what: "served", who: "a", news: true},
			{what: "next", who: "a"},
		}},
		{"a single one", "a", []step{
			{what: "next", who: "a", last: true},
			{what: "failed", who: "a"},
			{what: "next", who: "a", last: true},
			{what: "served", who: "a"},
			{what: "on"},
		}},
		{"a stranger", "ab", []step{
			{what: "failed", who: "c"},
			{what: "served", who: "c"},
			{what: "next", who: "a"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var list []netip.AddrPort
			for word := range strings.SplitSeq(test.servers, "") {
				list = append(list, at(word))
			}
			s := NewServers(list)
			var tried Tried
			for i, step := range test.steps {
				now := start.Add(step.at)
				switch step.what {
				case "failed":
					if got := s.Failed(at(step.who), "broken", now); got != step.news {
						t.Errorf("step %d: failed is news: %v", i, got)
					}
					continue
				case "served":
					if got := s.Served(at(step.who)); got != step.news {
						t.Errorf("step %d: served is news: %v", i, got)
					}
					continue
				case "next":
					tried = 0
				}
				passing := ""
				addr, more, ok := s.Next(&tried, now, func(a netip.AddrPort, problem string) {
					if passing += name(a); problem != "broken" {
						t.Errorf("step %d: passed over because %q", i, problem)
					}
				})
				if ok != (step.who != "") || ok && (name(addr) != step.who || more == step.last) || passing != step.passing {
					t.Errorf("step %d: %v, more %v, ok %v, past %q; want %+v", i, addr, more, ok, passing, step)
				}
			}
		})
	}
}
