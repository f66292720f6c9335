//go:build linux

package rates

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// memoryFile returns a file that needs no disk: bbolt waits for it at each write.
func memoryFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("rates", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "rates")
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// FuzzStore: wherever a store's file was changed or cut, all that is asked of it ends,
// nothing panics, and what is remembered from now on is remembered.
func FuzzStore(f *testing.F) {
	first := memoryFile(f, nil)
	kept, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", first.Fd()), os.O_RDONLY, 0)
	if err != nil {
		f.Skip(err)
	}
	s := NewFileStore(slog.New(slog.DiscardHandler))
	s.Open(first)
	for _, client := range []string{"192.0.2.7", "2001:db8::", "192.0.2.8-joe"} {
		s.mustPut(f, client, example())
	}
	s.close()
	whole := make([]byte, 1<<20)
	n, _ := kept.ReadAt(whole, 0)
	kept.Close()
	whole = whole[:n]
	f.Add(uint32(0), []byte{}, uint32(0), []byte{}, uint32(n))
	f.Add(uint32(16), []byte{0xff}, uint32(os.Getpagesize()+16), []byte{0xff}, uint32(n))
	f.Add(uint32(2*os.Getpagesize()), []byte{0xff, 0xff, 0xff, 0xff}, uint32(3*os.Getpagesize()+8), []byte{4, 0, 0xff, 0xff}, uint32(n))
	f.Add(uint32(0), []byte{}, uint32(0), []byte{}, uint32(n/2))
	f.Fuzz(func(t *testing.T, at uint32, one []byte, then uint32, other []byte, end uint32) {
		content := bytes.Clone(whole)
		copy(content[int(at)%len(content):], one)
		copy(content[int(then)%len(content):], other)
		content = content[:min(int(end), len(content))]
		log := new(imsgtest.Journal)
		s := NewFileStore(slog.New(slog.NewTextHandler(log, nil)))
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Open(memoryFile(t, content))
			if r, err := s.Look("192.0.2.7"); bytes.Equal(content, whole) && (r == nil || err != nil) {
				t.Errorf("%+v, %v\n%s", r, err, log)
			}
			_, _, _ = s.Page("", 10)
			s.Sweep(func(*Record) bool { return true })
			_ = s.Forget("2001:db8::")
			_ = s.Flush()
			if err := s.Change("198.51.100.1", func(*Record) *Record { return messages(7) }); err == nil {
				_ = s.Flush()
				if r, err := s.Look("198.51.100.1"); err == nil && (r == nil || r.used != messages(7).used) {
					t.Errorf("forgotten: %+v\n%s", r, log)
				}
			}
			s.close()
		}()
		select {
		case <-done:
		case <-time.After(imsgtest.Patience):
			t.Fatalf("it does not end\n%s", log)
		}
	})
}
