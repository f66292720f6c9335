// Scans over one connection to clamd, one after the other (clamd(8), IDSESSION). clamd
// numbers the commands of such a connection, and begins each answer with the number of
// its command. This file owns that an answer counts for its own command alone.

package scand

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// idsession is a connection to clamd that outlives a scan.
type idsession struct {
	*conn
	number uint64    // of the last command
	idle   time.Time // since when no scan uses it
}

// end says goodbye, as far as that can be said at once.
func (s *idsession) end() {
	unix.SendmsgN(s.fd, []byte("zEND\x00"), nil, nil, unix.MSG_NOSIGNAL)
	s.close()
}

// converse has clamd look at m over a connection that is kept, or else a fresh one. One
// that clamd has closed before it said anything, as it does with an idle one and when it
// is restarted, costs a second try, over a fresh one. There is no third.
func (c *clamd) converse(ctx context.Context, m *message) (f finding, err error) {
	s := c.kept.take(ctx)
	for range 2 {
		if s == nil {
			conn, err := c.at.dial(ctx)
			if err != nil {
				return finding{}, err
			}
			s = &idsession{conn: conn}
		}
		if f, err = c.look(s, m); !errors.Is(err, errClosed) {
			break
		}
		s = nil
	}
	return f, err
}

// look has clamd look at m over s, which is kept only if clamd has answered as it
// should, once, and before the scan's time was over.
func (c *clamd) look(s *idsession, m *message) (f finding, err error) {
	good := false
	defer func() {
		if good && s.detach() {
			c.kept.put(s)
		} else {
			s.close()
		}
	}()
	hello := ""
	if s.number == 0 {
		hello = "zIDSESSION\x00"
	}
	s.number++
	answer, sendErr, err := s.ask(0, func(conn *conn) error {
		if c.method == imsg.MethodFildes {
			return sendFildes(conn, hello, m)
		}
		return sendInstream(conn, hello, m)
	})
	if err == nil {
		f, err = parseNumbered(string(answer), s.number)
	}
	if err == nil && f.outcome != imsg.Caught {
		err = sendErr
	}
	good = err == nil && sendErr == nil && bytes.IndexByte(answer, 0) == len(answer)-1
	return f, err
}

// sendFildes hands the descriptor over with the command, and with the octet behind it
// that clamd wants.
func sendFildes(conn *conn, hello string, m *message) error {
	// Fd would switch the descriptor's mode under the other engines.
	raw, err := m.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		sent = conn.send([]byte(hello+"zFILDES\x00\x00"), unix.UnixRights(int(fd)))
	})
	return errors.Join(err, sent)
}

// A chunk of INSTREAM is its length in 4 octets, big-endian, and its octets; one
// of no octets ends the stream.
const chunkSize = 64 << 10

var chunks = sync.Pool{New: func() any { return new([128 + chunkSize]byte) }}

// sendInstream sends the message. What fits goes with the command, in one piece.
func sendInstream(conn *conn, hello string, m *message) error {
	buf := chunks.Get().(*[128 + chunkSize]byte)
	defer chunks.Put(buf)
	out := append(buf[:0], hello+"zINSTREAM\x00"...)
	for at := int64(0); at < m.size; {
		head := len(out)
		body := buf[head+4:][:min(chunkSize, m.size-at)]
		n, err := m.file.ReadAt(body, at)
		if n == 0 && err == io.EOF {
			return errShort
		}
		if n == 0 {
			return fmt.Errorf("read the message: %w", err)
		}
		binary.BigEndian.PutUint32(buf[head:], uint32(n))
		out = buf[:head+4+n]
		if at += int64(n); at < m.size {
			if err := conn.send(out, nil); err != nil {
				return err
			}
			out = buf[:0]
		}
	}
	return conn.send(append(out, 0, 0, 0, 0), nil)
}

// parseNumbered reads the answer to the command of a number: every line of it must begin
// with that. Whatever else has come belongs to another command, or to no scan.
func parseNumbered(answer string, number uint64) (finding, error) {
	own := strconv.FormatUint(number, 10) + ": "
	var rest strings.Builder
	for line := range strings.SplitAfterSeq(answer, "\x00") {
		text, ok := strings.CutPrefix(line, own)
		if !ok && line != "" {
			return finding{}, fmt.Errorf("%q is no answer to command %d of an IDSESSION", imsg.Printable(line, maxName), number)
		}
		rest.WriteString(text)
	}
	return parseClamd(rest.String(), "\x00")
}
