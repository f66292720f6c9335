package locks

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// shelf is a lock directory on its own.
func shelf(t testing.TB, whitelist bool) (*Directory, string, *imsgtest.Journal) {
	t.Helper()
	path := t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	log := new(imsgtest.Journal)
	return &Directory{Files: dir, Now: time.Now, Whitelist: whitelist, Log: slog.New(slog.NewTextHandler(log, nil))}, path, log
}

var somebody = Subject{Session: 7, Addr: netip.MustParseAddr("192.0.2.7")}

func TestLook(t *testing.T) {
	const name = "192.0.2.7"
	file := func(owner int, age time.Duration) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if os.Getuid() != 0 && owner != os.Getuid() {
				t.Skip("only root can give a file away")
			}
			when := time.Now().Add(-age)
			if err := os.WriteFile(path, []byte("VIRUS\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, owner, -1); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	us := os.Getuid()
	for _, row := range []struct {
		name      string
		make      func(t *testing.T, path string)
		whitelist bool
		duration  int
		want      Mark
		stays     bool
		log       string
	}{
		{"no file", func(*testing.T, string) {}, false, 3600, Unlocked, false, ""},
		{"young", file(us, time.Minute), false, 3600, Locked, true, ""},
		{"just too old", file(us, time.Hour), false, 3600, Unlocked, false, "LOCK:EXPIRED"},
		{"judged by today's duration", file(us, time.Hour), false, 7200, Locked, true, ""},
		{"from the future", file(us, -time.Hour), false, 3600, Locked, true, ""},
		{"old, for ever", file(us, 10000*time.Hour), false, -1, Locked, true, ""},
		{"no locking", file(us, 10000*time.Hour), false, 0, Unlocked, true, ""},
		{"somebody else's", file(12345, time.Minute), true, 3600, Locked, true, ""},
		{"somebody else's, old", file(12345, time.Hour), true, 3600, Unlocked, false, "LOCK:EXPIRED"},
		{"uid 0", file(0, time.Minute), true, 3600, Whitelisted, true, "LOCK:SAINT"},
		{"uid 0, old", file(0, 10000*time.Hour), true, 3600, Whitelisted, true, "LOCK:SAINT"},
		{"uid 0, no locking", file(0, time.Minute), true, 0, Whitelisted, true, "LOCK:SAINT"},
		{"uid 0, and so are we", file(0, time.Minute), false, 3600, Locked, true, ""},
		{"directory", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, false, 3600, Unlocked, true, "not a regular file"},
		{"symbolic link", func(t *testing.T, path string) { os.Symlink("/etc/passwd", path) }, true, 3600, Unlocked, true, "not a regular file"},
		{"link to nothing", func(t *testing.T, path string) { os.Symlink("nothing", path) }, false, 3600, Unlocked, true, "not a regular file"},
		{"pipe", func(t *testing.T, path string) { syscall.Mkfifo(path, 0o600) }, false, 3600, Unlocked, true, "not a regular file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, dir, log := shelf(t, row.whitelist)
			path := filepath.Join(dir, name)
			row.make(t, path)
			if got, err := l.Look(name, row.duration, somebody); got != row.want || err != nil {
				t.Errorf("mark %d, want %d; %v", got, row.want, err)
			}
			if _, err := os.Lstat(path); (err == nil) != row.stays {
				t.Errorf("file stays: %v, want %v", err == nil, row.stays)
			}
			if row.log == "" {
				log.HasNot(t, "msg=")
			} else {
				log.Has(t, row.log)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	l, dir, _ := shelf(t, false)
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	if err := l.create("192.0.2.7", "Bad\nName\x00\xff", 0o666); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "192.0.2.7"))
	if err != nil || string(b) != "Bad#Name##\n" {
		t.Errorf("%q, %v", b, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "192.0.2.7")); err != nil || info.Mode() != 0o640 {
		t.Errorf("lock_perm goes through the umask: %v, %v", info.Mode(), err)
	}

	// What stands there already is not touched, nor what it points to.
	outside := filepath.Join(t.TempDir(), "outside")
	os.Symlink(outside, filepath.Join(dir, "192.0.2.8"))
	os.Symlink("inside", filepath.Join(dir, "192.0.2.9"))
	for _, name := range []string{"192.0.2.7", "192.0.2.8", "192.0.2.9"} {
		if err := l.create(name, "again", 0o660); !os.IsExist(underlying(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{outside, filepath.Join(dir, "inside")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made through a link", path)
		}
	}
}

func underlying(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func TestCreateAtTheSameTime(t *testing.T) {
	l, _, _ := shelf(t, false)
	var made atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if l.create("2001:db8::1", "VIRUS", 0o660) == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("%d made the same lock", made.Load())
	}
}

func TestLockNames(t *testing.T) {
	for _, row := range []struct {
		mode          imsg.Mode
		client, ident string
		want          string // with a prefix of 64
	}{
		{imsg.ModeFixed, "192.0.2.7", "joe", "192.0.2.7"},
		{imsg.ModeFixed, "2001:DB8:0::1", "", "2001:db8::"},
		{imsg.ModeFixed, "fe80::1:2:3:4", "", "fe80::1:2:3:4"}, // every link's network is the same
		{imsg.ModeFixed, "fe80::1:2:3:4%eth0", "", "fe80::1:2:3:4"},
		{imsg.ModeRemote, "fe80::1:2:3:4%../x", "joe", "fe80::1:2:3:4-joe"},
		{imsg.ModeFixed, "64:ff9b::192.0.2.7", "", "64:ff9b::c000:207"}, // all of IPv4 is in it
		{imsg.ModeFixed, "64:ff9b::1:192.0.2.7", "", "64:ff9b::"},
		{imsg.ModeFixed, "fd00::1:2:3:4", "", "fd00::"},
		{imsg.ModeRemote, "192.0.2.7", "", "192.0.2.7-"},
		{imsg.ModeRemote, "192.0.2.7", "Joe-9=+:", "192.0.2.7-Joe-9=+:"},
		{imsg.ModeRemoteUDP, "2001:db8::1", "../../etc/passwd", "2001:db8::-______etc_passwd"},
		{imsg.ModeRemote, "192.0.2.7", "a b\x00\n.\xff", "192.0.2.7-a_b____"},
		{imsg.ModeRemote, "192.0.2.7", strings.Repeat("x", 300), "192.0.2.7-" + strings.Repeat("x", MaxIdent)},
	} {
		got := Naming{Mode: row.mode, PrefixIPv6: 64}.Name(netip.MustParseAddr(row.client), row.ident)
		if got != row.want {
			t.Errorf("%s %q: %q, want %q", row.client, row.ident, got, row.want)
		}
		if c, ok := Parse(got); !ok || c.String() != got {
			t.Errorf("%q parses to %q, %v", got, c, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "2001:db8::1-joe", "fe80::1%eth0", "../x", "192.0.2.7-a/b", "", "-", "::ffff:192.0.2.7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := Parse(s)
		if !ok {
			return
		}
		client, name := c.Addr, Client{c.Addr, c.Ident, true}.String()
		if strings.ContainsAny(name, "/\x00%") || len(name) > 255 || client != client.Unmap() || !filepath.IsLocal(name) {
			t.Errorf("%q makes %q", s, name)
		}
		if again, err := netip.ParseAddr(client.String()); err != nil || again != client {
			t.Errorf("%q: %v, %v", s, again, err)
		}
	})
}

func TestForeignFilesAreNoLocks(t *testing.T) {
	l, dir, _ := shelf(t, false)
	for _, name := range []string{"192.0.2.7", "2001:db8::1-joe", ".hidden", "README", "192.0.2.7.bak", "192.0.2.7-a b", "fe80::1%eth0", "192.0.2.007"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := l.Names()
	if want := []string{"192.0.2.7", "2001:db8::1-joe"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v", names, err)
	}
}

func BenchmarkLook(b *testing.B) {
	l, _, _ := shelf(b, false)
	b.ReportAllocs()
	for b.Loop() {
		l.Look("192.0.2.7", 3600, somebody)
	}
}

// FuzzCause: whatever a lock file holds, a short printable line comes of it, and what we
// write comes back as far as it is one.
func FuzzCause(f *testing.F) {
	d, path, _ := shelf(f, false)
	const name, ours = "192.0.2.7", "192.0.2.8"
	f.Add("VIRUS\n", "SPAM")
	f.Add("\x1b[2J\r\n\xff", "a\nb")
	f.Add(strings.Repeat("x", MaxCause+1), strings.Repeat("\u00fc", MaxCause))
	f.Fuzz(func(t *testing.T, content, cause string) {
		os.Remove(filepath.Join(path, ours))
		if err := os.WriteFile(filepath.Join(path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.create(ours, cause, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func(name string) string {
			info, err := d.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			got := d.Cause(name, info)
			if len(got) > MaxCause || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", got)
			}
			return got
		}
		read(name)
		if got := read(ours); got != imsg.Printable(cause, MaxCause) {
			t.Errorf("%q reads back as %q", cause, got)
		}
	})
}
