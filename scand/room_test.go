package scand

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// patience bounds every wait of the tests for what must happen.
const patience = imsgtest.Patience

// house is a parent and its sessions around one running scand.
type house struct{ *family.Family }

// open starts the room with c.
func open(t testing.TB, c *imsg.ScandConfig) house {
	t.Helper()
	h := house{family.Open(t, imsg.Scand, Main, nil)}
	h.Tell(c)
	return h
}

// session links a session worker to the room.
func (h house) session() *link.Conn { return h.Join(imsg.Session, 1, nil) }

func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, what, c)
}

// short makes a directory whose name leaves room for a socket's, and that a scanner
// may enter as the user it chooses.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "scand")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spool writes a message and opens it for reading.
func spool(t testing.TB, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "1.2")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return openFile(t, name)
}

// openFile opens a file for reading until the test ends.
func openFile(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// ask has both engines look at text.
func ask(t testing.TB, c *link.Conn, text string) answer {
	t.Helper()
	return askFile(t, c, spool(t, text), &imsg.Scan{Size: int64(len(text)), Roles: imsg.RoleVirus | imsg.RoleSpam, Spool: "1.2"})
}

func askFile(t testing.TB, c *link.Conn, f *os.File, q *imsg.Scan) answer {
	t.Helper()
	return each(askVerdict(t, c, f, q))
}

func askVerdict(t testing.TB, c *link.Conn, f *os.File, q *imsg.Scan) *imsg.Verdict {
	t.Helper()
	m, err := link.Ask(c, q, patience, f)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return m
}

// answer is what was found in each role, by the last engine that has it.
type answer struct{ virus, spam imsg.Finding }

func each(v *imsg.Verdict) answer {
	var a answer
	for _, f := range v.Findings {
		if f.Roles&imsg.RoleVirus != 0 {
			a.virus = f
		}
		if f.Roles&imsg.RoleSpam != 0 {
			a.spam = f
		}
	}
	return a
}

// The engines of builtins.
const (
	virus = iota
	spam
)

// builtins is a configuration that needs nothing.
func builtins() *imsg.ScandConfig {
	return &imsg.ScandConfig{Parallel: 4, Engines: []imsg.EngineConfig{
		virus: {Engine: imsg.EngineBuiltin, Roles: imsg.RoleVirus, Timeout: patience},
		spam:  {Engine: imsg.EngineBuiltin, Roles: imsg.RoleSpam, Timeout: patience},
	}}
}

func TestVerdicts(t *testing.T) {
	c := open(t, builtins()).session()
	for _, tt := range []struct {
		name, text string
		virus      imsg.Outcome
		score      float64
	}{
		{"clean", "Subject: a\r\n\r\nb\r\n", imsg.Clean, 0},
		{"empty", "", imsg.Clean, 0},
		{"eicar", "Subject: a\r\n\r\n" + string(eicar()) + "\r\n", imsg.Caught, 0},
		{"gtube", "Subject: a\r\n\r\n" + string(gtube()) + "\r\n", imsg.Clean, 1000},
		{"both", string(eicar()) + "\r\n" + string(gtube()) + "\r\n", imsg.Caught, 1000},
	} {
		v := ask(t, c, tt.text)
		if v.virus.Outcome != tt.virus || v.spam.Outcome != imsg.Clean || v.spam.Score != tt.score || (tt.virus == imsg.Caught) != (v.virus.Name == eicarName) {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestOnlyWhatIsAsked(t *testing.T) {
	conf := builtins()
	conf.Engines = conf.Engines[:spam]
	c := open(t, conf).session()
	f := spool(t, string(eicar()))

	if v := askFile(t, c, f, &imsg.Scan{Roles: imsg.RoleVirus}); v.virus.Outcome != imsg.Caught || v.spam.Outcome != imsg.NotAsked {
		t.Errorf("virus alone: %+v", v)
	}
	if v := askFile(t, c, f, &imsg.Scan{Roles: imsg.RoleSpam}); v.virus.Outcome != imsg.NotAsked || v.spam.Outcome != imsg.Failed || v.spam.Problem == "" {
		t.Errorf("an engine that is off: %+v", v)
	}
	if v := askFile(t, c, f, &imsg.Scan{}); v.virus.Outcome != imsg.NotAsked || v.spam.Outcome != imsg.NotAsked {
		t.Errorf("nothing asked: %+v", v)
	}
}

func TestMessageThatIsNone(t *testing.T) {
	c := open(t, builtins()).session()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	writeOnly, err := os.OpenFile(filepath.Join(t.TempDir(), "w"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writeOnly.Close()
	fmt.Fprint(writeOnly, "text")
	for _, tt := range []struct {
		name string
		file *os.File
		size int64
	}{
		{"directory", dir, 0}, {"pipe", r, 0}, {"shorter than said", spool(t, "ab"), 3}, {"write-only", writeOnly, 4},
	} {
		v := askFile(t, c, tt.file, &imsg.Scan{Roles: imsg.RoleVirus, Size: tt.size})
		if v.virus.Outcome != imsg.Failed || v.virus.Problem == "" {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for name, change := range map[string]func(*imsg.ScandConfig){
		"no address":            func(c *imsg.ScandConfig) { c.Engines[virus].Engine = imsg.EngineClamd },
		"spamd as virus":        func(c *imsg.ScandConfig) { c.Engines[virus].Engine, c.Engines[virus].Socket = imsg.EngineSpamd, "s" },
		"clamd as spam":         func(c *imsg.ScandConfig) { c.Engines[spam].Engine, c.Engines[spam].Socket = imsg.EngineClamd, "s" },
		"a type nobody knows":   func(c *imsg.ScandConfig) { c.Engines[virus].Engine = imsg.Engine(len(imsg.EngineKinds)) },
		"an engine that is off": func(c *imsg.ScandConfig) { c.Engines[virus].Engine = imsg.EngineOff },
		"nothing to ask":        func(c *imsg.ScandConfig) { c.Engines[virus].Roles = 0 },
		"method of another": func(c *imsg.ScandConfig) {
			c.Engines[virus].Engine, c.Engines[virus].Socket, c.Engines[virus].Method = imsg.EngineMksd, "s", imsg.MethodScan
		},
		"mksd over TCP": func(c *imsg.ScandConfig) {
			c.Engines[virus].Engine, c.Engines[virus].Address = imsg.EngineMksd, loopback(1)
		},
		"too many": func(c *imsg.ScandConfig) {
			for range imsg.MaxEngines {
				c.Engines = append(c.Engines, c.Engines[virus])
			}
		},
		"fildes over TCP": func(c *imsg.ScandConfig) {
			c.Engines[virus].Engine, c.Engines[virus].Method, c.Engines[virus].Address = imsg.EngineClamd, imsg.MethodFildes, loopback(1)
		},
		"both addresses": func(c *imsg.ScandConfig) {
			c.Engines[spam].Engine, c.Engines[spam].Socket, c.Engines[spam].Address = imsg.EngineSpamd, "s", loopback(1)
		},
	} {
		conf := builtins()
		change(conf)
		if err := await(t, name, open(t, conf).Ended); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDrain(t *testing.T) {
	h := open(t, builtins())
	c := h.session()
	ask(t, c, "a")
	h.Parent.Send(&imsg.Drain{})
	// A draining session still needs its scans.
	if v := ask(t, c, string(eicar())); v.virus.Outcome != imsg.Caught {
		t.Errorf("while draining: %+v", v)
	}
	c.Close()
	if err := await(t, "the end", h.Ended); err != nil {
		t.Errorf("Main: %v", err)
	}
}

// TestGivenUp: a scanner is silent and there is no limit. Who gives up makes place
// for the next, for whom another one answers.
func TestGivenUp(t *testing.T) {
	asked := make(chan bool, 1)
	var conns atomic.Int32
	conf := builtins()
	conf.Parallel, conf.Engines[spam].Engine, conf.Engines[spam].Timeout = 1, imsg.EngineSpamd, 0
	conf.Engines[spam].Address = fake(t, "tcp4", func(c net.Conn) {
		io.Copy(io.Discard, c)
		if conns.Add(1) == 1 {
			asked <- true
			c.Read(make([]byte, 1))
			<-t.Context().Done()
			return
		}
		io.WriteString(c, "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r\n\r\n")
	}).(*net.TCPAddr).AddrPort()
	c := open(t, conf).session()
	done, failed := make(chan struct{}), make(chan error, 1)
	f := spool(t, mail)
	go func() {
		_, err := link.AskUntil(c, done, &imsg.Scan{Roles: imsg.RoleSpam}, time.Hour, f)
		failed <- err
	}()
	await(t, "the first question", asked)
	close(done)
	if err := await(t, "its end", failed); err != imsg.Gone {
		t.Errorf("given up with %v", err)
	}
	if v := askFile(t, c, f, &imsg.Scan{Roles: imsg.RoleSpam}); v.spam.Outcome != imsg.Clean || v.spam.Score != 15 {
		t.Errorf("%+v", v)
	}
}

func TestParentEnds(t *testing.T) {
	h := open(t, builtins())
	c := h.session()
	ask(t, c, "a")
	h.Parent.Close()
	if err := await(t, "the end", h.Ended); err != nil {
		t.Errorf("Main: %v", err)
	}
	await(t, "the session's link to end", c.Done())
}

// descriptors counts ours.
func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors can be counted under /proc only: ", err)
	}
	return len(all)
}

func TestNoLeak(t *testing.T) {
	const scans, callers = 10_000, 20
	c := open(t, builtins()).session()
	f := spool(t, strings.Repeat("line\r\n", 20))
	askFile(t, c, f, &imsg.Scan{Roles: imsg.RoleVirus | imsg.RoleSpam})
	before, goroutines := descriptors(t), runtime.NumGoroutine()

	failed := make(chan error, callers)
	for range callers {
		go func() {
			for range scans / callers {
				m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus | imsg.RoleSpam, Size: 120}, patience, f)
				if err == nil && each(m).virus.Outcome != imsg.Clean {
					err = fmt.Errorf("%+v", m)
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range callers {
		if err := await(t, "the scans", failed); err != nil {
			t.Fatal(err)
		}
	}
	// An answer is out before its descriptor is closed.
	until(t, "the descriptors of all scans are closed", func() bool { return descriptors(t) <= before })
	// Others come and go meanwhile; one that a scan leaves behind shows a thousandfold.
	until(t, "the goroutines of all scans end", func() bool { return runtime.NumGoroutine() < goroutines+scans/100 })
}

func TestClean(t *testing.T) {
	if got := imsg.Printable("a\x00b\xffc\r\n~", 255); got != "a#b#c##~" {
		t.Errorf("%q", got)
	}
	if got := imsg.Printable(strings.Repeat("x", 300), maxName); len(got) != maxName {
		t.Errorf("%d octets", len(got))
	}
}

// BenchmarkRoom measures scans through the room, both engines, a message of 4 KB.
func BenchmarkRoom(b *testing.B) {
	c := open(b, builtins()).session()
	f := spool(b, string(bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\r\n"), 91)))
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus | imsg.RoleSpam}, patience, f); err != nil || each(m).virus.Outcome != imsg.Clean {
				b.Errorf("%+v %v", m, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}
