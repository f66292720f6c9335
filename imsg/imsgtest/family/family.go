// Package family is the family around one room that runs in a test's own process:
// the test is its parent, its peers, and the reader of its log.
package family

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// Family is the family of one room.
type Family struct {
	Parent *link.Conn    // the parent's end of the room's link
	Ready  chan struct{} // gets one each time the room says so
	Ended  chan error    // gets what the room's Main returned

	t    testing.TB
	room imsg.Room
	log  string // the file
}

// Open starts a room; main is its Main. handle hears what the room tells its parent
// besides Hello and Ready; nil closes it. With the test the room's life ends.
func Open(t testing.TB, room imsg.Room, main func(*os.File) error, handle link.Handler) *Family {
	t.Helper()
	near, far, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	f := &Family{
		Ready: make(chan struct{}, 16), Ended: make(chan error, 1),
		t: t, room: room, log: filepath.Join(t.TempDir(), "log"),
	}
	if f.Parent, err = link.NewConn(near, imsg.Parent, room); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(f.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	heard, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		f.Parent.Serve(func(r link.Request) {
			switch r.Message.(type) {
			case *imsg.Hello:
			case *imsg.Ready:
				f.Ready <- struct{}{}
			default:
				if handle == nil {
					r.Close()
					return
				}
				handle(r)
			}
		})
	}()
	go func() {
		defer close(left)
		f.Ended <- main(far)
	}()
	t.Cleanup(func() {
		f.Parent.Close()
		imsgtest.Receive(t, "the end of "+room.String(), left)
		imsgtest.Receive(t, "the parent's end of the link", heard)
		if t.Failed() {
			t.Logf("log of %s:\n%s", room, f.Text())
		}
	})
	f.Tell(&imsg.Sink{Kind: imsg.SinkStream, Level: debug}, log)
	return f
}

// debug is slog's lowest level, and lower.
const debug = -4

// Tell tells the room something as its parent.
func (f *Family) Tell(m imsg.Notice, files ...*os.File) {
	f.t.Helper()
	if err := f.Parent.Send(m, files...); err != nil {
		f.t.Fatalf("tell %s: %v", f.room, err)
	}
}

// Configure tells the room its configuration and waits until it is ready.
func (f *Family) Configure(c imsg.Notice) {
	f.t.Helper()
	f.Tell(c)
	imsgtest.Receive(f.t, "Ready", f.Ready)
}

// Link makes a link between the room and a peer, and returns the peer's end, which
// nobody serves yet.
func (f *Family) Link(peer imsg.Room, member int) *link.Conn {
	f.t.Helper()
	near, far, err := link.Pair()
	if err != nil {
		f.t.Fatal(err)
	}
	defer far.Close()
	c, err := link.NewConn(near, peer, f.room)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	f.Tell(&imsg.Peer{Room: peer, Member: member}, far)
	return c
}

// Join is Link, and serves the peer's end. handle hears what the room says there; nil
// closes it.
func (f *Family) Join(peer imsg.Room, member int, handle link.Handler) *link.Conn {
	f.t.Helper()
	if handle == nil {
		handle = func(r link.Request) { r.Close() }
	}
	c := f.Link(peer, member)
	go c.Serve(handle)
	return c
}

// Text is what the room has logged.
func (f *Family) Text() string {
	f.t.Helper()
	text, err := os.ReadFile(f.log)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// Logs waits for a line of the log that has all of words, and returns the log up to
// then.
func (f *Family) Logs(words ...string) (text string) {
	f.t.Helper()
	if err := imsgtest.Eventually("no line with all of it in the log", func() bool {
		text = f.Text()
		for line := range strings.Lines(text) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	}); err != nil {
		f.t.Fatalf("%q: %v:\n%s", words, err, text)
	}
	return text
}

// LogsNot expects that the log has none of words so far.
func (f *Family) LogsNot(words ...string) {
	f.t.Helper()
	text := f.Text()
	for _, w := range words {
		if strings.Contains(text, w) {
			f.t.Errorf("log says %q:\n%s", w, text)
		}
	}
}
