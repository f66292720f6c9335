// Where a room lives, as whom, and within which limits.

package site

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// Sandbox says where a room lives. local are the names of the scanners' sockets below
// its root, if it lives at them.
func (s *Site) Sandbox(r Room) (spec *sandbox.Spec, local map[string]string) {
	spec = sandbox.New()
	spec.Identity = sandbox.Identity(s.who[r.Name])
	spec.MaxFiles, spec.CoreSize, spec.Nice = s.affordable(r), s.LimitCore, s.Priority
	spec.Dumps = s.Dumps()
	if !s.Rooted {
		spec.Nice = max(spec.Nice, 0)
	}
	spec.RootDir, spec.Chroot, local = s.quarters(r)
	if r.Root == Spool && !s.logsToFile() {
		spec.FileSize = s.SpoolLimit()
		if spec.FileSize >= 0 { // an operator's trace has room, too
			spec.FileSize = max(spec.FileSize, imsg.MaxTrace)
		}
	}
	if r.Root == Scanners && s.Rooted && !spec.Chroot {
		s.Log.Warn("no directory but / holds all scanner sockets: scand gets no chroot", "sockets", fmt.Sprint(s.ScannerSockets()))
	}
	return spec, local
}

// Unenforced logs which limits hold for no room.
func (s *Site) Unenforced() {
	if s.Priority < 0 && !s.Rooted {
		s.Log.Warn("without root no room gets a better priority", "priority", s.Priority)
	}
	// The limit is about every file, and a log may be larger than any message.
	if s.SpoolLimit() >= 0 && s.logsToFile() {
		s.Log.Info(s.Called("limit_fsize") + " is not enforced: it would bind the log, too, which is a file")
	}
}

// logsToFile tells whether the log, or the one before it, is a file that grows.
func (s *Site) logsToFile() bool {
	return s.Sink.IsFile() || s.Log.Sink.IsFile()
}

// affordable keeps a limit within what we may give without privilege.
func (s *Site) affordable(r Room) uint64 {
	n := r.Files(s)
	var have unix.Rlimit
	if s.Rooted || n == 0 || unix.Getrlimit(unix.RLIMIT_NOFILE, &have) != nil || n <= uint64(have.Max) {
		return n
	}
	s.Log.Warn("fewer descriptors than sessions may need", "room", r.Name, "wanted", n, "limit", uint64(have.Max))
	return uint64(have.Max)
}

// Workers is how many rooms accept clients.
func (s *Site) Workers() int {
	if s.Config.Workers > 0 {
		return s.Config.Workers
	}
	return min(max(runtime.NumCPU()/2, 1), 8)
}

// Share is a worker's part of the CPUs: more threads than that only wake each other. One
// waits for the news of all connections; others need another.
func (s *Site) Share() int { return max(runtime.NumCPU()/s.Workers(), 2) }

// SessionFiles lets any worker take all sessions: two sockets, a spool file and
// its second descriptor, two pipes.
func (s *Site) SessionFiles() uint64 { return uint64(6*s.MaxConnections + 64) }
