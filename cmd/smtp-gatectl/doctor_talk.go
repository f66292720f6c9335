// What is said to the mail server, from where a session says it: greeting, EHLO, QUIT.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// talkTime is how long all of it may take. A server may look its client up before it
// greets; RFC 5321 section 4.5.3.2.1 grants it minutes, our clients do not.
const talkTime = 25 * time.Second

// maxReply bounds a reply, in octets.
const maxReply = 64 << 10

// call is a talk to be held.
type call struct {
	To   netip.AddrPort
	From netip.Addr // invalid: as the system has it
	Made bool       // the socket is the third descriptor, made by root as the parent does
	Name string     // for EHLO
	Said []byte     // ahead of all, before the server greets
}

// talk is what came of it, so far.
type talk struct {
	Local    netip.AddrPort // our end
	Greeting []string       // lines
	EHLO     []string
	Problem  string // what broke it off
}

// hold calls the server. between hears of the greeting, and says when to go on.
func (c *call) hold(between func(*talk) error) (t *talk, err error) {
	t = new(talk)
	end := time.Now().Add(talkTime)
	conn, err := c.dial(end)
	if err != nil {
		t.Problem = plainly(err).Error()
		return t, between(t)
	}
	defer conn.Close()
	conn.SetDeadline(end)
	conn.Write(c.Said) // whoever does not take it does not greet
	in := bufio.NewReader(io.LimitReader(conn, 4*maxReply))
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		t.Local = a.AddrPort()
	}
	var broken error
	t.Greeting, broken = hearReply(in)
	if broken != nil {
		t.Problem = plainly(broken).Error()
	}
	if err := between(t); err != nil || broken != nil || !positive(t.Greeting) {
		if broken == nil {
			io.WriteString(conn, "QUIT\r\n")
		}
		return t, err
	}
	if _, err := io.WriteString(conn, "EHLO "+c.Name+"\r\n"); err == nil {
		t.EHLO, err = hearReply(in)
		if err != nil {
			t.Problem = plainly(err).Error()
			return t, nil
		}
	}
	if _, err := io.WriteString(conn, "QUIT\r\n"); err == nil {
		hearReply(in) // what answers it is of no interest, but that it is not cut off
	}
	return t, nil
}

// dial connects as a session does.
func (c *call) dial(end time.Time) (net.Conn, error) {
	if !c.Made {
		d := net.Dialer{Deadline: end}
		if c.From.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.From, 0))
		}
		return d.Dial("tcp", c.To.String())
	}
	const fd = 3
	f := os.NewFile(fd, "socket")
	defer f.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if c.From.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(c.From, 0))); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	if err := connectUntil(fd, sockaddr(c.To), end); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// connectUntil connects a socket that does not block.
func connectUntil(fd int, to unix.Sockaddr, end time.Time) error {
	err := unix.Connect(fd, to)
	if !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		return err
	}
	for {
		left := time.Until(end)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(left/time.Millisecond)+1)
		if n > 0 {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// hearReply reads a reply, all of its lines.
func hearReply(in *bufio.Reader) (lines []string, err error) {
	size := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server hung up")
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errors.New("the server is silent")
			}
			return lines, err
		}
		if size += len(line); size > maxReply {
			return lines, errors.New("the reply is too long")
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 3 {
			return lines, fmt.Errorf("%q is no reply", line)
		}
		lines = append(lines, line)
		if len(line) == 3 || line[3] != '-' {
			return lines, nil
		}
	}
}

// positive tells whether a reply is one of success.
func positive(lines []string) bool {
	return len(lines) > 0 && lines[len(lines)-1][0] == '2'
}

// offers tells whether a reply to EHLO has an extension.
func offers(lines []string, name string) bool {
	for i, line := range lines {
		if i > 0 && len(line) > 4 {
			if word, _, _ := strings.Cut(line[4:], " "); strings.EqualFold(word, name) {
				return true
			}
		}
	}
	return false
}
