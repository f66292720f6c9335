package scand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

const mail = "Subject: a\r\n\r\nb\r\n"

// look has e look at text.
func look(t *testing.T, e engine, text string, limit time.Duration) (finding, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return e.scan(ctx, &message{file: spool(t, text), size: int64(len(text)), name: "1.2"})
}

func TestClamdIsTold(t *testing.T) {
	long := strings.Repeat("0123456789abcde\n", 20_000) // several chunks
	for _, tt := range []struct {
		network string
		method  imsg.Method
		command string
		text    string
	}{
		{"unix", imsg.MethodAuto, "zIDSESSION\x00zFILDES\x00", long},
		{"unix", imsg.MethodFildes, "zIDSESSION\x00zFILDES\x00", mail},
		{"tcp4", imsg.MethodAuto, "zIDSESSION\x00zINSTREAM\x00", long},
		{"tcp4", imsg.MethodInstream, "zIDSESSION\x00zINSTREAM\x00", ""},
		{"unix", imsg.MethodScan, "SCAN /spool/1.2\n", ""},
		{"tcp4", imsg.MethodScan, "SCAN /spool/1.2\n", ""},
	} {
		told := make(chan string, 2)
		at := fake(t, tt.network, func(c net.Conn) {
			command, text, err := readClamd(c)
			if err != nil {
				t.Errorf("%s: %v", tt.command, err)
			}
			told <- command
			told <- text
			io.WriteString(c, map[bool]string{true: "/spool/1.2: OK\n", false: "1: x: OK\x00"}[tt.method == imsg.MethodScan])
		})
		e, err := newClamd(&imsg.EngineConfig{Method: tt.method}, addressOf(at), "/spool/")
		if err != nil {
			t.Fatal(err)
		}
		f, err := look(t, e, tt.text, patience)
		if err != nil || f.outcome != imsg.Clean {
			t.Errorf("%q: %+v %v", tt.command, f, err)
		}
		if got := await(t, "the command", told); got != tt.command {
			t.Errorf("command %q, want %q", got, tt.command)
		}
		if got := await(t, "the message", told); got != tt.text && tt.method != imsg.MethodScan {
			t.Errorf("%q: %d octets of %d", tt.command, len(got), len(tt.text))
		}
	}
}

