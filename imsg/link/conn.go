// One end of a link: datagrams in and out, with their descriptors. This file
// owns the socket; what may be said is decided in serve.go and by imsg.Table.

package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// maxQueue bounds the frames that wait for a full kernel queue, which
	// itself holds about 167 small ones on Linux.
	maxQueue = 512
	// maxFlight bounds the open calls of one end of a link.
	maxFlight = 256
	// maxFiles is more than any message carries, so that a message with too
	// many shows as such and they can all be closed.
	maxFiles = 16
)

// Conn is one end of a link. Send and Ask may be used by any goroutine, Serve by one.
type Conn struct {
	self, peer imsg.Room
	raw        socket
	reads      syscall.RawConn // nil: its reader waits for it himself
	closeRaw   func() error
	done       chan struct{}
	closed     atomic.Bool
	overflowed atomic.Bool // closed because its queue was full of answers
	pace       imsg.Pace   // of what is received; zero: any
	most       int         // frames in queue
	lacking    func(imsg.Message) bool

	sendMu  sync.Mutex
	queue   []frame // waiting for the kernel; its first is being written by flush
	failure error   // of the one that flush could not write
	attempt attempt

	callMu  sync.Mutex
	calls   map[uint32]*call
	working map[uint32]context.CancelFunc // what ends the work on the peer's questions
	lastID  uint32
	flight  chan struct{}
}

// attempt is one sendmsg that does not wait, kept so that it costs no allocation.
type attempt struct {
	data, oob []byte
	err       error
	try       func(fd uintptr)
}

// frame is an encoded message that could not be sent at once.
type frame struct {
	data []byte
	fds  []int // ours: duplicates, closed once sent
}

// Pair makes a link. Neither end passes an exec, and neither blocks: a room may not
// change the mode of what it is handed. The receiver of one gives it to NewConn.
func Pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}

// NewConn makes f, one end of a link or an accepted control connection, the end
// of self towards peer, which Serve reads. It takes f over.
func NewConn(f *os.File, self, peer imsg.Room) (*Conn, error) {
	fd, err := take(f)
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", peer, err)
	}
	file := os.NewFile(uintptr(fd), "link to "+peer.String())
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("link to %s: %w", peer, err)
	}
	c := newConn(raw, file.Close, self, peer)
	c.reads = raw
	return c, nil
}

// take returns a duplicate of f that does not block, and is nobody's yet, and closes f.
func take(f *os.File) (fd int, err error) {
	fd, err = dup(f)
	f.Close()
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // does nothing to one that is
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// socket is what a link needs of its descriptor, which does not block. Both may be called
// together; Control waits for nothing.
type socket interface {
	Control(f func(fd uintptr)) error
	Write(f func(fd uintptr) (done bool)) error
}

// newConn is NewConn of a descriptor whose reader waits for it himself: Serve is not for
// such a one.
func newConn(raw socket, closeRaw func() error, self, peer imsg.Room) *Conn {
	c := &Conn{
		self: self, peer: peer, raw: raw, closeRaw: closeRaw, most: maxQueue,
		done:    make(chan struct{}),
		calls:   make(map[uint32]*call),
		working: make(map[uint32]context.CancelFunc),
		flight:  make(chan struct{}, maxFlight),
	}
	c.attempt.try = func(fd uintptr) { c.attempt.err = sendmsg(int(fd), c.attempt.data, c.attempt.oob) }
	if n := largest(self, peer); n > imsg.MaxBody {
		raw.Control(func(fd uintptr) { raiseBuffer(int(fd), n+imsg.HeaderLen) })
	}
	return c
}

// largest returns the size of the largest body that may go from one to other.
func largest(one, other imsg.Room) int {
	n := 0
	for i := range imsg.Table {
		if e := &imsg.Table[i]; e.Crosses(one, other) {
			n = max(n, e.Max)
		}
	}
	return n
}

// bringsFiles tells whether anything that one may say to another has descriptors, and is
// heard.
func bringsFiles(one, other imsg.Room) bool {
	for i := range imsg.Table {
		if e := &imsg.Table[i]; e.Files > 0 && e.From.Has(one) && e.To.Has(other) {
			return true
		}
	}
	return false
}

// Limit has more than a pace allows be a bad message, whatever it is: an answer
// nobody waits for costs its reader as much as a question. It must be called before
// Serve.
func (c *Conn) Limit(p imsg.Pace) { c.pace = p }

// Queue has at most so many frames wait until the other end takes them, in the place of
// what is right for a room. It must be called before Serve.
func (c *Conn) Queue(frames int) { c.most = frames }

// Lacking has f hear what is told whose descriptors the system had none free for at this
// end. False, or no f: the link fails. It must be called before Serve.
func (c *Conn) Lacking(f func(imsg.Message) bool) { c.lacking = f }

// Peer returns the room at the other end.
func (c *Conn) Peer() imsg.Room { return c.peer }

// Done is closed when the link has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the link. Open calls fail with Gone.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	err := c.closeRaw()
	close(c.done)
	c.sendMu.Lock()
	for _, f := range c.queue {
		f.free()
	}
	c.queue = nil
	c.sendMu.Unlock()
	go c.endAll()
	return err
}

func (f frame) free() {
	for _, fd := range f.fds {
		unix.Close(fd)
	}
}

// Send tells m. The files stay the caller's. It never waits: what the kernel does
// not take is queued, and a full queue is Busy, but for what gives something back.
// Gone means the link has ended.
func (c *Conn) Send(m imsg.Notice, files ...*os.File) error {
	e := imsg.Row(m)
	if e == nil || e.Way != imsg.Tell {
		return fmt.Errorf("send to %s: message %T is not told", c.peer, m)
	}
	return c.send(e, m, header{}, files)
}

