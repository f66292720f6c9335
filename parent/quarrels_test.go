//go:build linux

package parent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/conduct"
)

// How many others it takes to convict lockd, and how many links two get.
const (
	lockdsOpponents = 4
	freshLinks      = 4
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
	m := &child{room: row(r), number: d.number, conduct: conduct.New(name(r, d.number), row(r).rank(), row(r).lasting)}
	d.rooms = append(d.rooms, m)
	return m
}

// until has the liar quarrel with those of its peers that it picks, again and again, until
// it is convicted, and returns how often. Who is ended in its stead is replaced.
func (d *dispute) until(pick func(imsg.Room) bool) (n int) {
	now := time.Now()
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
			switch conduct.Quarrel(a.conduct, b.conduct, now) {
			case nil:
			case d.liar.conduct:
				return n
			default:
				d.ended = append(d.ended, m)
				d.rooms = slices.DeleteFunc(d.rooms, func(o *child) bool { return o == m })
				d.add(m.Name)
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
					lost = lockdsOpponents - 1
				case workers == 1 && d.liar.linked(imsg.Session) || liar == imsg.Action:
					lost = 1
				}
				if n > lockdsOpponents*freshLinks || len(d.ended) > lost {
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

// TestShortage: a room that lacks descriptors gets a fresh link each time, and convicts
// nobody; one that does not stop to ask for them is ended for that.
func TestShortage(t *testing.T) {
	for _, room := range []imsg.Room{imsg.Session, imsg.Action, imsg.Lockd} {
		t.Run(room.String(), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "workers 1", "proxy_name lack:"+room.String())
			h.start(true)
			h.waitFor(fmt.Sprintf("room will be replaced room=%s, member=1,", room), 1)
			h.waitFor(fmt.Sprintf("room says what it may not room=%s, member=1, message=BadPeer, error=too often", room), 1)
			links := 0
			for _, line := range h.log() {
				switch {
				case strings.Contains(line, "its word stands against others'"):
					t.Error(line)
				case strings.Contains(line, "it gets another room="+room.String()+", member=1,"):
					links++
				}
			}
			if most := 2 * imsg.Shortages.Burst; links < most {
				t.Errorf("%d fresh links, not %d", links, most)
			}
		})
	}
}
