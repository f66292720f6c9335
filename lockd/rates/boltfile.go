package rates

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// How the file of a store is opened, exchanged and closed. This file owns the wait for
// a daemon before us that is on its way out and has it still.

const (
	// patientOpen is how long the parent's word of a store may wait for it.
	patientOpen = time.Second
	// quickOpen is one try.
	quickOpen = time.Millisecond
	// lockRetry is how often a lock that is another's is tried.
	lockRetry = 50 * time.Millisecond
)

// Open takes f over, the file of a store, open for reading and writing. An older one is
// written and closed, unless it is the same. What is wrong with f is logged, and
// records live in memory only.
func (t *FileStore) Open(f *os.File) {
	inode, err := f.Stat()
	t.mu.Lock()
	same := err == nil && t.file != nil && os.SameFile(inode, t.inode)
	t.mu.Unlock()
	if same {
		f.Close() // bbolt's own lock would keep us out
		return
	}
	t.write()
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	if t.closed {
		f.Close()
		return
	}
	t.await(f)
	file, err := t.open(patientOpen)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		t.log.Warn("rates are kept in memory until another daemon closes their store")
	case err != nil:
		t.log.Error("rates are kept in memory only", "error", err)
	}
	t.mu.Lock()
	old := t.file
	t.file, t.inode, t.writeFailed = file, inode, nil
	t.mu.Unlock()
	t.swept = nil
	if old != nil {
		old.Close()
	}
}

// await has f opened, in place of the one before it; nil has nothing opened.
func (t *FileStore) await(f *os.File) {
	if t.pending != nil {
		t.pending.Close()
	}
	t.pending = f
}

// open opens the pending file. It stays pending if it is another daemon's.
func (t *FileStore) open(wait time.Duration) (*bbolt.DB, error) {
	fd, err := unix.FcntlInt(t.pending.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open store of rates: %w", err)
	}
	again := os.NewFile(uintptr(fd), t.pending.Name())
	file, err := openStore(t.pending, wait)
	t.pending = nil
	if errors.Is(err, berrors.ErrTimeout) {
		t.pending = again
	} else {
		again.Close()
	}
	return file, err
}

// openPending takes a store over that has become free. Of a client that was counted
// meanwhile the record there stays, unless ours has newer quotas.
func (t *FileStore) openPending() {
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	if t.pending == nil {
		return
	}
	inode, err := t.pending.Stat()
	var file *bbolt.DB
	if err == nil {
		file, err = t.open(quickOpen)
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return
	}
	if err != nil {
		t.await(nil)
		t.log.Error("rates are kept in memory only", "error", err)
		return
	}
	there := make(map[string]*Record)
	t.swept = nil
	t.mu.Lock()
	defer t.mu.Unlock()
	for unread := t.dirtyBut(there); len(unread) > 0; unread = t.dirtyBut(there) {
		t.mu.Unlock()
		for _, client := range unread {
			there[client], _ = read(file, client)
		}
		t.mu.Lock()
	}
	t.file, t.inode, t.writeFailed = file, inode, nil
	for client, r := range t.dirty {
		if w := there[client]; w != nil && r != nil && w.generation >= r.generation {
			delete(t.dirty, client)
		}
	}
	t.log.Info("store of rates opened")
}

// dirtyBut returns the clients with changed records that are not in seen.
func (t *FileStore) dirtyBut(seen map[string]*Record) (clients []string) {
	for client := range t.dirty {
		if _, ok := seen[client]; !ok {
			clients = append(clients, client)
		}
	}
	return clients
}

// openStore takes f over. bbolt sees it only after we have looked at it, under the lock
// that bbolt will find taken by itself.
func openStore(f *os.File, wait time.Duration) (file *bbolt.DB, err error) {
	err = guarded(func() error {
		if err := lockFile(f, wait); err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = checkPages(f, info.Size())
		}
		if err != nil {
			return err
		}
		// The name is for its own words only.
		file, err = bbolt.Open(f.Name(), 0o600, &bbolt.Options{
			Timeout:      quickOpen,
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile:     func(string, int, fs.FileMode) (*os.File, error) { return f, nil },
		})
		if err != nil {
			return err
		}
		return file.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(bucketName)
			return err
		})
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open store of rates: %w", err)
	}
	return file, nil
}

// lockFile takes the lock by which bbolt keeps others out (flock(2)).
func lockFile(f *os.File, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(lockRetry) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK {
			return err
		}
		if time.Now().Add(lockRetry).After(end) {
			return berrors.ErrTimeout
		}
	}
}

// close writes what is left.
func (t *FileStore) close() {
	t.openPending()
	t.write()
	t.fileMu.Lock()
	defer t.fileMu.Unlock()
	t.await(nil)
	t.closed = true
	t.mu.Lock()
	file := t.file
	t.file = nil
	t.mu.Unlock()
	if file != nil {
		file.Close()
	}
}
