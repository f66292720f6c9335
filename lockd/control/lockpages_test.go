package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

func TestLocksArePaged(t *testing.T) {
	h := open(t, usual())
	const many = 2*imsg.LockPage + 5
	cause := strings.Repeat("c", locks.MaxCause)
	for i := range many {
		h.write(fmt.Sprintf("10.0.%d.%d-%s", i/256, i%256, strings.Repeat("i", locks.MaxIdent)), cause+"\nmore\n")
	}
	os.Symlink("/etc/passwd", filepath.Join(h.dir, "10.9.9.9"))
	c := h.connect()
	seen := make(map[string]bool)
	pages := 0
	for after, more := "", true; more; pages++ {
		l := ask(t, c, &imsg.Locks{After: after})
		for _, e := range l.Locks {
			if e.Name <= after || seen[e.Name] || e.Cause != cause || e.Expires-e.Created != int64(time.Hour) || e.Saint {
				t.Fatalf("%+v", e)
			}
			seen[e.Name], after = true, e.Name
		}
		more = l.More
	}
	if n := h.lists.Load(); len(seen) != many || pages != 3 || n != 1 {
		t.Errorf("%d locks on %d pages; the directory was read %d times", len(seen), pages, n)
	}
	// The next list is a fresh one, and so is one that another goes on with.
	os.Remove(filepath.Join(h.dir, "10.0.0.0-"+strings.Repeat("i", locks.MaxIdent)))
	for _, c := range []*link.Conn{c, h.connect()} {
		if l := ask(t, c, &imsg.Locks{}); l.Locks[0].Name[:8] != "10.0.0.1" {
			t.Errorf("%+v", l.Locks[0])
		}
	}
	if l := ask(t, h.connect(), &imsg.Locks{After: "10.0.0.9"}); len(l.Locks) == 0 || l.Locks[0].Name[:8] != "10.0.0.9" {
		t.Errorf("%+v", l.Locks)
	}
}

func TestWhitelistedByHand(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of uid 0")
	}
	h := open(t, usual(), func(d *desk) { d.Locks.Whitelist = true })
	h.write("192.0.2.7", "")
	c := h.connect()
	for _, m := range []order{&imsg.Lock{Name: "192.0.2.7"}, &imsg.Unlock{Name: "192.0.2.7"}} {
		if d := ask(t, c, m); d.Errno != imsg.Denied {
			t.Errorf("%T: %+v", m, d)
		}
	}
	l := ask(t, c, &imsg.Locks{})
	if len(l.Locks) != 1 || !l.Locks[0].Saint || l.Locks[0].Expires != 0 {
		t.Errorf("%+v", l)
	}
}

// TestLockForATime: a lock by hand can have an end of its own, and is listed with it.
func TestLockForATime(t *testing.T) {
	h := open(t, usual())
	c := h.connect()
	if d := ask(t, c, &imsg.Lock{Name: "2001:db8::/64", Cause: "TEST", For: 48 * time.Hour}); d.Errno != 0 {
		t.Fatalf("%+v", d)
	}
	l := ask(t, c, &imsg.Locks{})
	if len(l.Locks) != 1 {
		t.Fatalf("%+v", l)
	}
	e := l.Locks[0]
	if left := time.Duration(e.Expires - e.Created); e.Name != "2001:db8::" || e.Cause != "TEST" || left > 48*time.Hour+time.Second || left < 48*time.Hour-time.Second || e.Expires%int64(time.Second) != 0 {
		t.Errorf("%+v", e)
	}
	for name, want := range map[string]string{"2001:db8::/48": "64 bits", "192.0.2.0/24": "32 bits", "192.0.2.7-joe": "idents count only"} {
		if d := ask(t, c, &imsg.Lock{Name: name}); d.Errno != imsg.Invalid || !strings.Contains(d.Detail, want) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := ask(t, c, &imsg.Lock{Name: "192.0.2.9", For: 1}); d.Errno != imsg.Invalid {
		t.Errorf("for a nanosecond: %+v", d)
	}
	if d := ask(t, c, &imsg.Unlock{Name: "2001:db8::/64"}); d.Errno != 0 {
		t.Errorf("%+v", d)
	}
}
