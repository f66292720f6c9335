// What lockd does without being asked: it clears away what is over. This file owns the rhythm and the sweep of the lock directory, which must
// never take a lock that counts, nor a file that is not ours.

package lockd

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/lockd/control"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// sweepFiles bounds the files one sweep of the lock directory looks at.
const sweepFiles = 1 << 12

// eachMinute does something again and again until end is closed.
func eachMinute(end <-chan struct{}, do func()) {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case <-end:
			return
		case <-minute.C:
			do()
		}
	}
}

// sweep clears the lock directory until end is closed. It is nobody's business
// how long that takes.
func (k *keeper) sweep(end <-chan struct{}) {
	locks := lockSweep{keeper: k}
	defer locks.rest()
	eachMinute(end, locks.next)
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
	k.mu.Lock()
	settings := k.config
	k.mu.Unlock()
	duration := settings.LockDuration
	if duration <= 0 || settings.LocksShared {
		return
	}
	var names []string
	var err error
	k.finish(control.DirectoryTurn, func() {
		if w.dir == nil {
			w.dir, err = k.locks.Files.Open(".")
		}
		if err == nil {
			names, err = w.dir.Readdirnames(sweepFiles)
		}
	})
	if err != nil {
		if !errors.Is(err, io.EOF) {
			k.log.Error("expired locks stay", "error", err)
		}
		w.rest()
		return
	}
	for _, name := range names {
		if _, ok := locks.Parse(name); ok {
			k.finish(name, func() { k.locks.Sweep(name, duration, k.machine.uid) })
		}
	}
	if len(names) < sweepFiles {
		w.rest()
	}
}

// finish waits for a job aside, however long it takes. It does nothing if too much
// waits already.
func (k *keeper) finish(name string, job func()) {
	done := make(chan struct{})
	if k.aside.begin(name, func() { job(); close(done) }) {
		<-done
	}
}
