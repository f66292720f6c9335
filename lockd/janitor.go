package lockd

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
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

// janitor clears away what is over in the lock directory, a part at a time. It must
// never take a lock that counts, nor a file that is not ours.
type janitor struct {
	server *server
	dir    *os.File // nil: at the beginning
}

// run goes on until end is closed. It is nobody's business how long that takes.
func (w *janitor) run(end <-chan struct{}) {
	defer w.rest()
	eachMinute(end, w.next)
}

func (w *janitor) rest() {
	if w.dir != nil {
		w.dir.Close()
		w.dir = nil
	}
}

// tryLocks looks whether the lock directory can be read: where no client comes, nobody else
// would see that it can again.
func (srv *server) tryLocks() {
	srv.fileCalls.finish(control.DirectoryTurn, func() {
		dir, err := srv.locks.Files.Open(".")
		if err == nil {
			_, err = dir.Readdirnames(1)
			dir.Close()
		}
		problem := ""
		if err != nil && !errors.Is(err, io.EOF) {
			problem = err.Error()
		}
		srv.observe(imsg.FindingLock, imsg.ObjectLook, problem)
	})
}

// next removes the expired locks of ours in the next part. Those of another
// user, under whom an older daemon ran, go when their owner connects.
func (w *janitor) next() {
	srv := w.server
	srv.mu.Lock()
	settings := srv.config
	srv.mu.Unlock()
	duration := settings.LockDuration
	if duration != 0 {
		srv.tryLocks()
	}
	if duration == 0 || settings.LocksShared {
		return
	}
	var names []string
	var err error
	srv.fileCalls.finish(control.DirectoryTurn, func() {
		if w.dir == nil {
			w.dir, err = srv.locks.Files.Open(".")
		}
		if err == nil {
			names, err = w.dir.Readdirnames(sweepFiles)
		}
	})
	if err != nil {
		if !errors.Is(err, io.EOF) {
			srv.log.Error("expired locks stay", "error", err)
		}
		w.rest()
		return
	}
	for _, name := range names {
		if _, ok := locks.Parse(name); ok {
			srv.fileCalls.finish(name, func() { srv.locks.Sweep(name, duration, srv.env.uid) })
		}
	}
	if len(names) < sweepFiles {
		w.rest()
	}
}