func TestSpamdIsTold(t *testing.T) {
	for network, end := range map[string]string{"unix": "\r\n\r\n", "tcp4": "\r\n"} {
		told := make(chan string, 1)
		at := fake(t, network, func(c net.Conn) {
			text, err := readSpamd(c)
			if err != nil {
				t.Error(err)
			}
			told <- text
			io.WriteString(c, "SPAMD/1.1 0 EX_OK\r\nSpam: False ; -1.5 / 5.0"+end)
		})
		f, err := look(t, &spamd{addressOf(at)}, mail, patience)
		if err != nil || f.outcome != imsg.Clean || f.score != -1.5 {
			t.Errorf("%+v %v", f, err)
		}
		want := fmt.Sprintf("CHECK SPAMC/1.2\r\nContent-length: %d\r\n\r\n%s", len(mail), mail)
		if got := await(t, "the question", told); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestMksdIsTold(t *testing.T) {
	at := fake(t, "unix", func(c net.Conn) {
		buf := make([]byte, 100)
		if n, _ := c.Read(buf); string(buf[:n]) != "MSQ/spool/1.2\n" {
			t.Errorf("%q", buf[:n])
		}
		io.WriteString(c, "VIR Eicar x\n")
		io.Copy(io.Discard, c) // it does not close first
	})
	f, err := look(t, &mksd{addressOf(at), "/spool"}, mail, patience)
	if err != nil || f.outcome != imsg.Caught || f.name != "Eicar" {
		t.Errorf("%+v %v", f, err)
	}
}

// TestBadScanners: whatever a scanner does wrong, the message is not clean.
func TestBadScanners(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(engine) engine) {
		drain := func(c net.Conn) { io.Copy(io.Discard, c) }
		good := map[string]string{"clamd": "1: fd[1]: OK\x00", "instream": "1: stream: OK\x00", "scan": "/spool/1.2: OK\n", "spamd": "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n", "mksd": "OK\n"}
		for name, serve := range map[string]func(c net.Conn, good string){
			"closes at once": func(net.Conn, string) {},
			"closes unread":  func(c net.Conn, _ string) { c.Read(make([]byte, 1)) },
			"garbage":        func(c net.Conn, _ string) { c.Write([]byte("\x00\xff\x00garbage\r\n\r\n\x00")) },
			"cut answer":     func(c net.Conn, good string) { c.Write([]byte(good[:1])) },
			"huge answer": func(c net.Conn, good string) {
				for range 1000 {
					if _, err := c.Write([]byte(strings.Repeat("x", 1000))); err != nil {
						return
					}
				}
				c.Write([]byte(good))
			},
			"endless": func(c net.Conn, _ string) {
				for {
					if _, err := c.Write([]byte("xxxx")); err != nil {
						return
					}
				}
			},
			"silent": func(c net.Conn, _ string) { drain(c) },
			"one octet, then silent": func(c net.Conn, good string) {
				c.Write([]byte(good[:1]))
				drain(c)
			},
		} {
			for kind, answer := range good {
				at := fake(t, map[bool]string{true: "tcp4", false: "unix"}[kind == "instream"], func(c net.Conn) { serve(c, answer) })
				e := map[string]engine{
					"clamd":    &clamd{at: addressOf(at), method: imsg.MethodFildes, spool: ""},
					"instream": &clamd{at: addressOf(at), method: imsg.MethodInstream, spool: ""},
					"scan":     &clamd{at: addressOf(at), method: imsg.MethodScan, spool: "/spool"},
					"spamd":    &spamd{addressOf(at)},
					"mksd":     &mksd{addressOf(at), "/spool"},
				}[kind]
				f, err := look(t, way(e), mail, 300*time.Millisecond)
				if err == nil {
					t.Errorf("%s %s: %+v", kind, name, f)
				}
			}
		}
	})
}

// TestVerdictOnHalf: a scanner that stops reading has not seen the message, but a
// refusal or a find it gives first is heard.
func TestVerdictOnHalf(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(engine) engine) {
		big := strings.Repeat("0123456789abcde\n", 1<<20) // more than any socket buffer takes
		for _, tt := range []struct {
			network, answer string
			want            imsg.Outcome
			problem         string
		}{
			{"tcp4", "1: stream: OK\x00", imsg.Failed, "send"},
			{"tcp4", "1: INSTREAM size limit exceeded. ERROR\x00", imsg.Failed, "size limit exceeded"},
			{"tcp4", "1: stream: V FOUND\x00", imsg.Caught, ""},
			{"unix", "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n", imsg.Failed, "send"},
		} {
			at := fake(t, tt.network, func(c net.Conn) {
				io.ReadFull(c, make([]byte, 200_000))
				io.WriteString(c, tt.answer)
				c.(interface{ CloseRead() error }).CloseRead()
			})
			var e engine = &clamd{at: addressOf(at), method: imsg.MethodInstream, spool: ""}
			if tt.network == "unix" {
				e = &spamd{addressOf(at)}
			}
			f, err := look(t, way(e), big, patience)
			if err != nil {
				f.outcome = imsg.Failed
			}
			if f.outcome != tt.want || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%q: %+v %v", tt.answer, f, err)
			}
		}
	})
}

