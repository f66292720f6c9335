// The log's other end. The parent opens it, for itself and for the rooms, whose
// chroot has no /dev/log. This file owns noticing when the name has come to mean
// another socket or file: syslog restarted, the file rotated; and that what one room
// does to its end of the log is not done to the others'.

package host

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// The names systems have for their log sockets.
const (
	syslogSocket  = "/dev/log"
	journalSocket = "/run/systemd/journal/socket"
)

// Sink is an open log.
type Sink struct {
	imsg.Sink
	File *os.File

	path string      // empty: it has no name to watch
	info fs.FileInfo // of path when it was opened
}

// OpenSink opens a log: "stderr", "journal", "syslog", or else the path of a file, which
// is made. What of settings is not told by that stays.
func OpenSink(target string, settings imsg.Sink) (*Sink, error) {
	s := &Sink{Sink: settings}
	if err := s.open(target); err != nil {
		return nil, err
	}
	switch {
	case s.path == "":
	case s.Kind == imsg.SinkStream:
		s.info, _ = s.File.Stat()
	default:
		s.info, _ = os.Stat(s.path)
	}
	return s, nil
}

// NullSink takes the place of one that cannot be opened yet: it has moved as soon as
// that can be.
func NullSink(target string, settings imsg.Sink) (*Sink, error) {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	s := &Sink{Sink: settings, File: f, path: syslogSocket}
	s.Kind = imsg.SinkStream
	if target == "journal" {
		s.path = journalSocket
	}
	return s, nil
}

func (s *Sink) open(target string) (err error) {
	switch target {
	case "stderr":
		s.Kind = imsg.SinkStream
		s.File, err = openStderr()
	case "journal":
		err = s.dial(imsg.SinkJournal, journalSocket)
	case "syslog":
		err = s.dial(imsg.SinkSyslog, syslogSocket)
	default:
		s.Kind, s.path = imsg.SinkStream, target
		if err := MakeWay(s.path); err != nil {
			return err
		}
		s.File, err = openLog(s.path, makeWary)
	}
	return err
}

// openStderr opens what stderr leads to anew, to append to it. All others who have a
// file for their stderr append as well from now on, or they would write over our lines.
func openStderr() (*os.File, error) {
	if raw, err := os.Stderr.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { appendToFile(int(fd)) })
	}
	if f, err := reopen(os.Stderr, ""); err == nil {
		return f, nil
	}
	return duplicate(os.Stderr)
}

func appendToFile(fd int) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_APPEND == 0 {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_APPEND)
	}
}

// openLog opens a file or what else has its name, to append, with what opens. The
// descriptor blocks, but the call does not: a pipe may have no reader.
func openLog(path string, opens func(path string, flags int, perm uint32) (int, error)) (*os.File, error) {
	fd, err := opens(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// dial connects to a socket of the system's log. That of syslog may be a stream.
func (s *Sink) dial(kind imsg.SinkKind, path string) (err error) {
	s.Kind, s.path = kind, path
	s.File, err = dialLog(path, unix.SOCK_DGRAM)
	if err == unix.EPROTOTYPE && kind == imsg.SinkSyslog {
		s.Kind = imsg.SinkSyslogStream
		s.File, err = dialLog(path, unix.SOCK_STREAM)
	}
	return err
}

// Moved tells whether the sink's name now leads elsewhere.
func (s *Sink) Moved() bool {
	if s.path == "" {
		return false
	}
	now, err := os.Stat(s.path)
	if err != nil {
		// A file that was moved away is made anew; a socket that is gone will
		// come back by itself.
		return s.Kind == imsg.SinkStream && s.info != nil
	}
	if s.info == nil || !os.SameFile(now, s.info) {
		return true
	}
	// We do not hold a socket's name, so the next of that name may get its inode.
	return s.Kind != imsg.SinkStream && !now.ModTime().Equal(s.info.ModTime())
}

// sendSeconds is how long one line may wait for a syslog daemon.
const sendSeconds = 1

// dialLog connects to a log socket, at once or not at all: a stream socket that nobody
// accepts on is full one day. The descriptor blocks, but never for long.
func dialLog(path string, kind int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: sendSeconds})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// IsFile tells whether the log is a file that grows.
func (s *Sink) IsFile() bool {
	info, err := s.File.Stat()
	return err == nil && info.Mode().IsRegular()
}

// Own opens the log anew for one who shall share nothing with others but where the
// lines go: neither its place in a file, nor its mode, nor whether it is open. It is
// write-only, even where the log is a terminal. What cannot be opened anew is shared:
// a socket we were started with, or whose daemon takes nobody else just now, or a
// terminal or pipe that is not our user's.
func (s *Sink) Own() (f *os.File, err error) {
	switch s.Kind {
	case imsg.SinkSyslog, imsg.SinkJournal:
		f, err = dialLog(s.path, unix.SOCK_DGRAM)
	case imsg.SinkSyslogStream:
		f, err = dialLog(s.path, unix.SOCK_STREAM)
	default:
		f, err = reopen(s.File, s.path)
	}
	if err != nil {
		f, err = duplicate(s.File)
	}
	if err == nil {
		keepWhole(f)
	}
	return f, err
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

// StderrIsJournal follows systemd.exec(5): JOURNAL_STREAM names the device and
// inode that stderr must have.
func StderrIsJournal() bool {
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
