// The file of the store of rates: how it is opened, exchanged and closed. This file
// owns the wait for a daemon before us that is on its way out and has it still.

package lockd

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

const (
	// patientOpen is how long the parent's word of a store may wait for it.
	patientOpen = time.Second
	// quickOpen is one try.
	quickOpen = time.Millisecond
)

// openRates takes the store over. An older one is written and closed, unless it
// is the same.
func (k *keeper) openRates(f *os.File) {
	t := k.rates
	inode, err := f.Stat()
	k.mu.Lock()
	same := err == nil && t.file != nil && os.SameFile(inode, t.inode)
	k.mu.Unlock()
	if same {
		f.Close() // bbolt's own lock would keep us out
		return
	}
	k.writeRates()
	t.moving.Lock()
	defer t.moving.Unlock()
	if t.closed {
		f.Close()
		return
	}
	t.await(f)
	file, err := t.open(patientOpen)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		k.log.Warn("rates are kept in memory until another daemon closes their store")
	case err != nil:
		k.log.Error("rates are kept in memory only", "error", err)
	}
	k.mu.Lock()
	old := t.file
	t.file, t.inode, t.swept, t.sick = file, inode, nil, false
	k.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// await has f opened, in place of the one before it; nil has nothing opened.
func (t *rateStore) await(f *os.File) {
	if t.awaited != nil {
		t.awaited.Close()
	}
	t.awaited = f
}

// open opens the awaited file. It is awaited still if it is another daemon's.
func (t *rateStore) open(wait time.Duration) (*bbolt.DB, error) {
	fd, err := unix.FcntlInt(t.awaited.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open store of rates: %w", err)
	}
	again := os.NewFile(uintptr(fd), t.awaited.Name())
	file, err := openStore(t.awaited, wait)
	t.awaited = nil
	if errors.Is(err, berrors.ErrTimeout) {
		t.awaited = again
	} else {
		again.Close()
	}
	return file, err
}

// openAwaited takes a store over that has become free. Of a client that was
// counted meanwhile the record there stays, unless ours has newer quotas.
func (k *keeper) openAwaited() {
	t := k.rates
	t.moving.Lock()
	defer t.moving.Unlock()
	if t.awaited == nil {
		return
	}
	inode, err := t.awaited.Stat()
	var file *bbolt.DB
	if err == nil {
		file, err = t.open(quickOpen)
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return
	}
	if err != nil {
		t.await(nil)
		k.log.Error("rates are kept in memory only", "error", err)
		return
	}
	there := make(map[string]*record)
	k.mu.Lock()
	defer k.mu.Unlock()
	for unread := t.freshBut(there); len(unread) > 0; unread = t.freshBut(there) {
		k.mu.Unlock()
		for _, name := range unread {
			there[name], _ = read(file, name)
		}
		k.mu.Lock()
	}
	t.file, t.inode, t.swept, t.sick = file, inode, nil, false
	for name, r := range t.fresh {
		if w := there[name]; w != nil && r != nil && w.generation >= r.generation {
			delete(t.fresh, name)
		}
	}
	k.log.Info("store of rates opened")
}

// freshBut returns the names of changed records that are not in seen.
func (t *rateStore) freshBut(seen map[string]*record) (names []string) {
	for name := range t.fresh {
		if _, ok := seen[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// openStore takes f over.
func openStore(f *os.File, wait time.Duration) (file *bbolt.DB, err error) {
	err = guarded(func() error {
		// The name is for its own words only. The timeout is for a file that
		// somebody else has opened, too.
		file, err = bbolt.Open(f.Name(), 0o600, &bbolt.Options{
			Timeout:      wait,
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

// closeRates writes what is left.
func (k *keeper) closeRates() {
	k.openAwaited()
	k.writeRates()
	k.rates.moving.Lock()
	defer k.rates.moving.Unlock()
	k.rates.await(nil)
	k.rates.closed = true
	k.mu.Lock()
	file := k.rates.file
	k.rates.file = nil
	k.mu.Unlock()
	if file != nil {
		file.Close()
	}
}
