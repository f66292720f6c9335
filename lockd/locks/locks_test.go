package locks

import (
	"io/fs"
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
	if err := l.create("192.0.2.7", Content{Cause: "Bad\nName\x00\xff"}, 0o666); err != nil {
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
		if err := l.create(name, Content{Cause: "again"}, 0o660); !os.IsExist(underlying(err)) {
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
			if l.create("2001:db8::1", Content{Cause: "VIRUS"}, 0o660) == nil {
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
	for _, s := range []string{"192.0.2.7", "2001:db8::1-joe", "login=bob", "login=Bob", "login=%2F", "login=", "login=sha256=" + strings.Repeat("a", 64), "fe80::1%eth0", "../x", "192.0.2.7-a/b", "", "-", "::ffff:192.0.2.7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := Parse(s)
		if !ok {
			return
		}
		if strings.HasPrefix(s, "login=") {
			if name := c.String(); name != s || !filepath.IsLocal(name) || filepath.Base(name) != name {
				t.Errorf("%q makes %q", s, name)
			}
			return
		}
		client, name := c.Addr, Client{Addr: c.Addr, Ident: c.Ident, HasIdent: true}.String()
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

// FuzzContent: whatever a lock file holds, a short printable line comes of it and a moment
// that can be one, and what we write comes back.
func FuzzContent(f *testing.F) {
	d, path, _ := shelf(f, false)
	const name, ours = "192.0.2.7", "192.0.2.8"
	f.Add("VIRUS\n", "SPAM", uint32(0))
	f.Add("\x1b[2J\r\n\xff", "a\nb", uint32(1))
	f.Add("OPERATOR\nid=7.8 until=1764547200 from=list\n", "x", uint32(1764547200))
	f.Add("x\nuntil=1764547200", "x", uint32(0))
	f.Add("x\nuntil=99999999999999999\nuntil=1\n", "x", uint32(0))
	f.Add(strings.Repeat("x", MaxCause+1), strings.Repeat("\u00fc", MaxCause), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, content, cause string, until uint32) {
		os.Remove(filepath.Join(path, ours))
		if err := os.WriteFile(filepath.Join(path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wrote := Content{Cause: imsg.Printable(cause, MaxCause), Until: int64(until) * int64(time.Second)}
		if err := d.create(ours, wrote, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func(name string) Content {
			info, err := d.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Read(name, info)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Cause) > MaxCause || strings.ContainsFunc(got.Cause, func(r rune) bool { return r < ' ' || r > '~' }) || got.Until < 0 {
				t.Errorf("%+v", got)
			}
			return got
		}
		read(name)
		if got := read(ours); got != wrote {
			t.Errorf("%+v reads back as %+v", wrote, got)
		}
	})
}

// TestUntil: the end that a lock file names counts, whatever lock_duration says.
func TestUntil(t *testing.T) {
	const name = "192.0.2.7"
	now := time.Unix(1764547200, 0)
	for _, row := range []struct {
		name, content string
		age           time.Duration
		duration      int
		want          Verdict
		log           string
	}{
		{"to come, and long beyond the duration", "OPERATOR\nuntil=1764547201\n", 1000 * time.Hour, 3600, Verdict{Locked, false, 1764547201e9}, ""},
		{"now, and within the duration", "OPERATOR\nuntil=1764547200\n", 0, 3600, Verdict{Unlocked, true, 1764547200e9}, ""},
		{"past, where locks are for ever", "OPERATOR\nuntil=1\n", 0, -1, Verdict{Unlocked, true, 1e9}, ""},
		{"to come, where nothing is locked", "OPERATOR\nuntil=1764547201\n", 0, 0, Verdict{Unlocked, false, now.UnixNano()}, ""},
		{"words of others around it", "VIRUS\nid=7.8 until=1764547201 from=list x =\nuntil=2\n", 2 * time.Hour, 3600, Verdict{Locked, false, 1764547201e9}, ""},
		{"no such word", "OPERATOR\nid=7.8 later=1\n", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, ""},
		{"an empty line", "OPERATOR\n\nuntil=1\n", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, ""},
		{"no number", "OPERATOR\nuntil=soon\n", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, "does not say until when"},
		{"no moment", "OPERATOR\nuntil=9223372036854775807\n", 2 * time.Hour, 3600, Verdict{Unlocked, true, now.UnixNano() - 3600e9}, "does not say until when"},
		{"two of them", "OPERATOR\nuntil=1 until=1764547201\n", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, "does not say until when"},
		{"cut short", "OPERATOR\nuntil=176454", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, "has no end"},
		{"too long", "OPERATOR\nuntil=1 " + strings.Repeat("x", maxContent) + "\n", 0, 3600, Verdict{Locked, false, now.UnixNano() + 3600e9}, "has no end"},
		{"behind a cause that is too long", strings.Repeat("x", 300) + "\nuntil=1764547201\n", 2 * time.Hour, 3600, Verdict{Locked, false, 1764547201e9}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, dir, log := shelf(t, false)
			l.Now = func() time.Time { return now }
			var told []string
			l.Expired = func(name string) { told = append(told, name) }
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
				t.Fatal(err)
			}
			made := now.Add(-row.age)
			if err := os.Chtimes(path, made, made); err != nil {
				t.Fatal(err)
			}
			info, err := l.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if row.duration == 0 {
					if v, _ := l.Show(name, info, 0); v.Mark != Unlocked || v.Expired {
						t.Errorf("%+v", v)
					}
				} else if v, err := l.Judge(name, info, row.duration); v != row.want || err != nil {
					t.Errorf("%+v, want %+v; %v", v, row.want, err)
				}
			}
			if row.log == "" {
				log.HasNot(t, "msg=")
			} else {
				log.Has(t, row.log)
				if n := strings.Count(log.String(), row.log); n != 1 {
					t.Errorf("said %d times", n)
				}
			}
			if row.duration != 0 {
				l.Sweep(name, row.duration, os.Getuid())
			}
			if _, err := os.Lstat(path); (err != nil) != row.want.Expired || (len(told) == 1) != row.want.Expired {
				t.Errorf("%v; told of %q", err, told)
			}
		})
	}
}

// closed is a directory in which no file is for us to read.
type closed struct{ Files }

func (closed) OpenFile(name string, flag int, _ fs.FileMode) (*os.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
}

// TestUnreadable: a lock that may say when it ends, and is not for us to read, is nobody's to
// remove, and that is said; one that is too short for that is as it was.
func TestUnreadable(t *testing.T) {
	const long, short = "192.0.2.7", "192.0.2.8"
	l, dir, log := shelf(t, false)
	l.Files = closed{l.Files}
	old := time.Now().Add(-2 * time.Hour)
	for name, text := range map[string]string{long: "OPERATOR\nuntil=99999999999\n", short: "VIRUS\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := l.Look(name, -1, somebody); m != Locked || err != nil {
			t.Errorf("%s: %d, %v", name, m, err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
		if m, err := l.Look(name, 3600, somebody); m != Unlocked || err != nil {
			t.Errorf("%s, of yesterday: %d, %v", name, m, err)
		}
		l.Sweep(name, 3600, os.Getuid())
	}
	if _, err := os.Stat(filepath.Join(dir, long)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, short)); err == nil {
		t.Error("an old lock stays")
	}
	if n := strings.Count(log.String(), "name="+long); n != 1 || strings.Contains(log.String(), "name="+short) {
		t.Errorf("it was said %d times:\n%s", n, log)
	}
}

// TestUntilIsWritten: a lock for a time of its own is one for old readers, too.
func TestUntilIsWritten(t *testing.T) {
	l, dir, _ := shelf(t, false)
	if m, fresh, err := l.Lock("192.0.2.7", Content{Cause: "OPERATOR", Until: 1764547200e9}, 3600, 0o600, somebody); m != Locked || !fresh || err != nil {
		t.Errorf("%d, %v, %v", m, fresh, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "192.0.2.7")); string(b) != "OPERATOR\nuntil=1764547200\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCalled(t *testing.T) {
	n := Naming{Mode: imsg.ModeRemote, PrefixIPv6: 64}
	for _, row := range []struct{ said, called, today, wrong string }{
		{"192.0.2.7-", "192.0.2.7-", "192.0.2.7-", ""},
		{"::ffff:192.0.2.7-Joe", "192.0.2.7-Joe", "192.0.2.7-Joe", ""},
		{"192.0.2.7/32-a/b", "", "", "a client's name is"},
		{"192.0.2.7/32-joe", "192.0.2.7/32-joe", "192.0.2.7-joe", ""},
		{"192.0.2.0/24-joe", "192.0.2.0/24-joe", "", "there each address is one, of 32 bits"},
		{"2001:DB8::1-joe", "2001:db8::1-joe", "2001:db8::-joe", ""},
		{"2001:db8::/64-joe", "2001:db8::/64-joe", "2001:db8::-joe", ""},
		{"2001:db8::/48-joe", "2001:db8::/48-joe", "", "here each has a network of 64 bits ({client_prefix_ipv6})"},
		{"2001:db8::1/64-joe", "", "", "a client's name is"},
		{"2001:db8::/064-joe", "", "", "a client's name is"},
		{"2001:db8::/129-joe", "", "", "a client's name is"},
		{"fe80::1/128-joe", "fe80::1/128-joe", "fe80::1-joe", ""},
		{"fe80::/64-joe", "fe80::/64-joe", "", "there each address is one, of 128 bits"},
		{"/64", "", "", "a client's name is"},
		{"2001:db8::/64", "2001:db8::/64", "", "needs an ident"},
	} {
		c, ok := ParseCall(row.said)
		if ok != (row.called != "") || ok && c.String() != row.called {
			t.Errorf("%q is read as %q, %v", row.said, c, ok)
		}
		c, err := n.Called(row.said)
		if err == nil {
			err = n.WhyNot(c)
		}
		switch {
		case err != nil:
			if row.wrong == "" || !strings.Contains(err.Error(), row.wrong) {
				t.Errorf("%q: %v", row.said, err)
			}
		case row.wrong != "" || n.Today(c.Client).String() != row.today:
			t.Errorf("%q is %q", row.said, n.Today(c.Client))
		}
	}
	// A record of yesterday is shown as one address. It can be named so, and not be made.
	c, err := n.Called("2001:db8::1/128-joe")
	if err != nil {
		t.Error(err)
	}
	if err := n.WhyNot(c); err == nil {
		t.Error("a client of another length")
	}
}
