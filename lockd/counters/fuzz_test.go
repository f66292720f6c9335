package counters

import (
	"log/slog"
	"os"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// FuzzFile: whatever the file of the counters holds, numbers go on, above all that it
// says was given out, and the next lockd reads what was written.
func FuzzFile(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 2*slot))
	whole := imsgtest.TempFile(f)
	c := New(slog.New(slog.DiscardHandler))
	c.Open(whole)
	c.Number()
	c.write()
	b, err := os.ReadFile(whole.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	// One for all: to make and remove a file takes a hundred times as long as the rest,
	// and a new find is tried a thousand times before the next.
	file := imsgtest.TempFile(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		c := New(slog.New(slog.DiscardHandler))
		c.Open(file)
		n := c.Number()
		if n == 0 || c.GivenBefore(n) {
			t.Errorf("number %d", n)
		}
		c.write()
		later := New(slog.New(slog.DiscardHandler))
		later.Open(file)
		if next := later.Number(); next <= n {
			t.Errorf("number %d behind %d", next, n)
		}
	})
}
