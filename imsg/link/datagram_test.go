package link

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// ways are the links that the table knows, each in both directions: who hears whom.
func ways() (all [][2]imsg.Room) {
	for self := range imsg.Control + 1 {
		for peer := range imsg.Control + 1 {
			if largest(peer, self) > 0 {
				all = append(all, [2]imsg.Room{self, peer})
			}
		}
	}
	return all
}

// FuzzServe: whatever two datagrams hold, and with however many descriptors they come,
// cut or not, their reader ends well or calls them a bad message, a handler gets as many
// files as the table says, and once it has closed them no descriptor is left. All that
// is kept of them has its place in the reader's one buffer.
func FuzzServe(f *testing.F) {
	links := ways()
	for i := range imsg.Table {
		e := &imsg.Table[i]
		way := slices.IndexFunc(links, func(l [2]imsg.Room) bool { return e.To.Has(l[0]) && e.From.Has(l[1]) })
		id, until := uint32(7), int64(0)
		if e.Way == imsg.Tell {
			id = 0
		}
		if e.Way == imsg.Ask {
			until = 1 << 62
		}
		frame, err := encode(full(e), id)
		if err != nil {
			f.Fatal(err)
		}
		frame = bytes.Clone(frame)
		setDeadline(frame, until)
		f.Add(uint8(way), frame, uint8(e.Files), frame, uint8(e.Files+1))
	}
	f.Add(uint8(0), []byte{}, uint8(1), []byte{}, uint8(0))
	f.Add(uint8(1), []byte{1}, uint8(maxFiles+1), []byte{2}, uint8(255))
	f.Add(uint8(2), make([]byte, 70<<10), uint8(maxFiles), []byte{2}, uint8(1))
	f.Fuzz(func(t *testing.T, way uint8, one []byte, files uint8, other []byte, otherFiles uint8) {
		self, peer := links[int(way)%len(links)][0], links[int(way)%len(links)][1]
		ours, theirs, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewConn(ours, self, peer)
		if err != nil {
			t.Fatal(err)
		}
		rest, sent, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rest.Close()
		for _, d := range []struct {
			data  []byte
			files uint8
		}{{one, files}, {other, otherFiles}} {
			var oob []byte
			if d.files > 0 {
				oob = unix.UnixRights(slices.Repeat([]int{int(sent.Fd())}, int(d.files))...)
			}
			// What is too long, or more than the queue takes, the kernel refuses.
			_ = sendmsg(int(theirs.Fd()), d.data, oob)
		}
		sent.Close()
		theirs.Close()
		err = c.Serve(func(r Request) {
			if e := imsg.Row(r.Message); len(r.Files) != e.Files || !e.From.Has(peer) || !e.To.Has(self) {
				t.Errorf("%s with %d files, from %s to %s", e.Name, len(r.Files), peer, self)
			}
			r.Close()
		})
		if err != nil && !errors.Is(err, ErrBadMessage) {
			t.Errorf("ended with %v", err)
		}
		// The pipe ends once nobody has its other side.
		rest.SetReadDeadline(time.Now().Add(imsgtest.Patience))
		if _, err := rest.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a descriptor is left open: %v", err)
		}
	})
}
