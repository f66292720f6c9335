package process

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// start makes a room's link to its parent, and the parent's end of it.
func start(t *testing.T, self imsg.Room) (*Parent, *link.Conn) {
	t.Helper()
	near, far, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := link.NewConn(near, imsg.Parent, self)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(far, self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); parent.Close() })
	return p, parent
}

// A room answers that it works as long as its lock can be had, and its links are
// read meanwhile.
func TestPing(t *testing.T) {
	for _, self := range imsg.Children() {
		p, parent := start(t, self)
		go parent.Serve(func(link.Request) {})
		var mu sync.Mutex
		p.Guard(&mu)
		told := make(chan imsg.Message, 1)
		go p.Serve(func(r link.Request) { told <- r.Message })
		if a, err := link.Ask(parent, &imsg.Ping{}, 10*time.Second); err != nil || a.Goroutines == 0 {
			t.Errorf("%s: %+v, %v", self, a, err)
		}
		mu.Lock()
		if _, err := link.Ask(parent, &imsg.Ping{}, 10*time.Millisecond); !errors.Is(err, imsg.Timeout) {
			t.Errorf("%s works without its lock: %v", self, err)
		}
		if err := parent.Send(&imsg.Drain{}); err != nil {
			t.Fatal(err)
		}
		if _, ok := imsgtest.Receive(t, "Drain", told).(*imsg.Drain); !ok {
			t.Errorf("%s hears something else", self)
		}
		mu.Unlock()
		if _, err := link.Ask(parent, &imsg.Ping{}, 10*time.Second); err != nil {
			t.Errorf("%s: %v", self, err)
		}
	}
}

// TestLinkFails: a link that cannot be had, or that the system lets down later, is asked
// for anew.
func TestLinkFails(t *testing.T) {
	unread, unwritten, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unwritten.Close()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for what, file := range map[string]*os.File{"it cannot be taken": closed, "it cannot be read": unread} {
		p, parent := start(t, imsg.Session)
		told := make(chan imsg.Message, 2)
		go parent.Serve(func(r link.Request) { told <- r.Message })
		imsgtest.Receive(t, "Hello", told)
		_, err := p.Accept(link.Request{Files: []*os.File{file}}, &imsg.Peer{Room: imsg.Scand, Member: 3}, func(link.Request) {})
		if (err != nil) != (file == closed) {
			t.Errorf("%s: %v", what, err)
		}
		if b, ok := imsgtest.Receive(t, "BadPeer", told).(*imsg.BadPeer); !ok || *b != (imsg.BadPeer{Room: imsg.Scand, Member: 3, Fault: imsg.Shortage}) {
			t.Errorf("%s: the parent hears %+v", what, b)
		}
	}
}

// TestManyLinksFail: who lacks descriptors for many links reports each, none sooner than
// the parent bears.
func TestManyLinksFail(t *testing.T) {
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	p, parent := start(t, imsg.Scand)
	told := make(chan imsg.Message, 1)
	go parent.Serve(func(r link.Request) { told <- r.Message })
	imsgtest.Receive(t, "Hello", told)
	began := time.Now()
	for n := range 4 {
		if _, err := p.Accept(link.Request{Files: []*os.File{closed}}, &imsg.Peer{Room: imsg.Session, Member: n}, nil); err == nil {
			t.Fatal("a link of a closed file")
		}
	}
	for n := range 4 {
		if b, ok := imsgtest.Receive(t, "BadPeer", told).(*imsg.BadPeer); !ok || b.Member != n {
			t.Errorf("the parent hears %+v", b)
		}
		if after, least := time.Since(began), relinkPause+time.Duration(n)*imsg.Shortages.Every; after < least {
			t.Errorf("report %d comes after %v, sooner than %v", n, after, least)
		}
	}
}
