// The engine that asks clamd (clamd(8), section COMMANDS). Commands have the form
// z, ended by NUL, and so have their answers. SCAN has the form it had before there
// were others, a line: some who speak that are not clamd.

package scand

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

type clamd struct {
	at     address
	method imsg.Method
	spool  string
}

func newClamd(c *imsg.EngineConfig, at address, spool string) (engine, error) {
	method := c.Method
	switch {
	case method == imsg.MethodAuto && at.network == "unix":
		method = imsg.MethodFildes
	case method == imsg.MethodAuto:
		method = imsg.MethodInstream
	case method == imsg.MethodFildes && at.network != "unix":
		return nil, errors.New("a descriptor can be handed over through a UNIX socket only")
	}
	return &clamd{at, method, spool}, nil
}

func (c *clamd) scan(ctx context.Context, m *message) (finding, error) {
	var send func(net.Conn) error
	end := "\x00"
	switch c.method {
	case imsg.MethodFildes:
		send = func(conn net.Conn) error { return sendFildes(conn, m) }
	case imsg.MethodInstream:
		send = func(conn net.Conn) error { return sendInstream(conn, m) }
	case imsg.MethodScan:
		path, err := m.path(c.spool)
		if err != nil {
			return finding{}, err
		}
		send = func(conn net.Conn) error {
			_, err := conn.Write([]byte("SCAN " + path + "\n"))
			return err
		}
		end = "\n"
	default:
		return finding{}, errors.New("unknown method")
	}
	answer, sendErr, err := c.at.ask(ctx, -1, send)
	if err != nil {
		return finding{}, fmt.Errorf("clamd: %w", err)
	}
	f, err := parseClamd(string(answer), end)
	if err == nil && f.outcome != imsg.Caught {
		err = sendErr
	}
	if err != nil {
		return finding{}, fmt.Errorf("clamd: %w", err)
	}
	return f, nil
}

// sendFildes hands the descriptor over, with one octet behind the command.
func sendFildes(conn net.Conn, m *message) error {
	u := conn.(*net.UnixConn)
	if _, err := u.Write([]byte("zFILDES\x00")); err != nil {
		return err
	}
	// Fd would switch the descriptor's mode under the other engines.
	raw, err := m.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		_, _, sent = u.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
	})
	return errors.Join(err, sent)
}

// A chunk of INSTREAM is its length in 4 octets, big-endian, and its octets; one
// of no octets ends the stream.
const chunkSize = 64 << 10

var chunks = sync.Pool{New: func() any { return new([4 + chunkSize]byte) }}

func sendInstream(conn net.Conn, m *message) error {
	if _, err := conn.Write([]byte("zINSTREAM\x00")); err != nil {
		return err
	}
	chunk := chunks.Get().(*[4 + chunkSize]byte)
	defer chunks.Put(chunk)
	for at := int64(0); at < m.size; {
		n, err := m.file.ReadAt(chunk[4:4+min(chunkSize, m.size-at)], at)
		if n == 0 && err == io.EOF {
			return errShort
		}
		if n == 0 {
			return fmt.Errorf("read the message: %w", err)
		}
		binary.BigEndian.PutUint32(chunk[:], uint32(n))
		if _, err := conn.Write(chunk[:4+n]); err != nil {
			return err
		}
		at += int64(n)
	}
	_, err := conn.Write(make([]byte, 4))
	return err
}

// parseClamd reads a whole answer, of which each line ends in end. One that ends in
// LF is whole when the connection is closed, its last LF or none. clamd may send a
// line twice. Lines that differ are no answer, unless one of them names a virus.
func parseClamd(answer, end string) (finding, error) {
	text, whole := strings.CutSuffix(answer, end)
	if !whole && end == "\x00" {
		return finding{}, fmt.Errorf("cut answer %q", imsg.Printable(answer, maxName))
	}
	var first finding
	var problem error
	differ := false
	lines := strings.Split(text, end)
	for i, line := range lines {
		f, err := parseClamdLine(strings.TrimSuffix(line, "\r"))
		if f.outcome == imsg.Caught {
			return f, nil
		}
		if i == 0 {
			first, problem = f, err
		}
		differ = differ || line != lines[0]
	}
	if differ {
		return finding{}, errors.New("more than one answer")
	}
	return first, problem
}

// parseClamdLine reads `SUBJECT: OK`, `SUBJECT: NAME FOUND`, or what ends in ERROR.
func parseClamdLine(line string) (finding, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return finding{}, errors.New("more than one answer")
	}
	if problem, ok := strings.CutSuffix(line, " ERROR"); ok {
		return finding{}, errors.New(imsg.Printable(problem, maxProblem))
	}
	if i := strings.LastIndex(line, ": "); i > 0 {
		word := line[i+2:]
		if word == "OK" {
			return finding{outcome: imsg.Clean}, nil
		}
		if word == "FOUND" {
			return caught(""), nil // whatever it is called
		}
		if name, ok := strings.CutSuffix(word, " FOUND"); ok {
			return caught(name), nil
		}
	}
	return finding{}, fmt.Errorf("unknown answer %q", imsg.Printable(line, maxName))
}
