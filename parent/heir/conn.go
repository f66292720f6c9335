package heir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/sys/unix"
)

const (
	maxMessage = 64 << 10 // octets of one
	// maxFiles is how many descriptors pass with one message (SCM_MAX_FD of Linux is
	// 253); more come with the next.
	maxFiles = 200
	// sendWait is how long one who does not read may hold up who speaks.
	sendWait = time.Second
)

// Conn is one end.
type Conn struct {
	file *os.File
	mu   sync.Mutex // sending
}

// Pair makes both ends. The second is for another program.
func Pair() (ours *Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "elder")
	ours, err = Open(os.NewFile(uintptr(fds[0]), "heir"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Open makes f, which it takes over, our end.
func Open(f *os.File) (*Conn, error) {
	fd := int(f.Fd()) // it blocks from here on
	for _, size := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, size, 4*maxMessage); err != nil {
			f.Close()
			return nil, fmt.Errorf("heir: %w", err)
		}
	}
	tv := unix.NsecToTimeval(sendWait.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		f.Close()
		return nil, fmt.Errorf("heir: %w", err)
	}
	return &Conn{file: f}, nil
}

// Serve gives what the other end says to handle until that is closed, and closes this one
// then. The files are handle's.
func (c *Conn) Serve(handle func(*Message, []*os.File)) error {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.file.Close()
	}()
	for {
		m, files, err := c.Receive(time.Time{})
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		handle(m, files)
	}
}

// Close ends it for both; Serve returns.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A close alone would not wake who waits.
	unix.Shutdown(int(c.file.Fd()), unix.SHUT_RDWR)
}

// Send says m. The files stay the caller's; more than pass at once follow with the same
// words again.
func (c *Conn) Send(m *Message, files ...*os.File) error {
	b, err := msgpack.Marshal(m)
	if err == nil && len(b) > maxMessage {
		err = errors.New("message too long")
	}
	if err != nil {
		return fmt.Errorf("heir: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for first := true; first || len(files) > 0; first = false {
		now := files[:min(len(files), maxFiles)]
		files = files[len(now):]
		if err := c.send(b, now); err != nil {
			return fmt.Errorf("heir: %w", err)
		}
	}
	return nil
}

func (c *Conn) send(b []byte, files []*os.File) error {
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			raw, err := f.SyscallConn()
			if err != nil {
				return err
			}
			if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return err
			}
		}
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(int(c.file.Fd()), b, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive waits for a message, at most until a time, if that is not zero. io.EOF is that
// the other end is closed. The files are the caller's.
func (c *Conn) Receive(until time.Time) (*Message, []*os.File, error) {
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*(maxFiles+1)))
	if !until.IsZero() {
		tv := unix.NsecToTimeval(max(time.Until(until).Nanoseconds(), 1000))
		if err := unix.SetsockoptTimeval(int(c.file.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return nil, nil, fmt.Errorf("heir: %w", err)
		}
		defer unix.SetsockoptTimeval(int(c.file.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, new(unix.Timeval))
	}
	var n, oobn, flags int
	err := error(unix.EINTR)
	for reset := false; err == unix.EINTR || err == unix.ECONNRESET && !reset; {
		// What it did not read is told once; then comes what it has said before.
		reset = err == unix.ECONNRESET
		n, oobn, flags, _, err = unix.Recvmsg(int(c.file.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case err == unix.EAGAIN:
		return nil, nil, errors.New("heir: the other end says nothing")
	case err == unix.ECONNRESET, err == nil && n == 0:
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, fmt.Errorf("heir: %w", err)
	}
	files, err := rights(oob[:oobn])
	m := new(Message)
	switch {
	case err != nil:
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("message cut short")
	default:
		err = msgpack.Unmarshal(b[:n], m)
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, nil, fmt.Errorf("heir: %w", err)
	}
	return m, files, nil
}

func rights(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range all {
		fds, err := unix.ParseUnixRights(&all[i])
		if err != nil {
			continue // no rights: nothing to close
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}