// TestTimeIsOver: wherever a scan waits, it ends with its time, as one that took too
// long, and when it is given up.
func TestTimeIsOver(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(engine) engine) {
		big := strings.Repeat("0123456789abcde\n", 1<<20) // more than any socket buffer takes
		hold := func(c net.Conn) { <-t.Context().Done() }
		tcp, local := addressOf(fake(t, "tcp4", hold)), addressOf(fake(t, "unix", hold))
		full := fullPort(t)
		for name, tt := range map[string]struct {
			e    engine
			text string
		}{
			"connect, clamd": {&clamd{at: full, method: imsg.MethodInstream}, mail},
			"connect, spamd": {&spamd{full}, mail},
			"send, clamd":    {&clamd{at: tcp, method: imsg.MethodInstream}, big},
			"send, spamd":    {&spamd{local}, big},
			"read, fildes":   {&clamd{at: local, method: imsg.MethodFildes}, mail},
			"read, scan":     {&clamd{at: local, method: imsg.MethodScan, spool: "/spool"}, mail},
			"read, spamd":    {&spamd{local}, mail},
			"read, mksd":     {&mksd{local, "/spool"}, mail},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := look(t, way(tt.e), tt.text, 50*time.Millisecond)
				if late := net.Error(nil); !errors.As(err, &late) || !late.Timeout() {
					t.Errorf("its time was over: %v", err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				m := &message{file: spool(t, tt.text), size: int64(len(tt.text)), name: "1.2"}
				if _, err := way(tt.e).scan(ctx, m); !errors.Is(err, context.Canceled) {
					t.Errorf("given up: %v", err)
				}
			})
		}
	})
}

// fullPort is where nobody accepts and no more may wait.
func fullPort(t *testing.T) address {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := address{port: loopback(uint16(name.(*unix.SockaddrInet4).Port)), name: "a full port"}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		c, err := a.dial(ctx)
		cancel()
		if err != nil {
			return a
		}
		t.Cleanup(c.close)
	}
	t.Skip("here no port is ever full")
	return a
}

func TestCutMessage(t *testing.T) {
	instream := fake(t, "tcp4", func(c net.Conn) {
		readClamd(c)
		io.WriteString(c, "1: stream: OK\x00")
	})
	spam := fake(t, "tcp4", func(c net.Conn) {
		readSpamd(c)
		io.WriteString(c, "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n")
	})
	for _, e := range []engine{
		&clamd{at: addressOf(instream), method: imsg.MethodInstream, spool: ""},
		&spamd{addressOf(spam)},
		builtinEngine(t),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		f, err := e.scan(ctx, &message{file: spool(t, mail), size: int64(len(mail)) + 1, roles: imsg.RoleVirus})
		cancel()
		if err == nil {
			t.Errorf("%T: %+v", e, f)
		}
	}
}

func TestMessageNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"1700000000.7": true, "1700000000.7.part": true, "": false, ".": false, "..": false, ".x": false,
		"../lock/1": false, "a/b": false, "a\nSHUTDOWN": false, "a\x00b": false, "a b": false, "ä": false,
	} {
		path, err := (&message{name: name}).path("/var/spool/msg/")
		if (err == nil) != ok || ok && path != "/var/spool/msg/"+name {
			t.Errorf("%q: %q %v", name, path, err)
		}
	}
}

// TestSideBySide: each engine answers only once the other has been asked.
func TestSideBySide(t *testing.T) {
	virusAsked, spamAsked := make(chan struct{}), make(chan struct{})
	av := fake(t, "unix", func(c net.Conn) {
		readClamd(c)
		close(virusAsked)
		await(t, "the spam engine", spamAsked)
		io.WriteString(c, "1: fd[1]: OK\x00")
	})
	as := fake(t, "unix", func(c net.Conn) {
		text, _ := readSpamd(c)
		close(spamAsked)
		await(t, "the virus engine", virusAsked)
		if !strings.HasSuffix(text, mail) {
			t.Errorf("%q", text)
		}
		io.WriteString(c, "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 7.5 / 5\r\n\r\n")
	})
	conf := builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, av.String()
	conf.Engines[spam].Engine, conf.Engines[spam].Socket = imsg.EngineSpamd, as.String()
	v := ask(t, open(t, conf).session(), mail)
	if v.virus.Outcome != imsg.Clean || v.spam.Outcome != imsg.Clean || v.spam.Score != 7.5 {
		t.Errorf("%+v", v)
	}
}

// silent is clamd that never answers; started and gone tell of its connections.
func silent(t *testing.T) (conf *imsg.ScandConfig, started, gone chan struct{}) {
	started, gone = make(chan struct{}, 100), make(chan struct{}, 100)
	at := fake(t, "unix", func(c net.Conn) {
		readClamd(c)
		started <- struct{}{}
		io.Copy(io.Discard, c)
		gone <- struct{}{}
	})
	conf = builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, at.String()
	return conf, started, gone
}

