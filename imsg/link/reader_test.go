package link

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestReader: a reader takes what is there, and learns of its end as
// Serve would say it.
func TestReader(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(other *Conn)
		bad  bool
	}{
		{"closed there", func(other *Conn) { other.Close() }, false},
		{"a bad message", func(other *Conn) {
			other.raw.Control(func(fd uintptr) { unix.Write(int(fd), []byte("nonsense")) })
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, other := link(t, imsg.Lockd, imsg.Session)
			heard := 0
			r := c.newReader(func(r Request) {
				if _, ok := r.Message.(*imsg.Leave); !ok {
					t.Errorf("heard %T", r.Message)
				}
				heard++
			})
			if over, err := r.next(); over || err != nil {
				t.Errorf("nothing is there: %t, %v", over, err)
			}
			for range 3 {
				if err := other.Send(&imsg.Leave{Number: 1}); err != nil {
					t.Fatal(err)
				}
			}
			tc.end(other)
			var over bool
			var err error
			for !over {
				over, err = r.next()
			}
			if heard != 3 || errors.Is(err, ErrBadMessage) != tc.bad || (err != nil) != tc.bad {
				t.Errorf("%d heard, then %v", heard, err)
			}
			if over, err := r.next(); !over || err != nil || c.Send(&imsg.Locked{}) != imsg.Gone {
				t.Errorf("it is not closed: %t, %v", over, err)
			}
		})
	}
}
