package imsg

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// arrive makes a room's home and the parent's end of it.
func arrive(t *testing.T, self Room) (*Home, *Conn) {
	t.Helper()
	near, far, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := NewConn(near, Parent, self)
	if err != nil {
		t.Fatal(err)
	}
	home, err := Arrive(far, self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close(); parent.Close() })
	serve(parent, func(Request) {})
	return home, parent
}

// A room answers that it works as long as its lock can be had, and its links are
// read meanwhile.
func TestPing(t *testing.T) {
	for _, self := range []Room{Session, Lookupd, Scand, Lockd, Action} {
		home, parent := arrive(t, self)
		var mu sync.Mutex
		home.Guard(&mu)
		told := make(chan Message, 1)
		go home.Serve(func(r Request) { told <- r.Message })
		if _, err := parent.Call(&Ping{}, 10*time.Second); err != nil {
			t.Errorf("%s: %v", self, err)
		}
		mu.Lock()
		if _, err := parent.Call(&Ping{}, 10*time.Millisecond); !errors.Is(err, Timeout) {
			t.Errorf("%s works without its lock: %v", self, err)
		}
		if err := parent.Send(&Drain{}); err != nil {
			t.Fatal(err)
		}
		if _, ok := wait(t, told).(*Drain); !ok {
			t.Errorf("%s hears something else", self)
		}
		mu.Unlock()
		if _, err := parent.Call(&Ping{}, 10*time.Second); err != nil {
			t.Errorf("%s: %v", self, err)
		}
	}
}
