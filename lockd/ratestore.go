// Where the records of rates are kept: a bbolt file that the parent opened, and
// above it what has changed since it was written last. This file owns both. A
// decision must never wait for the disk to write: changes are collected, and
// written together each second, aside. So a crash forgets a second of uses.
//
// A file that is damaged as a whole is left as it is, for somebody to look at,
// and records live in memory only. One damaged record costs its client alone.

package lockd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"
)

const (
	// maxFresh bounds what is held in memory while nothing can be written.
	maxFresh = 1 << 17
	// manyFresh is how many changes are written without waiting for the second.
	manyFresh = 1 << 12
	// sweepRecords bounds the records one sweep looks at.
	sweepRecords = 1 << 16
)

var (
	errStore = errors.New("store of rates is damaged")
	errFault = fmt.Errorf("%w: it was cut short under us", errStore)
	errFull  = errors.New("too many records that cannot be written")

	bucketName = []byte("rates")
)

// rateStore is guarded by the keeper's lock but for file, which moving also
// guards: it is held while the file is written, walked through or exchanged, and
// always taken first.
type rateStore struct {
	moving sync.Mutex
	file   *bbolt.DB   // nil: there is none, or it is unusable
	inode  fs.FileInfo // of file
	sick   bool        // writing failed; said once
	swept  []byte      // how far the last sweep came

	awaited *os.File // another daemon has it open still; guarded by moving
	closed  bool     // for good; guarded by moving

	// nil stands for a record that was forgotten.
	fresh   map[string]*record // changed since it was written
	writing map[string]*record // being written
	writes  int                // how often that is over
	many    chan struct{}      // says that fresh is worth writing
}

func newRateStore() *rateStore {
	return &rateStore{fresh: make(map[string]*record), many: make(chan struct{}, 1)}
}

// memory is what is remembered of a client: its record, nil if there is none, or
// why it cannot be read.
type memory struct {
	name   string
	record *record
	err    error
}

// remember has f look at what is remembered under name and change it, under the
// keeper's lock. The file is read without that lock, so it must not be held.
func (k *keeper) remember(name string, f func(memory)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.rates
	for {
		if r, ok := t.inMemory(name); ok {
			f(memory{name: name, record: r})
			return
		}
		file, writes := t.file, t.writes
		k.mu.Unlock()
		r, err := read(file, name)
		k.mu.Lock()
		// Unless it was changed, or even written, or the file exchanged meanwhile.
		if _, ok := t.inMemory(name); !ok && t.writes == writes && t.file == file {
			if errors.Is(err, errFault) {
				t.file = nil // not closed: its locks may never open again
			}
			f(memory{name, r, err})
			return
		}
	}
}

// inMemory returns a client's record without a look into the file; ok is false if
// it takes one.
func (t *rateStore) inMemory(name string) (r *record, ok bool) {
	if r, ok := t.fresh[name]; ok {
		return r, true
	}
	if r, ok := t.writing[name]; ok {
		return r, true
	}
	return nil, t.file == nil
}

// read returns a client's record as the file has it, nil if it has none.
func read(file *bbolt.DB, name string) (r *record, err error) {
	err = guarded(func() error {
		return file.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketName).Get([]byte(name))
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
func (t *rateStore) put(name string, r *record) error {
	if _, known := t.fresh[name]; !known && len(t.fresh) >= maxFresh {
		return errFull
	}
	t.fresh[name] = r
	if t.file == nil && r == nil {
		delete(t.fresh, name)
	}
	if t.file != nil && len(t.fresh) >= manyFresh {
		select {
		case t.many <- struct{}{}:
		default:
		}
	}
	return nil
}

// guarded turns what a damaged file does to its reader, panics and faults in
// mapped memory, into errStore and errFault.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch v := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = errFault
		default:
			err = fmt.Errorf("%w: %v", errStore, v)
		}
	}()
	return f()
}

