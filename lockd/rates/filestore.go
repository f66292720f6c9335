package rates

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxDirty bounds what is held in memory while nothing can be written.
	maxDirty = 1 << 17
	// manyDirty is how many changes are written without waiting for the second.
	manyDirty = 1 << 12
	// sweepRecords bounds the records one sweep looks at.
	sweepRecords = 1 << 16
)

var bucketName = []byte("rates")

// FileStore keeps records in a bbolt file that the parent opened, and above it what has
// changed since it was written last. A decision never waits for the disk to write:
// changes are collected, and written together each second. So a crash forgets a second
// of uses.
//
// A file that is damaged as a whole is left as it is, for somebody to look at, and
// records live in memory only, as they do before there is a file. One damaged record
// costs its client alone.
type FileStore struct {
	log  *slog.Logger
	many chan struct{} // says that dirty is worth writing

	// mu is held for moments, and never over a file call.
	mu          sync.Mutex
	file        *bbolt.DB          // nil: there is none, or it is unusable; set under fileMu, too
	inode       fs.FileInfo        // of file
	writeFailed error              // of the last write; said once
	writes      int                // how often one was over
	dirty       map[string]*Record // changed since it was written; nil: forgotten
	writing     map[string]*Record // being written: not changed any more

	// fileMu is held while the file is written, walked through or exchanged, by those
	// who have time for that. It is always taken first.
	fileMu  sync.Mutex
	pending *os.File // another daemon has it open still
	closed  bool     // for good
	swept   []byte   // how far the last sweep came
}

// NewFileStore remembers in memory only until Open.
func NewFileStore(log *slog.Logger) *FileStore {
	return &FileStore{log: log, dirty: make(map[string]*Record), many: make(chan struct{}, 1)}
}

// Run writes what has changed until end is closed, and closes the store then.
func (t *FileStore) Run(end <-chan struct{}) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end:
			t.close()
			return
		case <-second.C:
			t.openPending()
			t.write()
		case <-t.many:
			t.write()
		}
	}
}

// Change implements Store. The file is read without the store's lock.
func (t *FileStore) Change(client string, change func(*Record) *Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, err := t.remembered(client)
	if err != nil {
		return err
	}
	after := change(before)
	if before == nil && after == nil {
		return nil
	}
	return t.put(client, after)
}

// Look implements Store.
func (t *FileStore) Look(client string) (*Record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.remembered(client)
	if r == nil {
		return nil, err
	}
	return r.clone(), nil
}

// Forget implements Store.
func (t *FileStore) Forget(client string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.put(client, nil)
}

// remembered returns a client's record, which may be changed as long as mu is held. mu
// is let go while the file is read.
func (t *FileStore) remembered(client string) (*Record, error) {
	for {
		if r, ok := t.inMemory(client); ok {
			return r, nil
		}
		file, writes := t.file, t.writes
		t.mu.Unlock()
		r, err := read(file, client)
		t.mu.Lock()
		// Unless it was changed, or even written, or the file exchanged meanwhile.
		if _, ok := t.inMemory(client); !ok && t.writes == writes && t.file == file {
			if errors.Is(err, errFault) {
				t.file = nil // not closed: its locks may never open again
			}
			return r, err
		}
	}
}

// inMemory returns a client's record without a look into the file; ok is false if it
// takes one.
func (t *FileStore) inMemory(client string) (r *Record, ok bool) {
	if r, ok := t.dirty[client]; ok {
		return r, true
	}
	if r, ok := t.writing[client]; ok {
		if r != nil {
			r = r.clone()
		}
		return r, true
	}
	return nil, t.file == nil
}

// read returns a client's record as the file has it, nil if it has none.
func read(file *bbolt.DB, client string) (r *Record, err error) {
	err = guarded(func() error {
		return file.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketName).Get([]byte(client))
			if b == nil {
				return nil
			}
			r, err = decodeRecord(b)
			return err
		})
	})
	return r, err
}

