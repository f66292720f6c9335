// Where the log goes. The parent opens it, for itself and for the rooms, whose
// chroot has no /dev/log. This file owns the choice, and notices when the name
// has come to mean another socket or file: syslog restarted, the file rotated.

package parent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// The names systems have for their log sockets.
const (
	syslogSocket  = "/dev/log"
	journalSocket = "/run/systemd/journal/socket"
)

// sink is an open log.
type sink struct {
	imsg.Sink
	file *os.File
	path string      // empty: it has no name to watch
	info fs.FileInfo // of path when it was opened
}

// openSink opens what log_target says.
func openSink(c *config.Config, foreground bool) (*sink, error) {
	s := &sink{Sink: imsg.Sink{Level: int(logs.LevelOf(c.LogLevel)), Facility: c.LogFacility, JSON: c.LogJSON}}
	target := destination(c, foreground, stderrIsJournal())
	if err := s.open(target, c); err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Called("log_target"), target, err)
	}
	if s.path != "" {
		s.info, _ = os.Stat(s.path)
	}
	return s, nil
}

// destination is what log_target auto amounts to. Who comes from the old daemon has
// parsers of its log, which tell sessions by the number in the tag; in the journal
// that is a process.
func destination(c *config.Config, foreground, journal bool) string {
	switch {
	case c.LogTarget != "auto":
		return c.LogTarget
	case !foreground, journal && !c.InTOML():
		return "syslog"
	case journal:
		return "journal"
	}
	return "stderr"
}

func (s *sink) open(target string, c *config.Config) (err error) {
	switch target {
	case "stderr":
		s.Kind = imsg.SinkStream
		s.file, err = duplicate(os.Stderr)
	case "journal":
		err = s.dial(imsg.SinkJournal, journalSocket)
	case "syslog":
		err = s.dial(imsg.SinkSyslog, syslogSocket)
	default:
		s.Kind, s.path = imsg.SinkStream, c.Inside(target)
		if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
			return err
		}
		// A pipe without a reader must not hold us up.
		if s.file, err = os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o640); err == nil {
			s.file.Fd() // waits from now on, as its readers do
		}
	}
	return err
}

// tellSink has a room write its log to s, and tells it how the administrator
// calls the files below its root.
func (p *parent) tellSink(m *member, s *sink) {
	told := s.Sink
	told.Root = m.root(m.gen.cfg)
	p.tell(m, &told, s.file)
}

// dial connects to a socket of the system's log. That of syslog may be a stream.
func (s *sink) dial(kind imsg.SinkKind, path string) (err error) {
	s.Kind, s.path = kind, path
	s.file, err = dialLog(path, unix.SOCK_DGRAM)
	if err == unix.EPROTOTYPE && kind == imsg.SinkSyslog {
		s.Kind = imsg.SinkSyslogStream
		s.file, err = dialLog(path, unix.SOCK_STREAM)
	}
	return err
}

// logsToFile tells whether the log of g is a file that grows.
func (p *parent) logsToFile(g *generation) bool {
	for _, s := range []*sink{p.sink, g.sink} {
		if s == nil {
			continue
		}
		if info, err := s.file.Stat(); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// blindSink takes the place of a log that cannot be opened yet.
func blindSink(c *config.Config, foreground bool) (*sink, error) {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	s := &sink{Sink: imsg.Sink{Kind: imsg.SinkStream, Level: int(logs.LevelOf(c.LogLevel)), Facility: c.LogFacility}, file: f, path: syslogSocket}
	if destination(c, foreground, stderrIsJournal()) == "journal" {
		s.path = journalSocket
	}
	return s, nil
}

// moved tells whether the sink's name now leads elsewhere.
func (s *sink) moved() bool {
	if s.path == "" {
		return false
	}
	now, err := os.Stat(s.path)
	if err != nil {
		// A file that was moved away is made anew; a socket that is gone will
		// come back by itself.
		return s.Kind == imsg.SinkStream && s.info != nil
	}
	return s.info == nil || !os.SameFile(now, s.info)
}

// sendSeconds is how long one line may wait for a syslog daemon.
const sendSeconds = 1

// dialLog connects to a log socket. The descriptor blocks, but never for long.
func dialLog(path string, kind int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// It holds for connect too, which waits on a stream socket nobody accepts on.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: sendSeconds})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// stderrIsJournal follows systemd.exec(5): JOURNAL_STREAM names the device and
// inode that stderr must have.
func stderrIsJournal() bool {
	v := os.Getenv("JOURNAL_STREAM")
	if v == "" || !strings.Contains(v, ":") {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(2, &st) != nil {
		return false
	}
	return v == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
