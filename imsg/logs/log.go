// The log of a room: records go into a bounded queue, one goroutine writes them
// onto the sink the parent handed over. This file owns the queue. Nothing here
// may make a room wait for a reader of its log: what finds no place is counted,
// and the count is told when there is place again.

package logs

import (
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	maxWaiting   = 4096 // records in the queue
	flushTimeout = time.Second
	// batchDelay is how long the writer lets records come together: a wake-up and
	// a write(2) for each would cost a short session more than its relay.
	batchDelay = 5 * time.Millisecond
)

// Log is where a room's records go.
type Log struct {
	room imsg.Room

	mu       sync.Mutex
	queue    []*record
	lost     int
	everLost uint64
	sink     *sink
	oldSinks []*sink       // the writer may still be at one
	writing  bool          // the writer holds records it took off the queue
	idle     chan struct{} // closed when nothing waits; nil if nobody asked
	wake     chan struct{}

	sayOnce sync.Once // that a system call is missing
}

// New makes the log of a room; it keeps what comes before the first SetSink.
func New(room imsg.Room) *Log {
	l := &Log{room: room, wake: make(chan struct{}, 1)}
	go l.write()
	return l
}

// SetSink changes where the records go. It takes f over.
func (l *Log) SetSink(s *imsg.Sink, f *os.File) {
	l.mu.Lock()
	if l.sink != nil {
		l.oldSinks = append(l.oldSinks, l.sink)
	}
	l.sink = &sink{Sink: *s, file: f, room: l.room}
	l.mu.Unlock()
	l.signal()
}

// Logger returns the logger that writes here.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l}) }

// Flush waits, at most for a second, for what is queued to be written.
func (l *Log) Flush() {
	l.mu.Lock()
	if l.sink == nil || len(l.queue) == 0 && !l.writing {
		l.mu.Unlock()
		return
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(flushTimeout):
	}
}

// Lost is how many records were lost since the room began.
func (l *Log) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.everLost
}

// enabled tells whether a record of this level would be written.
func (l *Log) enabled(level slog.Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sink == nil || int(level) >= l.sink.Level
}

func (l *Log) root() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		return ""
	}
	return l.sink.Root
}

func (l *Log) put(r *record) {
	l.mu.Lock()
	if len(l.queue) < maxWaiting {
		l.queue = append(l.queue, r)
	} else {
		l.lost++
		l.everLost++
	}
	l.mu.Unlock()
	l.signal()
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write is the writer. It lives as long as the process.
func (l *Log) write() {
	for range l.wake {
		time.Sleep(batchDelay)
		for {
			batch, to, lost := l.take()
			if to == nil {
				break
			}
			unwritten := to.write(batch)
			lost += unwritten
			if lost > 0 && to.write([]*record{lostRecord(lost)}) == 0 {
				lost = 0
			}
			l.mu.Lock()
			l.lost += lost
			l.everLost += uint64(unwritten)
			l.writing = false
			l.mu.Unlock()
		}
	}
}

// take hands the writer what waits; no sink means that there is nothing to do.
func (l *Log) take() (batch []*record, to *sink, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.oldSinks {
		s.file.Close()
	}
	l.oldSinks = nil
	if l.sink == nil {
		return nil, nil, 0
	}
	if len(l.queue) == 0 {
		if l.idle != nil {
			close(l.idle)
			l.idle = nil
		}
		return nil, nil, 0
	}
	batch, lost = l.queue, l.lost
	l.queue, l.lost = nil, 0
	l.writing = true
	return batch, l.sink, lost
}

func lostRecord(n int) *record {
	return &record{
		when: time.Now(), level: slog.LevelWarn, text: "log lines were lost",
		fields: []field{{key: "count", text: strconv.Itoa(n), bare: true}},
	}
}
