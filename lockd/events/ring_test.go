package events

import (
	"sync"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func all(*imsg.Event) bool { return true }

func TestRing(t *testing.T) {
	r := new(Ring)
	if page, last, lost := r.After(7, all, 10); page != nil || last != 0 || lost != 0 {
		t.Errorf("an empty ring has %v, %d, %d", page, last, lost)
	}
	for i := range Size + 5 {
		r.Add(imsg.Event{Kind: imsg.EventScan, Size: int64(i + 1)})
	}
	page, last, lost := r.After(0, all, 3)
	if len(page) != 3 || page[0].Size != 6 || last != 8 || lost != 5 {
		t.Errorf("%v, %d, %d", page, last, lost)
	}
	page, last, lost = r.After(Size+3, all, 3)
	if len(page) != 2 || page[1].Size != Size+5 || last != Size+5 || lost != 0 {
		t.Errorf("%v, %d, %d", page, last, lost)
	}
	even := func(e *imsg.Event) bool { return e.Size%2 == 0 }
	if page, last, _ = r.After(5, even, 2); len(page) != 2 || page[1].Size != 8 || last != 8 {
		t.Errorf("%v, %d", page, last)
	}
	if n := r.Forget(even); n != Size/2 {
		t.Errorf("%d are forgotten", n)
	}
	if page, _, _ = r.After(0, even, 1); page != nil {
		t.Errorf("%v is kept", page)
	}
}

// TestGrown: who waits is woken, and misses nothing in between.
func TestGrown(t *testing.T) {
	r := new(Ring)
	const n = 3 * Size
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			seen, after := uint64(0), uint64(0)
			for seen < n {
				grown := r.Grown()
				page, last, lost := r.After(after, all, 24)
				seen += uint64(len(page)) + lost
				if after = last; len(page) == 0 && seen < n {
					<-grown
				}
			}
			if seen != n {
				t.Errorf("%d events were seen or missed", seen)
			}
		})
	}
	for range n {
		r.Add(imsg.Event{Kind: imsg.EventScan})
	}
	readers.Wait()
}
