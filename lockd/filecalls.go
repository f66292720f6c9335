package lockd

import "sync"

const (
	// maxFileCalls bounds the file calls under way: each holds a thread, and on a
	// disk that does not answer nothing brings it back.
	maxFileCalls = 64
	// maxQueued bounds what waits behind them.
	maxQueued = 1 << 13
	// maxUnawaited bounds what waits under one name though nobody waits for it.
	maxUnawaited = 16
)

// fileCalls runs what looks at files aside: nothing that may have to wait for a disk
// happens under the room's lock. It owns how many there are at once, and that those of
// one client come in their order: two jobs of one name never run at once, so that a look
// and what follows from it are one. Who begins one never waits.
type fileCalls struct {
	slots  chan struct{}
	mu     sync.Mutex
	queues map[string][]func() // of the names at work, what is still to do
	queued int
	idle   chan struct{} // closed when nothing is left to do; nil if nobody waits
}

func newFileCalls() *fileCalls {
	return &fileCalls{slots: make(chan struct{}, maxFileCalls), queues: make(map[string][]func())}
}

// begin has job run behind all that was begun under name before. It is false if
// too much waits already.
func (a *fileCalls) begin(name string, job func()) bool { return a.beginBy(aside, name, job) }

// starter starts what may wait for a disk: aside, or in who will have come out of the room's
// lock.
type starter func(work func())

func aside(work func()) { go work() }

// beginBy is begin by another starter.
func (a *fileCalls) beginBy(start starter, name string, job func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queued >= maxQueued {
		return false
	}
	a.queued++
	queue, busy := a.queues[name]
	a.queues[name] = append(queue, job)
	if !busy {
		start(func() { a.work(name) })
	}
	return true
}

// waiting is how much waits under name.
func (a *fileCalls) waiting(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queues[name])
}

// work does what was begun under name until nothing is left.
func (a *fileCalls) work(name string) {
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	for job := a.next(name); job != nil; job = a.next(name) {
		job()
	}
}

func (a *fileCalls) next(name string) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	queue := a.queues[name]
	if len(queue) == 0 {
		delete(a.queues, name)
		if len(a.queues) == 0 && a.idle != nil {
			close(a.idle)
			a.idle = nil
		}
		return nil
	}
	a.queues[name] = queue[1:]
	a.queued--
	return queue[0]
}

// done is closed when there is nothing left to do.
func (a *fileCalls) done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	idle := a.idle
	if idle == nil {
		idle = make(chan struct{})
	}
	if len(a.queues) == 0 {
		close(idle)
	} else {
		a.idle = idle
	}
	return idle
}

// finish waits for a job aside, however long it takes. It does nothing if too much
// waits already.
func (a *fileCalls) finish(name string, job func()) {
	done := make(chan struct{})
	if a.begin(name, func() { job(); close(done) }) {
		<-done
	}
}
