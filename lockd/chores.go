// What lockd does without being asked: it writes rates, and clears away what is
// over. This file owns the rhythm and the sweep of the lock directory, which must
// never take a lock that counts, nor a file that is not ours.

package lockd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// sweepFiles bounds the files one sweep of the lock directory looks at.
const sweepFiles = 1 << 12

// chores works until end is closed.
func (k *keeper) chores(end <-chan struct{}) {
	second, minute := time.NewTicker(time.Second), time.NewTicker(time.Minute)
	defer second.Stop()
	defer minute.Stop()
	locks := lockSweep{keeper: k}
	defer locks.rest()
	for {
		select {
		case <-end:
			return
		case <-second.C:
			k.openAwaited()
			k.writeRates()
		case <-k.rates.many:
			k.writeRates()
		case <-minute.C:
			locks.next()
			k.sweepRates()
		}
	}
}

// lockSweep goes through the lock directory, a part at a time.
type lockSweep struct {
	keeper *keeper
	dir    *os.File // nil: at the beginning
}

func (w *lockSweep) rest() {
	if w.dir != nil {
		w.dir.Close()
		w.dir = nil
	}
}

// next removes the expired locks of ours in the next part. Those of another
// user, under whom an older daemon ran, go when their owner connects.
func (w *lockSweep) next() {
	k := w.keeper
	duration := k.settings().LockDuration
	if duration <= 0 {
		return
	}
	var err error
	if w.dir == nil {
		w.dir, err = k.locks.dir.Open(".")
	}
	var names []string
	if err == nil {
		names, err = w.dir.Readdirnames(sweepFiles)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			k.log.Error("expired locks stay", "error", err)
		}
		w.rest()
		return
	}
	for _, name := range names {
		if _, _, _, ok := parseName(name); ok && k.locks.stale(name, duration, k.machine.uid) {
			k.sweepLock(name, duration)
		}
	}
	if len(names) < sweepFiles {
		w.rest()
	}
}

// sweepLock removes a lock that was found expired.
func (k *keeper) sweepLock(name string, duration int) {
	// Under the keeper's lock, and asked once more, for it may just have been
	// made again.
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.locks.stale(name, duration, k.machine.uid) {
		return
	}
	if err := k.locks.dir.Remove(name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Error("expired lock stays", "error", err)
		}
		return
	}
	client, ident, _, _ := parseName(name)
	k.log.Info("LOCK:EXPIRED", "src", client, "ident", ident)
}