// send writes m, of e's type, with the id and the deadline of h.
func (c *Conn) send(e *imsg.Entry, m imsg.Message, h header, files []*os.File) error {
	if !e.From.Has(c.self) || !e.To.Has(c.peer) || len(files) != e.Files {
		return fmt.Errorf("send %s to %s with %d files: the table forbids it", e.Name, c.peer, len(files))
	}
	// An honest room learns here what would have its peer take it for another.
	if err := e.Check(m); err != nil {
		return fmt.Errorf("send %s to %s: %w", e.Name, c.peer, err)
	}
	k := codecs.Get().(*codec)
	defer k.free()
	data, err := k.encode(e, m, h.id)
	if err != nil {
		return err
	}
	setDeadline(data, h.until)
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.closed.Load() {
		return imsg.Gone
	}
	if len(c.queue) == 0 {
		err := c.write(data, files)
		if err == nil {
			return nil
		}
		if err != unix.EAGAIN && err != unix.ENOBUFS {
			return c.broken(err)
		}
	}
	if len(c.queue) >= c.most && !e.Gives && !e.Report {
		return imsg.Busy
	}
	f := frame{data: append([]byte(nil), data...)}
	for _, file := range files {
		fd, err := dup(file)
		if err != nil {
			f.free()
			return err
		}
		f.fds = append(f.fds, fd)
	}
	c.queue = append(c.queue, f)
	if len(c.queue) == 1 {
		go c.flush()
	}
	return nil
}

// write makes one attempt that does not wait; sendMu is held.
func (c *Conn) write(data []byte, files []*os.File) error {
	a := &c.attempt
	a.data, a.oob = data, nil
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			// Fd would switch the descriptor to blocking mode.
			raw, err := f.SyscallConn()
			if err != nil {
				return err
			}
			if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return err
			}
		}
		a.oob = unix.UnixRights(fds...)
	}
	if err := c.raw.Control(a.try); err != nil {
		return err
	}
	return a.err
}

func sendmsg(fd int, data, oob []byte) error {
	for {
		_, err := unix.SendmsgN(fd, data, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

func (c *Conn) broken(err error) error {
	if c.closed.Load() || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		return imsg.Gone
	}
	return fmt.Errorf("send to %s: %w", c.peer, err)
}

func dup(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return n, err
}

// flush writes the queue as the kernel takes it and ends when it is empty.
func (c *Conn) flush() {
	for {
		c.sendMu.Lock()
		if len(c.queue) == 0 {
			c.sendMu.Unlock()
			return
		}
		f := c.queue[0]
		c.sendMu.Unlock()

		var oob []byte
		if len(f.fds) > 0 {
			oob = unix.UnixRights(f.fds...)
		}
		var err error
		werr := c.raw.Write(func(fd uintptr) bool {
			err = sendmsg(int(fd), f.data, oob)
			return err != unix.EAGAIN
		})
		if err == unix.ENOBUFS { // the BSDs: no room, and nothing to wait on
			time.Sleep(time.Millisecond)
			continue
		}
		if err = errors.Join(werr, err); err != nil {
			c.fail(c.broken(err))
			return
		}
		c.sendMu.Lock()
		f.free()
		if len(c.queue) > 0 {
			c.queue = c.queue[1:]
		}
		c.sendMu.Unlock()
	}
}

// fail ends the link for what Serve then returns.
func (c *Conn) fail(err error) {
	if err != imsg.Gone {
		c.sendMu.Lock()
		c.failure = err
		c.sendMu.Unlock()
	}
	c.Close()
}

// datagram is what receiving one needs, made once.
type datagram struct {
	buf []byte
	oob []byte

	n, oobn, flags int
	err            error
	try            func(fd uintptr) bool
}

// newDatagram receives up to size octets, and descriptors only where they may come: to close
// one that somebody has sent takes as long as he likes, if he has made its file system.
func newDatagram(size int, files bool) *datagram {
	r := &datagram{buf: make([]byte, size)}
	if files {
		r.oob = make([]byte, unix.CmsgSpace(maxFiles*4))
	}
	r.try = func(fd uintptr) bool {
		r.n, r.oobn, r.flags, _, r.err = unix.Recvmsg(int(fd), r.buf, r.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return r.err != unix.EAGAIN && r.err != unix.EINTR
	}
	return r
}

// received is the datagram that was read. io.EOF is the other room's end. Another error
// than a bad message is the system's: nobody can bring it about from the other end. The
// files are the caller's, with any error too.
func (c *Conn) received(r *datagram) (data []byte, files []*os.File, err error) {
	if r.oobn > 0 {
		files, err = rights(r.oob[:r.oobn])
	}
	switch {
	case errors.Is(r.err, unix.ECONNRESET):
		return nil, files, io.EOF
	case r.err != nil:
		return nil, files, fmt.Errorf("receive from %s: %w", c.peer, r.err)
	case err != nil:
		return nil, files, bad("%v", err)
	case r.n == 0:
		return nil, files, io.EOF
	case r.flags&unix.MSG_TRUNC != 0:
		return nil, files, bad("longer than anything %s may say", c.peer)
	}
	return r.buf[:r.n], files, nil
}

func rights(oob []byte) (files []*os.File, err error) {
	fds, err := receivedFrom(oob)
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "received"))
	}
	return files, err
}

// receivedFrom returns the descriptors that came along, with an error too.
func receivedFrom(oob []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		if h := messages[i].Header; h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_RIGHTS {
			continue
		}
		// ParseUnixRights panics at a part of one.
		if len(messages[i].Data)%4 != 0 {
			err = errors.New("a descriptor is cut")
			continue
		}
		fds, perr := unix.ParseUnixRights(&messages[i])
		if perr != nil {
			err = perr
		}
		all = append(all, fds...)
	}
	return all, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
