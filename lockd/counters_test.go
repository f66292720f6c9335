package lockd

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// again opens the ledger as the next lockd would.
func again(t *testing.T, f *os.File) *counters {
	t.Helper()
	g, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	c := newCounters(slog.New(slog.DiscardHandler))
	c.open(g)
	return c
}

func TestLedgerNeverRepeatsANumber(t *testing.T) {
	f := tempFile(t)
	seen := make(map[uint64]bool)
	for range 5 { // crashes: nothing is saved at the end
		c := again(t, f)
		for range 3*numberBlock + 7 {
			n := c.number()
			if n == 0 || seen[n] || !c.given(n) {
				t.Fatalf("number %d", n)
			}
			seen[n] = true
		}
	}
}

func TestLedgerSurvivesACutWrite(t *testing.T) {
	f := tempFile(t)
	c := again(t, f)
	c.add([]uint64{imsg.CountViruses: 1}, time.Now())
	c.add([]uint64{imsg.CountViruses: 1}, time.Now())
	// The third write, over the first, is cut short.
	if _, err := f.WriteAt([]byte("torn"), int64(slot)+8); err != nil {
		t.Fatal(err)
	}
	if got := again(t, f).Counts[imsg.CountViruses]; got != 2 {
		t.Errorf("%d viruses, want 2", got)
	}
	// Both copies damaged: numbers go on where none has been.
	if _, err := f.WriteAt([]byte("torn"), 8); err != nil {
		t.Fatal(err)
	}
	c = again(t, f)
	if c.Counts[imsg.CountViruses] != 0 || c.number() <= lostNumbers {
		t.Errorf("%+v", c.entry)
	}
}
