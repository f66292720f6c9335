package imsgtest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// Journal keeps what was logged: the writer of a slog handler.
type Journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

// String is all of it.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// Count is how often text is in it.
func (j *Journal) Count(text string) int { return strings.Count(j.String(), text) }

// Has expects text.
func (j *Journal) Has(t testing.TB, text string) {
	t.Helper()
	if j.Count(text) == 0 {
		t.Errorf("log does not say %q:\n%s", text, j)
	}
}

// HasNot expects text not to be there so far.
func (j *Journal) HasNot(t testing.TB, text string) {
	t.Helper()
	if j.Count(text) > 0 {
		t.Errorf("log says %q:\n%s", text, j)
	}
}
