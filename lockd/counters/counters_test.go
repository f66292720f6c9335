package counters

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// again opens the file of the counters as the next lockd would.
func again(t *testing.T, f *os.File) *Counters {
	t.Helper()
	g, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	c := New(slog.New(slog.DiscardHandler))
	c.Open(g)
	return c
}

func TestNumbersAreNeverRepeated(t *testing.T) {
	f := imsgtest.TempFile(t)
	seen := make(map[uint64]bool)
	for range 5 { // crashes: nothing is saved at the end
		c := again(t, f)
		before := c.last
		for range 3*numberBlock + 7 {
			n := c.Number()
			if len(c.dirty) > 0 { // as Run does
				<-c.dirty
				c.write()
			}
			if n == 0 || seen[n] || c.GivenBefore(n) {
				t.Fatalf("number %d", n)
			}
			seen[n] = true
		}
		for n := range seen {
			if c.GivenBefore(n) != (n <= before) {
				t.Fatalf("number %d: given before is %v", n, c.GivenBefore(n))
			}
		}
	}
}

// A counter never begins anew, whatever is added.
func TestCountersDoNotOverflow(t *testing.T) {
	c := New(slog.New(slog.DiscardHandler))
	for _, n := range []uint64{math.MaxUint64 - 1, 1, 1, math.MaxUint64} {
		c.Add([]uint64{n}, time.Now())
	}
	if got := c.Entry().Counts[0]; got != math.MaxUint64 {
		t.Errorf("%d", got)
	}
}

// TestLists: what a list did is found by its name, as long as it is configured and behind
// a crash; nobody makes up another.
func TestLists(t *testing.T) {
	f := imsgtest.TempFile(t)
	c := again(t, f)
	zones := make([]string, imsg.MaxLists)
	for i := range zones {
		zones[i] = fmt.Sprintf("%d.example", i)
	}
	for _, zone := range append(zones, "made-up.example", "") {
		c.AddLists([]imsg.ListCount{{Zone: zone, Answered: 2, Silent: 1}, {Zone: zone, Silent: 4}}, zones)
	}
	c.write()
	c = again(t, f)
	for _, l := range c.Lists(zones) {
		if l.Answered != 2 || l.Silent != 5 {
			t.Errorf("%+v", l)
		}
	}
	if l := c.Lists([]string{"made-up.example"}); l[0].Answered != 0 {
		t.Errorf("%+v", l)
	}
	// One that comes takes the place of one that has gone.
	others := append(slices.Clone(zones[1:]), "new.example")
	c.AddLists([]imsg.ListCount{{Zone: "new.example", Answered: imsg.MaxReport}, {Zone: "new.example", Answered: 1}}, others)
	all := c.Lists(others)
	if last := all[len(all)-1]; last.Answered != imsg.MaxReport || all[0].Silent != 5 {
		t.Errorf("%+v", all)
	}
	if l := c.Lists(zones[:1]); l[0].Answered != 0 {
		t.Errorf("one that has gone: %+v", l)
	}
}

func TestFileSurvivesACutWrite(t *testing.T) {
	f := imsgtest.TempFile(t)
	c := again(t, f)
	for range 2 {
		c.Add([]uint64{imsg.CountViruses: 1}, time.Now())
		c.write()
	}
	tear := func(serial uint64) {
		t.Helper()
		if _, err := f.WriteAt([]byte("torn"), int64(serial%2)*int64(slot)+8); err != nil {
			t.Fatal(err)
		}
	}
	tear(c.Entry().Serial + 1) // the next write is cut short
	if got := again(t, f).Entry().Counts[imsg.CountViruses]; got != 2 {
		t.Errorf("%d viruses, want 2", got)
	}
	// Both copies damaged: numbers go on where none has been.
	tear(0)
	tear(1)
	c = again(t, f)
	if c.Entry().Counts[imsg.CountViruses] != 0 || c.Number() <= lostNumbers {
		t.Errorf("%+v", c.Entry())
	}
}

// What is asked of the counters never waits for their file; what cannot be written is
// said once.
func TestFileThatCannotBeWritten(t *testing.T) {
	f := imsgtest.TempFile(t)
	again(t, f)
	g, err := os.Open(f.Name()) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	log := new(imsgtest.Journal)
	c := New(slog.New(slog.NewTextHandler(log, nil)))
	c.Open(g)
	first := c.Number()
	for range 3 * numberBlock {
		c.Number()
	}
	c.write()
	if n := c.Number(); n != first+3*numberBlock+1 {
		t.Errorf("number %d after %d", n, first)
	}
	if log.Count("would not survive a crash") != 1 || log.Count("given again after a crash") != 1 {
		t.Error(log)
	}
}
