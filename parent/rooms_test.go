package parent

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
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

// row returns a room's row.
func row(r imsg.Room) *room {
	for i := range rooms {
		if rooms[i].Name == r {
			return &rooms[i]
		}
	}
	return nil
}
