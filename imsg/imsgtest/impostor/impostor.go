// Package impostor is somebody who says what a room may say, and means no good.
package impostor

import (
	"bytes"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Body is the body of a message, and of which type.
type Body struct {
	Type   imsg.Type
	Octets []byte
}

// Lockd plays a lockd on a control socket that answers each question by what it is
// told to, and returns the socket's path.
func Lockd(t testing.TB, answer *atomic.Pointer[Body]) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go answerFalsely(c, answer)
		}
	}()
	return path
}

func answerFalsely(c *net.UnixConn, answer *atomic.Pointer[Body]) {
	defer c.Close()
	frame := make([]byte, 1<<16)
	for {
		n, err := c.Read(frame)
		if err != nil || n < imsg.HeaderLen {
			return
		}
		a := answer.Load()
		// The sender's mark and the question's id stay.
		head := bytes.Clone(frame[:imsg.HeaderLen])
		binary.LittleEndian.PutUint16(head, uint16(a.Type))
		clear(head[8:])
		if _, err := c.Write(append(head, a.Octets...)); err != nil {
			return
		}
	}
}

// Sayable returns the messages that are told or asked of a room.
func Sayable(room imsg.Room) (all []*imsg.Entry) {
	for i := range imsg.Table {
		if e := &imsg.Table[i]; e.To.Has(room) && e.Way != imsg.Answer {
			all = append(all, e)
		}
	}
	return all
}
