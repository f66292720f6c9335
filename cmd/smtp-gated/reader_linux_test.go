package main

import (
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHostileReaders: thousands come to the read socket, say nothing, nonsense or half of
// something, hold on or hang up at once. Mail passes, operators are answered, and no room
// ends for it.
func TestHostileReaders(t *testing.T) {
	const visits = 5000
	bothWays(t, func(t *testing.T, rooted bool) {
		g, m := rehearse(t, rooted)
		must(t, g.configure("lock_on never\n", false))
		must(t, g.start())
		var came atomic.Int32
		var all sync.WaitGroup
		end := make(chan struct{})
		defer all.Wait()
		defer close(end)
		for range 8 {
			all.Go(func() {
				var held [64]*os.File
				for n := 0; ; n++ {
					select {
					case <-end:
						for _, f := range held {
							f.Close()
						}
						return
					default:
					}
					f, err := knock(g.path("run/status"))
					if err != nil {
						continue
					}
					came.Add(1)
					if n%3 > 0 {
						unix.Sendto(int(f.Fd()), junk(n%3 == 1), unix.MSG_NOSIGNAL, nil)
					}
					if n%2 == 0 {
						f.Close()
						continue
					}
					held[n%len(held)].Close()
					held[n%len(held)] = f
				}
			})
		}
		operator := []string{"status", "sessions", "lock list", "rate list"}
		for n := 0; n < 20 || came.Load() < visits; n++ {
			c, err := dialGate(g.address(0), "")
			must(t, err)
			reply, err := c.deliver([]byte(cleanMail))
			if err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Fatalf("a mail: %q, %v", reply, err)
			}
			must(t, c.quit())
			c.conn.Close()
			if out, err := g.ctl(strings.Fields(operator[n%len(operator)])...); err != nil {
				t.Fatalf("%s: %v: %s", operator[n%len(operator)], err, out)
			}
		}
		if strings.Contains(g.log(), "room ended") {
			t.Error("a room has ended")
		}
		must(t, g.terminate())
		noneBad(t, m)
	})
}

// knock connects, and waits for a place in the queue.
func knock(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// junk is as long as a frame's head, or of any length.
func junk(head bool) []byte {
	n := 16
	if !head {
		n = 1 + rand.IntN(4096)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
