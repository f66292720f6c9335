package loop

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestWorkMissesNothing: whoever has news, and whenever, the work hears of it, and goes on
// in one goroutine at a time.
func TestWorkMissesNothing(t *testing.T) {
	for range 50 {
		w := new(Work)
		var told, heard atomic.Int32
		var going atomic.Bool
		done := make(chan struct{})
		const all = 200
		work := func() {
			defer close(done)
			for heard.Load() < all {
				if !going.CompareAndSwap(false, true) {
					t.Error("it goes on twice at once")
				}
				heard.Store(told.Load())
				if rand.IntN(4) == 0 {
					going.Store(false)
					w.Aside()
					going.Store(true)
				}
				going.Store(false)
				if heard.Load() < all {
					w.Pause()
				}
			}
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range all / 4 {
					told.Add(1)
					w.News(nil)
				}
			})
		}
		w.Start(work)
		imsgtest.Receive(t, "the end of the work", done)
		wg.Wait()
		w.News(nil) // of what has ended is heard by nobody
	}
}

// TestWorkInLoop: many wait in one loop, and what blocks in one keeps nobody waiting.
func TestWorkInLoop(t *testing.T) {
	l := newLoop(t)
	let := make(chan struct{})
	blocked := start(t, l, func(w *Work) {
		w.Aside()
		<-let
	})
	var others []*talk
	for range 20 {
		others = append(others, start(t, l, nil))
	}
	blocked.say()
	for _, o := range others {
		o.say()
		imsgtest.Receive(t, "the end of another's work", o.done)
	}
	select {
	case <-blocked.done:
		t.Error("what is blocked goes on")
	case <-time.After(10 * time.Millisecond):
	}
	close(let)
	imsgtest.Receive(t, "the end of what was blocked", blocked.done)
}

// talk is work that waits for an octet.
type talk struct {
	work *Work
	far  int
	done chan struct{}
}

func (o *talk) Happened(turn *Turn, _ News) { o.work.News(turn) }

func (o *talk) say() { unix.Write(o.far, []byte("x")) }

// start has work read an octet in l, and then do more.
func start(t *testing.T, l *Loop, more func(*Work)) *talk {
	t.Helper()
	fds := link(t)
	o := &talk{work: &Work{Poller: l}, far: fds[1], done: make(chan struct{})}
	if err := l.Add(fds[0], o, Changes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Remove(fds[0], false)
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	o.work.Start(func() {
		defer close(o.done)
		for {
			if n, _ := unix.Read(fds[0], make([]byte, 1)); n == 1 {
				break
			}
			o.work.Pause()
		}
		if more != nil {
			more(o.work)
		}
	})
	return o
}
