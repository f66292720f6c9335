//go:build linux

package parent

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// dispute is a family in which one room quarrels with others.
type dispute struct {
	liar   *child
	rooms  []*child
	number int
	ended  []*child // of the honest
}

func (d *dispute) add(r imsg.Room) *child {
	d.number++
	m := &child{room: row(r), number: d.number, quarrels: make(quarrels), log: slog.New(slog.DiscardHandler)}
	d.rooms = append(d.rooms, m)
	return m
}

// until has the liar quarrel with those of its peers that it picks, again and again, until
// it is convicted, and returns how often. Who is ended in its stead is replaced.
func (d *dispute) until(pick func(imsg.Room) bool) (n int) {
	for n < 1000 {
		for _, m := range slices.Clone(d.rooms) {
			if m == d.liar || !d.liar.linked(m.Name) || !pick(m.Name) || !slices.Contains(d.rooms, m) {
				continue
			}
			n++
			a, b := d.liar, m
			if n%2 == 0 { // the word of the one is as good as that of the other
				a, b = b, a
			}
			switch v := verdict(a, b); v {
			case nil:
			case d.liar:
				return n
			default:
				d.ended = append(d.ended, v)
				d.rooms = slices.DeleteFunc(d.rooms, func(o *child) bool { return o == v })
				d.add(v.Name)
			}
		}
	}
	return n
}

func newDispute(liar imsg.Room, workers int) *dispute {
	d := new(dispute)
	for _, r := range imsg.Children() {
		n := 1
		if r == imsg.Session {
			n = workers
		}
		for range n {
			if m := d.add(r); r == liar {
				d.liar = m
			}
		}
	}
	return d
}

// TestVerdict: whatever room lies, about or to whom of its peers it likes, is ended soon;
// how many of the others it takes with it is what there is to know of it.
func TestVerdict(t *testing.T) {
	all := func(imsg.Room) bool { return true }
	for _, liar := range imsg.Children() {
		picks := map[string]func(imsg.Room) bool{"all": all}
		for _, peer := range row(liar).links {
			picks[peer.String()] = func(r imsg.Room) bool { return r == peer }
		}
		for name, pick := range picks {
			for workers := 1; workers <= 8; workers++ {
				d := newDispute(liar, workers)
				n := d.until(pick)
				lost := 0 // at most
				switch {
				case liar == imsg.Lockd:
					lost = maxOpponentsLockd - 1
				case workers == 1 && d.liar.linked(imsg.Session) || liar == imsg.Action:
					lost = 1
				}
				if n > maxOpponentsLockd*(maxFreshLinks+1) || len(d.ended) > lost {
					t.Errorf("%s against %s, %d workers: ended after %d quarrels and %d of the others, want %d", liar, name, workers, n, len(d.ended), lost)
				}
			}
		}
	}
}

// TestLockdStands: no other room can have lockd ended alone, nor can its replacement.
func TestLockdStands(t *testing.T) {
	for _, liar := range row(imsg.Lockd).links {
		d := newDispute(liar, 1)
		for range 2 {
			d.until(func(r imsg.Room) bool { return r == imsg.Lockd })
			d.rooms = slices.DeleteFunc(d.rooms, func(m *child) bool { return m == d.liar })
			d.liar = d.add(liar)
		}
		if len(d.ended) > 0 {
			t.Errorf("two of %s had %v ended", liar, d.ended)
		}
	}
}

// TestBothConvicted: one report ends one room, and an opponent is not counted twice.
func TestBothConvicted(t *testing.T) {
	d := newDispute(imsg.Scand, 3)
	workers := slices.DeleteFunc(slices.Clone(d.rooms), func(m *child) bool { return m.Name != imsg.Session })
	lookupd := d.rooms[slices.IndexFunc(d.rooms, func(m *child) bool { return m.Name == imsg.Lookupd })]
	for _, c := range []struct {
		a, b, want *child
	}{
		{d.liar, workers[0], nil},
		{workers[0], d.liar, nil},
		{lookupd, workers[1], nil},
		{workers[1], d.liar, workers[1]}, // both have their second
		{d.liar, workers[2], d.liar},
	} {
		if got := verdict(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// TestBadPeer: a room that reports others is ended for it, before any of them; so is
// lockd, after some of them.
func TestBadPeer(t *testing.T) {
	for _, room := range []imsg.Room{imsg.Session, imsg.Action, imsg.Lockd} {
		t.Run(room.String(), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "workers 1", "proxy_name accuse:"+room.String())
			h.start(true)
			const ended = "room is ended: its word stands against others' room="
			h.waitFor(fmt.Sprintf("%s%s, member=1,", ended, room), 1)
			h.waitFor(fmt.Sprintf("room will be replaced room=%s, member=1,", room), 1)
			log := h.log()
			first := log[slices.IndexFunc(log, func(line string) bool { return strings.Contains(line, ended) })]
			if room != imsg.Lockd && !strings.Contains(first, "room="+room.String()+", member=1,") {
				t.Error(first)
			}
		})
	}
}