func TestDeadlines(t *testing.T) {
	conf, started, gone := silent(t)
	conf.Parallel = 1
	var c *link.Conn
	for conf.Engines[virus].Timeout = range imsgtest.Limits(500 * time.Millisecond) {
		c = open(t, conf).session()
		v := ask(t, c, mail)
		if v.virus.Outcome != imsg.TimedOut || v.virus.Problem == "" || v.virus.Time < conf.Engines[virus].Timeout || v.spam.Outcome != imsg.Clean {
			t.Errorf("%+v", v)
		}
		if len(gone) > 0 || len(started) > 0 {
			break // there was time to ask
		}
	}
	await(t, "the question", started)
	await(t, "its end", gone)

	// The wait for a place counts too: the second never reaches the scanner.
	answers := make(chan answer, 2)
	for range 2 {
		f := spool(t, mail)
		go func() {
			m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, patience, f)
			if err != nil {
				t.Error(err)
				m = new(imsg.Verdict)
			}
			answers <- each(m)
		}()
	}
	for range 2 {
		if v := await(t, "an answer", answers); v.virus.Outcome != imsg.TimedOut || v.virus.Time > patience/2 {
			t.Errorf("%+v", v)
		}
	}
}

// TestParallel: a scanner that waits for company at each question gets none.
func TestParallel(t *testing.T) {
	for _, want := range []bool{false, true} {
		asked := make(chan struct{})
		company := make(chan struct{}, 4)
		at := fake(t, "unix", func(c net.Conn) {
			readClamd(c)
			select {
			case asked <- struct{}{}:
			case <-asked:
				company <- struct{}{}
			case <-time.After(map[bool]time.Duration{false: 50 * time.Millisecond, true: patience}[want]):
			}
			io.WriteString(c, "1: fd[1]: OK\x00")
		})
		conf := builtins()
		conf.Engines[virus].Engine, conf.Engines[virus].Socket, conf.Parallel = imsg.EngineClamd, at.String(), 1
		if want {
			conf.Parallel = 2
		}
		c := open(t, conf).session()
		got := make(chan error, 4)
		for range cap(got) {
			f := spool(t, mail)
			go func() {
				_, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, 2*patience, f)
				got <- err
			}()
		}
		for range cap(got) {
			if err := await(t, "an answer", got); err != nil {
				t.Error(err)
			}
		}
		if (len(company) > 0) != want {
			t.Errorf("%d parallel: questions at once: %v", conf.Parallel, !want)
		}
	}
}

func TestSessionGone(t *testing.T) {
	conf, started, gone := silent(t)
	h := open(t, conf)
	c := h.session()
	before := descriptors(t)
	ended := make(chan error, 1)
	f := spool(t, mail)
	go func() {
		_, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, patience, f)
		ended <- err
	}()
	await(t, "the question", started)
	c.Close()
	if err := await(t, "the call's end", ended); err != imsg.Gone {
		t.Errorf("call: %v", err)
	}
	await(t, "the scan to be cancelled", gone)
	h.Parent.Close()
	await(t, "the end", h.Ended)
	f.Close()
	until(t, "descriptors are closed", func() bool { return descriptors(t) <= before })
}

// until polls for what nothing tells of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	imsgtest.Until(t, what, ok)
}

func TestBusy(t *testing.T) {
	conf, _, _ := silent(t)
	h := open(t, conf)
	f := spool(t, mail)
	got := make(chan error, 3*256)
	for range 3 { // a link has 256 calls open at most
		c := h.session()
		for range 256 {
			go func() {
				_, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, patience, f)
				got <- err
			}()
		}
	}
	for range 3*256 - maxHeld {
		if err := await(t, "a refusal", got); err != imsg.Busy {
			t.Fatalf("%v", err)
		}
	}
}

