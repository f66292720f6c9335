//go:build liar

// The relay between a room and its links: it sits on both ends of each, from the link the
// room is born with to those that come by it. This file owns the descriptors.

package main

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// liar is on all links of a room.
type liar struct {
	self   imsg.Room
	manner atomic.Pointer[manner] // of what the room says by itself
	goods  []*os.File             // to be sent where none belong

	mu     sync.Mutex
	spare  [][2]*os.File
	taps   []*tap
	change chan struct{}   // closed when taps change
	own    map[uint64]bool // numbers of sessions that were admitted
}

// tap is a link as the relay has it.
type tap struct {
	self   imsg.Room
	room   imsg.Room
	member int
	out    *os.File // towards the peer
	gone   chan struct{}
	end    sync.Once
	before map[imsg.Type][]byte // answers; of the goroutine that carries what the room says
}

func newLiar(self imsg.Room, spare int) (*liar, error) {
	l := &liar{self: self, change: make(chan struct{}), own: make(map[uint64]bool)}
	for range spare {
		a, b, err := link.Pair()
		if err != nil {
			return nil, err
		}
		l.spare = append(l.spare, [2]*os.File{a, b})
	}
	return l, nil
}

// splice puts the relay on a link and returns the room's new end of it.
func (l *liar) splice(out *os.File, room imsg.Room, member int) (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) == 0 {
		return nil, errors.New("the liar has no pair left")
	}
	pair := l.spare[0]
	l.spare = l.spare[1:]
	w := &tap{self: l.self, room: room, member: member, out: out, gone: make(chan struct{})}
	l.taps = append(l.taps, w)
	close(l.change)
	l.change = make(chan struct{})
	go l.pump(w, out, pair[0], l.heard)
	go l.pump(w, pair[0], out, l.said)
	return pair[1], nil
}

// wait returns the link to a peer once there is one, of several the first or the second.
func (l *liar) wait(room imsg.Room, second bool) *tap {
	late := time.After(answerTime)
	for {
		l.mu.Lock()
		newest := map[int]*tap{}
		for _, t := range l.taps {
			if t.room == room {
				newest[t.member] = t
			}
		}
		change := l.change
		l.mu.Unlock()
		all := slices.Sorted(maps.Keys(newest))
		switch {
		case second && len(all) > 1:
			return newest[all[1]]
		case len(all) > 0:
			return newest[all[0]]
		}
		select {
		case <-change:
		case <-late:
			return nil
		}
	}
}

// linkTo returns the link to a certain room, which may just be replaced; nil if that has
// ended.
func (l *liar) linkTo(p *imsg.BadPeer) *tap {
	late := time.After(answerTime / 5)
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.taps, func(t *tap) bool { return t.room == p.Room && t.member == p.Member })
		change := l.change
		if i >= 0 {
			defer l.mu.Unlock()
			return l.taps[i]
		}
		l.mu.Unlock()
		select {
		case <-change:
		case <-late:
			return nil
		}
	}
}

// cut ends a link on both sides.
func (l *liar) cut(w *tap, inner *os.File) {
	w.end.Do(func() {
		l.mu.Lock()
		l.taps = slices.DeleteFunc(l.taps, func(o *tap) bool { return o == w })
		l.mu.Unlock()
		w.out.Close()
		inner.Close()
		close(w.gone)
	})
}

// pump carries datagrams one way; through may change them.
func (l *liar) pump(w *tap, from, to *os.File, through func(*tap, []byte, []*os.File) ([][]byte, []*os.File)) {
	inner := from
	if from == w.out {
		inner = to
	}
	defer l.cut(w, inner)
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	buf, oob := make([]byte, 1<<20+imsg.HeaderLen), make([]byte, unix.CmsgSpace(16*4))
	for {
		var n, oobn int
		var err error
		rerr := raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			return err != unix.EAGAIN && err != unix.EINTR
		})
		if rerr != nil || err != nil || n == 0 {
			return
		}
		files := came(oob[:oobn])
		frames, pass := through(w, buf[:n], files)
		for _, f := range frames {
			if err = say(to, f, pass); err != nil {
				break
			}
		}
		for _, f := range append(files, pass...) {
			f.Close()
		}
		if err != nil {
			return
		}
	}
}

func came(oob []byte) (files []*os.File) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "relayed"))
		}
	}
	return files
}

// heard is what a peer says. A link that comes is spliced.
func (l *liar) heard(w *tap, frame []byte, files []*os.File) ([][]byte, []*os.File) {
	e := imsg.RowOf(imsg.Type(binary.LittleEndian.Uint16(frame)))
	var a imsg.Admission
	if e != nil && e.Name == "Admission" && decode(frame, &a) == nil {
		l.mu.Lock()
		l.own[a.Number] = true
		l.mu.Unlock()
	}
	if e == nil || e.Name != "Peer" || len(files) != 1 {
		return [][]byte{frame}, files
	}
	var p imsg.Peer
	if decode(frame, &p) != nil {
		return [][]byte{frame}, files
	}
	fd := dup(files[0])
	inner, err := l.splice(os.NewFile(uintptr(fd), "link"), p.Room, p.Member)
	if err != nil {
		return [][]byte{frame}, files
	}
	return [][]byte{frame}, []*os.File{inner}
}

// dup does not change the descriptor's mode, as Fd would.
func dup(f *os.File) (n int) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1
	}
	raw.Control(func(fd uintptr) { n, _ = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return n
}

// said is what the room says by itself.
func (l *liar) said(w *tap, frame []byte, files []*os.File) ([][]byte, []*os.File) {
	if m := l.manner.Load(); m != nil && w.room != imsg.Parent {
		return (*m)(w, frame), files
	}
	return [][]byte{frame}, files
}

// say sends one datagram to the peer.
func (w *tap) say(frame []byte, files []*os.File) error { return say(w.out, frame, files) }

func say(to *os.File, frame []byte, files []*os.File) error {
	var fds []int
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	raw, err := to.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), frame, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	return errors.Join(werr, err)
}
