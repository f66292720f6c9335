package loop

import (
	"iter"
	"sync"
)

// Work waits for news now and then, and keeps no thread waiting with it: whoever has the
// news goes on with the work, up to where it waits next. In a loop it is slow work (Slow).
// It is an Owner.
type Work struct {
	Poller Poller // what it waits for is in this one

	goOn  func() (struct{}, bool)
	yield func(struct{}) bool
	aside bool // it wants a goroutine to go on in

	mu     sync.Mutex
	news   bool // since it went on
	paused bool
}

// Start begins f, and returns when it waits or has ended. A panic of f is the panic of
// whoever goes on with it.
func (w *Work) Start(f func()) {
	w.goOn, _ = iter.Pull(func(yield func(struct{}) bool) {
		w.yield = yield
		f()
	})
	w.run()
}

// Pause is called by the work itself, and returns when there is news, or has been some
// since the last Pause returned.
func (w *Work) Pause() { w.yield(struct{}{}) }

// Aside is called by the work itself, and returns in a goroutine that nobody else needs
// until the next Pause: before what may block. Nil does nothing.
func (w *Work) Aside() {
	if w != nil {
		w.aside = true
		w.Pause()
	}
}

// News has the work go on. It may be for nothing.
func (w *Work) News(turn *Turn) {
	w.mu.Lock()
	paused := w.paused
	w.paused, w.news = false, !paused
	w.mu.Unlock()
	switch {
	case !paused:
	case turn.Wary():
		go w.run()
	default:
		turn.Slow(w.run)
	}
}

// run goes on with the work until it waits, and has heard of all news.
func (w *Work) run() {
	for {
		if _, more := w.goOn(); !more {
			w.goOn, w.yield = nil, nil // nothing of it is kept by who still knows it
			return
		}
		if w.aside {
			w.aside = false
			go w.run()
			return
		}
		w.mu.Lock()
		w.paused, w.news = !w.news, false
		paused := w.paused
		w.mu.Unlock()
		if paused {
			return
		}
	}
}
