package parent

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

var update = flag.Bool("update", false, "write the table of rooms in DESIGN.md anew")

// TestRooms: each room's row is whole, and DESIGN.md shows it. -update writes it.
func TestRooms(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "room\troot\ttalks to\tmay")
	for i := range rooms {
		r := &rooms[i]
		talksTo, may := []string{"parent"}, []string(nil)
		if len(r.comm) > 15 {
			t.Errorf("%s is called %s", r.Name, r.comm)
		}
		if r.slice == nil || !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Name == r.User }) {
			t.Errorf("%s is told nothing, or has no option %q", r.Name, r.User)
		}
		for _, l := range r.links {
			if other := row(l); other == nil || !other.linked(r.Name) {
				t.Errorf("%s knows %s, but not the other way round", r.Name, l)
			}
			talksTo = append(talksTo, l.String())
		}
		for _, m := range r.may {
			if m.why == "" {
				t.Errorf("%s may %s for no reason", r.Name, m.word)
			}
			may = append(may, m.word)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Root, strings.Join(talksTo, ", "), strings.Join(may, " "))
	}
	w.Flush()
	imsgtest.Part(t, "../DESIGN.md", "rooms", imsgtest.Block(table.String()), *update)
}

// TestOpenBSD: what OpenBSD would be asked by each room. It has run on none yet, so the
// calls themselves are looked at.
func TestOpenBSD(t *testing.T) {
	want := map[imsg.Room]string{
		imsg.Lockd:   "unveil . rwc, block, pledge stdio recvfd sendfd rpath wpath cpath flock unix",
		imsg.Action:  "",
		imsg.Keys:    "pledge stdio recvfd",
		imsg.Scand:   "unveil . rw, block, pledge stdio recvfd sendfd rpath unix inet",
		imsg.Lookupd: "unveil . r, block, pledge stdio recvfd rpath inet pf",
		imsg.Session: "unveil . rwc, block, pledge stdio recvfd sendfd rpath wpath cpath flock inet",
	}
	for i := range rooms {
		r := &rooms[i]
		var heard []string
		call := func(words ...string) error {
			heard = append(heard, strings.Join(words, " "))
			return nil
		}
		kernel := sandbox.OpenBSD{
			Unveil:      func(path, permissions string) error { return call("unveil", path, permissions) },
			UnveilBlock: func() error { return call("block") },
			Pledge:      func(promises string) error { return call("pledge", promises) },
		}
		c := config.Default()
		c.AntivirusType, c.AntispamType = imsg.EngineClamd, imsg.EngineSpamd
		c.AntispamSocket = config.Socket{Address: netip.MustParseAddrPort("127.0.0.1:783")}
		if rights := r.rights(c); len(rights.Words) > 0 {
			if err := kernel.Confine(&rights); err != nil {
				t.Error(err)
			}
		}
		if got := strings.Join(heard, ", "); got != want[r.Name] {
			t.Errorf("%s: %s, want %s", r.Name, got, want[r.Name])
		}
	}
}

// row returns a room's row.
func row(r imsg.Room) *room {
	for i := range rooms {
		if rooms[i].Name == r {
			return &rooms[i]
		}
	}
	return nil
}
