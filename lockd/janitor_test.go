package lockd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSweptLocks(t *testing.T) {
	h := open(t, plan{config: usual(), uid: max(os.Getuid(), 1)})
	age := func(name string, d time.Duration, owner int) {
		h.write(name, "VIRUS\n")
		path := filepath.Join(h.dir, name)
		when := h.clock.now().Add(-d)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		if owner == os.Getuid() {
			return
		}
		if err := os.Chown(path, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	root := os.Getuid() == 0
	us := h.server.env.uid
	age("192.0.2.1", 2*time.Hour, us)
	age("192.0.2.2-joe", 2*time.Hour, us)
	age("192.0.2.3", time.Minute, us)
	age("README", 2*time.Hour, us)
	os.Symlink("192.0.2.3", filepath.Join(h.dir, "192.0.2.4"))
	if root {
		age("192.0.2.5", 2*time.Hour, 0)     // whitelisted
		age("192.0.2.6", 2*time.Hour, 12345) // an older daemon's
	}
	for i := range sweepFiles {
		age(fmt.Sprintf("10.0.%d.%d", i/256, i%256), 2*time.Hour, us)
	}
	left := func() int {
		f, err := os.ReadDir(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(f)
	}
	all := left()
	w := janitor{server: h.server}
	defer w.rest()
	if w.next(); all-left() > sweepFiles || all-left() < sweepFiles/2 {
		t.Errorf("%d of %d removed at once", all-left(), all)
	}
	w.next()
	w.next()
	want := 3
	if root {
		want = 5
	}
	if n := left(); n != want {
		t.Errorf("%d are left, want %d", n, want)
	}
	h.log.Has(t, "msg=LOCK:EXPIRED src=192.0.2.2 ident=joe")

	// What has an end of its own goes by that alone, where locks are for ever, too.
	hour := h.clock.now().Add(time.Hour).Unix()
	h.write("192.0.2.8", fmt.Sprintf("OPERATOR\nuntil=%d\n", hour))
	h.write("192.0.2.9", fmt.Sprintf("OPERATOR\nuntil=%d\n", hour-7200))
	for _, name := range []string{"192.0.2.8", "192.0.2.9"} {
		if err := os.Chown(filepath.Join(h.dir, name), us, -1); err != nil {
			t.Fatal(err)
		}
	}
	if old := h.clock.now().Add(-2 * time.Hour); os.Chtimes(filepath.Join(h.dir, "192.0.2.8"), old, old) != nil {
		t.Fatal("the file's time cannot be set")
	}
	c := usual()
	c.LockDuration = -1
	h.reload(c)
	if w.next(); left() != want+1 {
		t.Errorf("%d are left, want %d", left(), want+1)
	}
	h.log.Has(t, "msg=LOCK:EXPIRED src=192.0.2.9")
	os.Remove(filepath.Join(h.dir, "192.0.2.8"))

	// For ever, and no locking: nothing expires.
	for _, duration := range []int{-1, 0} {
		age("192.0.2.1", 20*time.Hour, us)
		c.LockDuration = duration
		h.reload(c)
		if w.next(); left() != want+1 {
			t.Errorf("lock_duration %d: swept", duration)
		}
	}
}
