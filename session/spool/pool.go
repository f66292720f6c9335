package spool

import (
	"os"
	"sync"
	"time"
)

// This file owns what becomes of a file behind its session: another session uses it, which
// costs a new name in the place of all that makes and removes a file.

const (
	// maxPool is how many files wait for a session at most.
	maxPool = 32
	// poolWait is how long one does.
	poolWait = 5 * time.Second
)

// Pool holds the empty files of sessions that have ended. Its zero value is ready, and is
// for a folder that others do not use: what has the new name of a file there is replaced.
type Pool struct {
	mu     sync.Mutex
	files  []pooled // the one that came first is first
	closed bool
}

type pooled struct {
	opened
	since time.Time
}

// Release gives the file of a session that has ended to the next one. It is not done, and
// Drop is due, if a message is left in it. A scanner that has come to no end holds none that
// is empty: such a file is dropped.
func (p *File) Release(to *Pool) bool {
	if p.file == nil {
		return true
	}
	if p.dirty || !to.put(p.opened) {
		return false
	}
	p.opened = opened{}
	return true
}

func (b *Pool) put(f opened) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.files) == maxPool {
		return false
	}
	b.files = append(b.files, pooled{f, time.Now()})
	return true
}

func (b *Pool) take() (f opened, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.files) - 1
	if last < 0 {
		return opened{}, false
	}
	f, b.files[last] = b.files[last].opened, pooled{}
	b.files = b.files[:last]
	return f, true
}

// inherit takes another session's file.
func (p *File) inherit(from *Pool, name string) bool {
	f, ok := from.take()
	if !ok {
		return false
	}
	if os.Rename(f.name, name) != nil {
		f.Drop()
		return false
	}
	p.opened = f
	p.name = name
	return true
}

// Tidy removes the files that nobody has wanted for a while. It may wait for the disk.
func (b *Pool) Tidy() { b.remove(poolWait) }

// Close removes all files, and has the pool take no more. It may wait for the disk.
func (b *Pool) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.remove(0)
}

func (b *Pool) remove(age time.Duration) {
	for f, ok := b.oldest(age); ok; f, ok = b.oldest(age) {
		f.Drop()
	}
}

// oldest takes the file that has waited longest, if that is as long.
func (b *Pool) oldest(age time.Duration) (f opened, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.files) == 0 || time.Since(b.files[0].since) < age {
		return opened{}, false
	}
	f = b.files[0].opened
	b.files = append(b.files[:0], b.files[1:]...)
	return f, true
}