// put has a client's record written; nil forgets it.
func (t *FileStore) put(client string, r *Record) error {
	if _, known := t.dirty[client]; !known && len(t.dirty) >= maxDirty {
		return errFull
	}
	t.dirty[client] = r
	if t.file == nil && r == nil {
		delete(t.dirty, client)
	}
	if t.file != nil && len(t.dirty) >= manyDirty {
		select {
		case t.many <- struct{}{}:
		default:
		}
	}
	return nil
}

// guarded turns what a damaged file does to its reader, panics and faults in
// mapped memory, into ErrStore and errFault.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch v := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = errFault
		default:
			err = fmt.Errorf("%w: %v", ErrStore, v)
		}
	}()
	return f()
}

// Flush implements Store.
func (t *FileStore) Flush() error {
	t.write()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return errNone
	}
	return t.writeFailed
}

// write writes what has changed.
func (t *FileStore) write() {
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	t.mu.Lock()
	file, changed := t.file, t.dirty
	if file == nil || len(changed) == 0 {
		t.mu.Unlock()
		return
	}
	t.dirty, t.writing = make(map[string]*Record), changed
	t.mu.Unlock()

	err := guarded(func() error { return writeAll(file, changed) })

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		if t.writeFailed == nil {
			t.log.Error("rates would not survive a crash", "error", err)
		}
		maps.Copy(changed, t.dirty) // what changed meanwhile is newer
		t.dirty = changed
		if errors.Is(err, ErrStore) {
			t.file = nil
		}
	}
	t.writeFailed = err
	t.writing = nil
	t.writes++
}

// writeAll writes records to file, in the order of their names; nil removes one.
func writeAll(file *bbolt.DB, changed map[string]*Record) error {
	return file.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketName)
		for _, client := range slices.Sorted(maps.Keys(changed)) {
			var err error
			if r := changed[client]; r == nil {
				err = bucket.Delete([]byte(client))
			} else {
				err = bucket.Put([]byte(client), r.encode())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Page implements Store.
func (t *FileStore) Page(after string, n int) (page []Named, more bool, err error) {
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	t.mu.Lock()
	dirty := make(map[string]bool, len(t.dirty))
	for client, r := range t.dirty {
		dirty[client] = true
		if r != nil && client > after {
			page = append(page, Named{client, r.clone()})
		}
	}
	file := t.file
	t.mu.Unlock()

	if file != nil {
		err = guarded(func() error {
			return file.View(func(tx *bbolt.Tx) error {
				found := 0
				c := tx.Bucket(bucketName).Cursor()
				for key, value := c.Seek([]byte(after)); key != nil && found <= n; key, value = c.Next() {
					if client := string(key); client > after && !dirty[client] {
						r, _ := decodeRecord(value)
						page = append(page, Named{client, r})
						found++
					}
				}
				return nil
			})
		})
	}
	slices.SortFunc(page, func(a, b Named) int { return strings.Compare(a.Client, b.Client) })
	if more = len(page) > n; more {
		page = page[:n]
	}
	return page, more, err
}

// Sweep implements Store.
func (t *FileStore) Sweep(idle func(*Record) bool) {
	for _, client := range t.findIdle(idle) {
		// Once more: it may have been used meanwhile. That a record nobody could keep
		// stays is no harm.
		_ = t.Change(client, func(r *Record) *Record {
			if r == nil || idle(r) {
				return nil
			}
			return r
		})
	}
}

// findIdle finds records that may be forgotten, a part of all at a time.
func (t *FileStore) findIdle(idle func(*Record) bool) (clients []string) {
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	t.mu.Lock()
	for client, r := range t.dirty {
		if r != nil && idle(r) {
			clients = append(clients, client)
		}
	}
	file := t.file
	t.mu.Unlock()
	if file == nil {
		return clients
	}
	err := guarded(func() error {
		return file.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketName).Cursor()
			key, value := c.Seek(t.swept)
			for range sweepRecords {
				if key == nil {
					break
				}
				if r, err := decodeRecord(value); err == nil && idle(r) {
					clients = append(clients, string(key))
				}
				key, value = c.Next()
			}
			t.swept = bytes.Clone(key)
			return nil
		})
	})
	if err != nil {
		t.log.Error("old records of rates stay", "error", err)
	}
	return clients
}