func TestScannerAbsent(t *testing.T) {
	conf := builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, filepath.Join(short(t), "none")
	conf.Engines[spam].Engine, conf.Engines[spam].Address = imsg.EngineSpamd, loopback(1)
	v := ask(t, open(t, conf).session(), mail)
	if v.virus.Outcome != imsg.Failed || !strings.Contains(v.virus.Problem, "no such file") || v.spam.Outcome != imsg.Failed || !strings.Contains(v.spam.Problem, "refused") {
		t.Errorf("%+v", v)
	}
}

// TestRootReplaced: a scanner's restart removes the directory we live in.
func TestRootReplaced(t *testing.T) {
	dir := short(t)
	t.Chdir(dir)
	conf := builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket, conf.Engines[virus].Name = imsg.EngineClamd, "clamd.ctl", "/jail/run/clamd.ctl"
	h := open(t, conf)
	c := h.session()
	if v := ask(t, c, mail); v.virus.Outcome != imsg.Failed || v.virus.Problem != "clamd: connect to /jail/run/clamd.ctl: connect: no such file or directory" {
		t.Errorf("without a scanner: %+v", v)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	f := spool(t, mail)
	if m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, patience, f); err == nil && each(m).virus.Outcome != imsg.Failed {
		t.Errorf("without a directory: %+v", m)
	}
	if err := await(t, "the room's end", h.Ended); err != errReplace {
		t.Errorf("Main: %v", err)
	}
}

// broken panics, as a bug would.
type broken struct{}

func (broken) scan(context.Context, *message) (finding, error) { panic("a bug") }

// idle gives its zero value for a verdict.
type idle struct{}

func (idle) scan(context.Context, *message) (finding, error) { return finding{}, nil }

func TestBrokenEngines(t *testing.T) {
	p, err := process.Start(pipe(t), imsg.Scand)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := &room{parent: p}
	for _, e := range []engine{broken{}, idle{}} {
		r := imsg.Finding{Roles: imsg.RoleVirus}
		s.run(t.Context(), newLimitedEngine(&imsg.EngineConfig{}, e, 1), &imsg.Scan{}, spool(t, mail), &r)
		if r.Outcome != imsg.Failed || r.Problem == "" {
			t.Errorf("%T: %+v", e, r)
		}
	}
}

// pipe is a link to a parent that does not listen.
func pipe(t *testing.T) *os.File {
	ours, theirs, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return theirs
}

// TestPausedScanKeepsNobody: what a scan does behind a pause takes its time, and keeps nobody
// waiting, as what it does before one.
func TestPausedScanKeepsNobody(t *testing.T) {
	asked, answer := make(chan bool, 1), make(chan bool)
	conf := builtins()
	conf.Engines[virus].Engine = imsg.EngineClamd
	conf.Engines[virus].Socket = fake(t, "unix", func(c net.Conn) {
		s := newClamdSide(c)
		for { // until the descriptor is here: the message is too big to be read
			if b, err := s.in.ReadByte(); err != nil {
				return
			} else if b == 'S' && len(s.rights) > 0 {
				break
			}
		}
		asked <- true
		<-answer
		io.WriteString(c, "1: x: OK\x00")
		io.Copy(io.Discard, c)
	}).String()
	h := open(t, conf)
	one, other := h.session(), h.session()
	big, err := os.Create(filepath.Join(t.TempDir(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if err := big.Truncate(4 << 30); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := link.Ask(one, &imsg.Scan{Roles: imsg.RoleVirus | imsg.RoleSpam}, patience, big) // of no octets, it says
		ended <- err
	}()
	await(t, "the question to clamd", asked)
	answer <- true
	for range 20 { // until it is looked at here, and then
		if v := askFile(t, other, spool(t, mail), &imsg.Scan{Roles: imsg.RoleSpam}); v.spam.Outcome != imsg.Clean {
			t.Errorf("%+v", v)
		}
		time.Sleep(5 * time.Millisecond)
	}
	select {
	case <-ended:
		t.Error("another's question waited for it")
	default:
	}
	one.Close() // which gives it up
	await(t, "the end of the long scan", ended)
}
