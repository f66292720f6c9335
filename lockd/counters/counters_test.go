package counters

import (
	"log/slog"
	"math"
	"os"
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