// writeRates writes what has changed.
func (k *keeper) writeRates() {
	t := k.rates
	t.moving.Lock()
	defer t.moving.Unlock()

	type change struct {
		name  string
		value []byte // nil: forgotten
	}
	k.mu.Lock()
	file := t.file
	if file == nil || len(t.fresh) == 0 {
		k.mu.Unlock()
		return
	}
	// Encoded here, for a record in writing may be changed again meanwhile.
	changes := make([]change, 0, len(t.fresh))
	for name, r := range t.fresh {
		c := change{name: name}
		if r != nil {
			c.value = r.encode()
		}
		changes = append(changes, c)
	}
	t.fresh, t.writing = make(map[string]*record), t.fresh
	k.mu.Unlock()

	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.name, b.name) })
	err := guarded(func() error {
		return file.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(bucketName)
			for _, c := range changes {
				var err error
				if c.value == nil {
					err = bucket.Delete([]byte(c.name))
				} else {
					err = bucket.Put([]byte(c.name), c.value)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if !t.sick {
			k.log.Error("rates would not survive a crash", "error", err)
		}
		maps.Copy(t.writing, t.fresh) // what changed meanwhile is newer
		t.fresh = t.writing
		if errors.Is(err, errStore) {
			t.file = nil
		}
	}
	t.sick = err != nil
	t.writing = nil
	t.writes++
}

// named is a record as it is shown. It is nil if it cannot be read.
type named struct {
	name string
	*record
}

// page returns copies of at most n records whose name sorts behind after, in
// their order, and whether there are more.
func (k *keeper) page(after string, n int) (page []named, more bool, err error) {
	t := k.rates
	t.moving.Lock()
	defer t.moving.Unlock()
	k.mu.Lock()
	fresh := make(map[string]bool, len(t.fresh))
	for name, r := range t.fresh {
		fresh[name] = true
		if r != nil && name > after {
			page = append(page, named{name, r.clone()})
		}
	}
	file := t.file
	k.mu.Unlock()

	if file != nil {
		err = guarded(func() error {
			return file.View(func(tx *bbolt.Tx) error {
				found := 0
				c := tx.Bucket(bucketName).Cursor()
				for key, value := c.Seek([]byte(after)); key != nil && found <= n; key, value = c.Next() {
					if name := string(key); name > after && !fresh[name] {
						r, _ := decodeRecord(value)
						page = append(page, named{name, r})
						found++
					}
				}
				return nil
			})
		})
	}
	slices.SortFunc(page, func(a, b named) int { return strings.Compare(a.name, b.name) })
	if more = len(page) > n; more {
		page = page[:n]
	}
	return page, more, err
}

func (r *record) clone() *record {
	c := *r
	c.targets = slices.Clone(r.targets)
	return &c
}

// sweepRates forgets records that say nothing any more, so that a client with
// many addresses fills no disk.
func (k *keeper) sweepRates() {
	rules := k.limits()
	if rules.period <= 0 {
		return
	}
	now := k.machine.now().UnixNano()
	for _, name := range k.idleRates(&rules, now) {
		k.remember(name, func(c memory) {
			// Once more: it may have been used meanwhile.
			if c.record != nil && c.record.idle(&rules, now) {
				k.rates.put(name, nil)
			}
		})
	}
}

// idleRates finds records that may be forgotten, a part of all at a time.
func (k *keeper) idleRates(l *rules, now int64) (names []string) {
	t := k.rates
	t.moving.Lock()
	defer t.moving.Unlock()
	k.mu.Lock()
	for name, r := range t.fresh {
		if r != nil && r.idle(l, now) {
			names = append(names, name)
		}
	}
	file := t.file
	k.mu.Unlock()
	if file == nil {
		return names
	}
	err := guarded(func() error {
		return file.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketName).Cursor()
			key, value := c.Seek(t.swept)
			for range sweepRecords {
				if key == nil {
					break
				}
				if r, err := decodeRecord(value); err == nil && r.idle(l, now) {
					names = append(names, string(key))
				}
				key, value = c.Next()
			}
			t.swept = bytes.Clone(key)
			return nil
		})
	})
	if err != nil {
		k.log.Error("old records of rates stay", "error", err)
	}
	return names
}

// limits is the rules as they stand now.
func (k *keeper) limits() rules {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rules
}
