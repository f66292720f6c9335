// What a sandbox that is too tight shows in the log: an error nobody expects. This
// file owns that it is said what it means.

package logs

import (
	"errors"
	"log/slog"
	"syscall"
	"time"
)

// missing tells whether a value is the error of a system call that the kernel, or the
// filter of this room, does not know.
func missing(v slog.Value) bool {
	return errors.Is(failure(v), syscall.ENOSYS)
}

// sayMissing says so, once in a room's life.
func (l *Log) sayMissing() {
	l.sayOnce.Do(func() {
		l.put(&record{
			when: time.Now(), level: slog.LevelError,
			text: "BUG: a system call is none of this room's words; the kernel's log has its number (audit type=1326): please report it",
		})
	})
}
