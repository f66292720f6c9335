// The keeper. The kernel answers questions about connections only to who has
// CAP_NET_ADMIN at each of them: a socket opened by root does not help later. That
// capability can rewrite the firewall, so what hears the network must not have it:
// a second process keeps it, and nothing else. It reads one kind of question, of
// fixed size, from the first process alone.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

const (
	endLen      = 16 + 2     // an address as IPv6 has it, a port
	questionLen = 2 * endLen // client, proxy
	verdictLen  = 1 + 2*endLen

	verdictFound   = 0
	verdictUnknown = 1
	verdictFailed  = 2 // the rest is the error's text
)

// openFinder starts the keeper as who. It returns the way to ask it, and where its
// end is told.
func openFinder(who sandbox.Identity) (finder, <-chan error, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "keeper's end")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe", keeperRole)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	// Its end shows at a pipe: once we are confined there is no waiting for processes.
	lives, life, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	defer life.Close()
	cmd.ExtraFiles = []*os.File{theirs, life}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if who.UID >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(who.UID), Gid: uint32(who.GID)}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := lives.Read(make([]byte, 1))
		ended <- err
	}()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	k := &keeper{conn: conn}
	// It has to say that it can do its work; otherwise nothing starts.
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := k.find(nobody, nobody); err != nil && !errors.Is(err, wire.ErrNotFound) {
		return nil, nil, err
	}
	return k.find, ended, nil
}

// keeper is the first process's view of the second. Questions go one by one: the
// kernel answers in microseconds.
type keeper struct {
	mu   sync.Mutex
	conn net.Conn
}

func (k *keeper) find(client, proxy netip.AddrPort) (origin, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn.SetDeadline(time.Now().Add(patience))
	if _, err := k.conn.Write(appendEnd(appendEnd(nil, client), proxy)); err != nil {
		return origin{}, fmt.Errorf("ask the keeper: %w", err)
	}
	var b [512]byte
	n, err := k.conn.Read(b[:])
	switch {
	case err != nil:
		// Its answer, late, would be taken for that to the next question. With
		// the socket the keeper ends, and so do we.
		k.conn.Close()
		return origin{}, fmt.Errorf("ask the keeper: %w", err)
	case n == verdictLen && b[0] == verdictFound:
		return origin{readEnd(b[1:]), readEnd(b[1+endLen:])}, nil
	case n == 1 && b[0] == verdictUnknown:
		return origin{}, wire.ErrNotFound
	case n > 0 && b[0] == verdictFailed:
		return origin{}, fmt.Errorf("the keeper says: %s", b[1:n])
	}
	return origin{}, errors.New("the keeper does not speak as it should")
}

// keep is the second process. Its end is the first one's.
func keep() error {
	f := os.NewFile(3, "first process")
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	f.Close()
	unix.CloseOnExec(4) // the pipe at which our end shows
	sandbox.SetName("smtp-gate-keep")
	t, err := openTracking()
	if err != nil {
		return err
	}
	if err := sandbox.Confine(&sandbox.Rights{Words: []string{"stdio", "inet-answer"}, Capabilities: 1 << unix.CAP_NET_ADMIN}); err != nil {
		return err
	}
	var b [questionLen + 1]byte
	for {
		n, err := conn.Read(b[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || n != questionLen {
			return errors.Join(fmt.Errorf("a question of %d octets", n), err)
		}
		if _, err := conn.Write(t.verdict(readEnd(b[:]), readEnd(b[endLen:]))); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// tracking is a netlink socket to connection tracking.
type tracking struct {
	fd  int
	seq uint32
}

func openTracking() (*tracking, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open connection tracking: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return nil, fmt.Errorf("open connection tracking: %w", err)
	}
	return &tracking{fd: fd}, nil
}

func (t *tracking) verdict(client, proxy netip.AddrPort) []byte {
	began, err := t.find(client, proxy)
	switch {
	case err == nil:
		return appendEnd(appendEnd([]byte{verdictFound}, began.src), began.dst)
	case errors.Is(err, wire.ErrNotFound):
		return []byte{verdictUnknown}
	}
	return append([]byte{verdictFailed}, err.Error()...)
}

func (t *tracking) find(client, proxy netip.AddrPort) (tuple, error) {
	reply := tuple{proxy, client}
	if reply.src.Addr().BitLen() != reply.dst.Addr().BitLen() {
		return tuple{}, wire.ErrNotFound
	}
	t.seq++
	if err := unix.Sendto(t.fd, ctQuestion(t.seq, reply), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return tuple{}, fmt.Errorf("ask connection tracking: %w", err)
	}
	var b [8 << 10]byte
	for {
		n, _, err := unix.Recvfrom(t.fd, b[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return tuple{}, fmt.Errorf("ask connection tracking: %w", err)
		case n >= unix.NLMSG_HDRLEN && binary.NativeEndian.Uint32(b[8:]) != t.seq:
			continue // late, for a question that was given up
		}
		return ctAnswer(b[:n], t.seq, reply)
	}
}

func appendEnd(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().As16()
	return binary.BigEndian.AppendUint16(append(b, ip[:]...), a.Port())
}

func readEnd(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[16:]))
}
