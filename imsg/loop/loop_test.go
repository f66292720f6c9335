package loop

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// waiter is told of news, and takes its time.
type waiter struct {
	mu   sync.Mutex // until there is raw
	raw  *Raw
	slow chan struct{} // nil: it does not
	told atomic.Int32
	wary atomic.Bool
}

// open opens it; speak has it told of something.
func (w *waiter) open(t *testing.T, l *Loop) (speak func()) {
	t.Helper()
	fds := link(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if w.raw, err = OpenRaw(l, fds[0], w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return func() { unix.Write(fds[1], []byte("x")) }
}

func (w *waiter) News(turn *Turn) {
	w.mu.Lock()
	n := 0
	w.raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), make([]byte, 1)) })
	w.mu.Unlock()
	if n <= 0 {
		w.raw.Close() // an end is told for as long as it is one
		return
	}
	w.told.Add(1)
	w.wary.Store(turn.Wary())
	if w.slow != nil {
		turn.Slow(func() { <-w.slow })
	}
}

// TestStuck: somebody's slow work keeps nobody waiting for long, and is known of
// afterwards; who was stuck goes on beside the loop.
func TestStuck(t *testing.T) {
	l := newLoop(t)
	let := make(chan struct{})
	other := new(waiter)
	far := other.open(t, l)
	for n := range 3 {
		stuck := &waiter{slow: let}
		its := stuck.open(t, l)
		its()
		imsgtest.Until(t, "it is stuck", func() bool { return stuck.told.Load() > 0 })
		before := other.told.Load()
		far()
		imsgtest.Until(t, "another is told", func() bool { return other.told.Load() > before })
		if !other.wary.Load() {
			t.Errorf("%d are stuck, and nobody knows", n+1)
		}
	}
	close(let)
	before := other.told.Load()
	far()
	imsgtest.Until(t, "another is told", func() bool { return other.told.Load() > before })
}

// TestStuckInABatch: those whose news came with that of who is stuck are told of it, once.
func TestStuckInABatch(t *testing.T) {
	l := newLoop(t)
	let, hold := make(chan struct{}), make(chan struct{})
	first := &waiter{slow: hold}
	its := first.open(t, l)
	its()
	imsgtest.Until(t, "it is stuck", func() bool { return first.told.Load() > 0 })
	l.mu.Lock() // no more is told: what comes now comes at once
	var all []*waiter
	for i := range 20 {
		w := new(waiter)
		if i%3 == 0 {
			w.slow = let
		}
		l.mu.Unlock()
		far := w.open(t, l)
		l.mu.Lock()
		far()
		all = append(all, w)
	}
	l.mu.Unlock()
	close(hold)
	for i, w := range all {
		imsgtest.Until(t, "all are told", func() bool { return w.told.Load() > 0 })
		if n := w.told.Load(); n != 1 {
			t.Errorf("%d was told %d times", i, n)
		}
	}
	close(let)
}

// TestFailedAddKeepsNothing: what could not be added is not kept.
func TestFailedAddKeepsNothing(t *testing.T) {
	l := newLoop(t)
	f, err := os.CreateTemp(t.TempDir(), "") // epoll takes no file
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if l.Add(int(f.Fd()), new(talk), Changes) == nil {
		t.Skip("files can be watched")
	}
	if l.told(int(f.Fd()), Readable) != nil {
		t.Error("its owner is kept")
	}
}
