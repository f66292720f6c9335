package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// benched runs the command and returns what it found.
func benched(t *testing.T, args ...string) (code int, r benchResult) {
	t.Helper()
	code, out, errs := gatectl(append([]string{"bench", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: exit %d, %v: %s%s", args, code, err, out, errs)
	}
	return code, r
}

// TestBench sends to a sink of its own, in each way there is: all that was sent is there.
func TestBench(t *testing.T) {
	for _, test := range []struct {
		args                  string
		sessions, mails, size int64
		tls, idle             int64
	}{
		{"--sessions 30", 30, 30, 4096, 0, 0},
		{"--sessions 3 --mails 20 --size 1", 3, 60, int64(len(benchMail("sender@client.bench.invalid", "reader@sink.bench.invalid", 0))), 0, 0},
		{"--sessions 2 --mails 3 --size 3000001", 2, 6, 3000001, 0, 0},
		{"--sessions 3 --bdat", 3, 3, 4096, 0, 0},
		{"--sessions 3 --mails 2 --bdat --size 700000", 3, 6, 700000, 0, 0},
		{"--sessions 4 --mails 0", 4, 0, 4096, 0, 0},
		{"--sessions 5 --tls must", 5, 5, 4096, 5, 0},
		{"--sessions 5 --tls may --bdat --size 300000 --idle 3", 5, 5, 300000, 8, 3},
		{"--sessions 5 --idle 40 --from <> --to a@example.org", 5, 5, 4096, 0, 40},
		{"--sessions 0 --idle 7 --duration 10ms", 0, 0, 4096, 0, 7},
	} {
		if strings.Contains(test.args, "<>") {
			test.args = strings.ReplaceAll(test.args, "--from <>", "--from=")
		}
		at := imsgtest.Port(t).String()
		code, r := benched(t, append(strings.Fields(test.args), "--sink", at, at)...)
		if code != exitOK || !r.Complete || len(r.Errors) > 0 {
			t.Errorf("%s: exit %d, errors %v", test.args, code, r.Errors)
		}
		for what, n := range map[string][2]int64{
			"sessions": {r.Sessions.Done, test.sessions}, "mails": {r.Mails.Done, test.mails}, "octets": {r.Octets, test.mails * test.size},
			"TLS": {r.TLS, test.tls}, "idle": {r.Idle.Done, test.idle},
			"sink's sessions": {r.Sink.Sessions, test.sessions + test.idle}, "sink's TLS": {r.Sink.TLS, test.tls},
			"sink's mails": {r.Sink.Mails, test.mails}, "sink's octets": {r.Sink.Octets, test.mails * test.size}, "broken off": {r.Sink.Broken, 0},
			"greetings": {r.Latency.Greeting.Count, test.sessions}, "ends of data": {r.Latency.EndOfData.Count, test.mails},
		} {
			if n[0] != n[1] {
				t.Errorf("%s: %s: %d, want %d", test.args, what, n[0], n[1])
			}
		}
	}
}

// TestBenchTLS: sessions are resumed where that is asked for, and a sink's certificate is
// there for who is to know it, as long as the sink.
func TestBenchTLS(t *testing.T) {
	for resume, want := range map[string]int64{"--resume": 7, "--resume=false": 0} {
		at := imsgtest.Port(t).String()
		code, r := benched(t, "--sessions", "8", "--parallel", "1", "--tls", "must", resume, "--sink", at, at)
		if code != exitOK || r.TLS != 8 || r.Resumed != want || r.Latency.Handshake.Count != 8 {
			t.Errorf("%s: exit %d, %d resumed of %d, %+v", resume, code, r.Resumed, r.TLS, r.Latency.Handshake)
		}
	}
	path, at := filepath.Join(t.TempDir(), "sink.pem"), imsgtest.Port(t).String()
	s, err := newSink("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	go s.serve()
	if err := s.writeCertificate(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%v: %s", err, text)
	}
	c, err := smtp.DialStartTLS(s.listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "sink.bench.invalid"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, args := range [][]string{
		{"--sink", at, at, "--sessions", "1", "--sink-certificate", path}, // it is somebody's
		{at, "--sink-certificate", path + ".new"},
	} {
		if code, _, errs := gatectl(append([]string{"bench"}, args...)...); code == exitOK || errs == "" {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
	}
	if code, _ := benched(t, "--sessions", "1", "--sink", at, "--sink-certificate", path+".new", at); code != exitOK {
		t.Errorf("exit %d", code)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestBenchEnds: an interrupt lets what has begun come to its end, and that counts.
func TestBenchEnds(t *testing.T) {
	s, err := newSink("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	go s.serve()
	l := load{sessions: 1 << 60, mails: 1000, size: 100, parallel: 3, tls: tlsNone, timeout: imsgtest.Patience}
	if err := l.complete([]string{s.listener.Addr().String()}, "", false); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	go func() {
		defer interrupt()
		imsgtest.Eventually("", func() bool { return s.mails.Load() > 10 })
	}()
	r := newGenerator(l).run(ctx, io.Discard)
	r.Sink = s.result()
	if !r.complete() || r.Mails.Done < 10 {
		t.Errorf("it was %+v", r)
	}
}

// fakes are servers as no generator wants them. Each has the connection for itself.
var fakes = map[string]func(c net.Conn){
	"refuses":         func(c net.Conn) { io.WriteString(c, "421 4.3.2 too many\r\n") },
	"says nothing":    func(c net.Conn) { io.Copy(io.Discard, c) },
	"trickles":        func(c net.Conn) { trickle(c, "2", "220-x\r\n") },
	"trickles a line": func(c net.Conn) { trickle(c, "220 ", "x") },
	"never ends":      func(c net.Conn) { babble(c, "220-on and on\r\n") },
	"has no lines":    func(c net.Conn) { babble(c, "220 on and on ") },
	"knows no SMTP":   func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n"); io.Copy(io.Discard, c) },
	"controls":        func(c net.Conn) { io.WriteString(c, "554 \x1b[31mred\r\n") },
	"closes":          func(c net.Conn) { io.WriteString(c, "220 x\r\n"); readLine(c) },
	"defers RCPT":     play(map[string]string{"RCPT": "450-4.7.1 first\r\n450 4.7.1 grey"}),
	"refuses mail":    play(map[string]string{".": "550 5.7.1 virus"}),
	"goes at DATA":    play(map[string]string{"DATA": ""}),
	"goes in mid-data": func(c net.Conn) {
		answer(c, map[string]string{"DATA": "354 go on"}, func(verb string) bool { return verb == "DATA" })
		io.CopyN(io.Discard, c, 100000)
	},
	"stops reading": func(c net.Conn) {
		answer(c, nil, func(verb string) bool { return verb == "DATA" })
		<-time.After(imsgtest.Patience)
	},
	"takes and is silent": func(c net.Conn) {
		answer(c, nil, func(verb string) bool { return verb == "DATA" })
		io.Copy(io.Discard, c)
	},
	"is rude at QUIT":    play(map[string]string{"QUIT": "500 what"}),
	"has TLS of its own": play(map[string]string{"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 go\r\nno TLS"}),
	"refuses TLS":        play(map[string]string{"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "454 later"}),
	"lies":               play(nil),
}

// trickle says something again and again, slowly, until it is hung up on.
func trickle(c net.Conn, first, then string) {
	for _, err := io.WriteString(c, first); err == nil; _, err = io.WriteString(c, then) {
		time.Sleep(time.Millisecond)
	}
}

func babble(c net.Conn, what string) {
	for _, err := io.WriteString(c, what); err == nil; _, err = io.WriteString(c, strings.Repeat(what, 100)) {
	}
}

func readLine(r io.Reader) (line string, err error) {
	for b := make([]byte, 1); ; {
		if _, err := r.Read(b); err != nil {
			return line, err
		}
		if line += string(b); b[0] == '\n' {
			return strings.TrimSpace(line), nil
		}
	}
}

// answer plays a server that says such things to such commands, until one that ends it.
func answer(c net.Conn, says map[string]string, ends func(verb string) bool) {
	io.WriteString(c, "220 x\r\n")
	for text := false; ; {
		line, err := readLine(c)
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(line, " ")
		if text && verb != "." {
			continue
		}
		text = verb == "DATA"
		reply, own := says[verb]
		switch {
		case own && reply == "":
			return
		case own:
		case verb == "DATA":
			reply = "354 go on"
		case verb == "QUIT":
			reply = "221 bye"
		default:
			reply = "250 ok"
		}
		io.WriteString(c, reply+"\r\n")
		if ends(verb) {
			return
		}
	}
}

func play(says map[string]string) func(net.Conn) {
	return func(c net.Conn) { answer(c, says, func(verb string) bool { return verb == "QUIT" }) }
}

// fakeServer serves until the test is over.
func fakeServer(t testing.TB, serve func(net.Conn)) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(context.Background())
	t.Cleanup(func() { end(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(over, func() { c.Close() })
			go func() {
				defer stop()
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// TestBenchHostile: whatever a server does, the command ends, and says what it was. A
// timeout may hit an earlier step where the machine is slow.
func TestBenchHostile(t *testing.T) {
	if len(fakes) < 15 {
		t.Fatal("servers are missing")
	}
	for _, test := range []struct {
		server, args string
		step         string
		what         []string
		example      string
	}{
		{"refuses", "", "greeting", []string{"421"}, "421 4.3.2 too many"},
		{"says nothing", "--timeout 300ms", "", []string{"timeout"}, ""},
		{"says nothing", "--timeout 300ms --tls first", "", []string{"timeout"}, ""},
		{"trickles", "--timeout 300ms", "", []string{"timeout", "endless reply", "no reply"}, ""},
		{"trickles a line", "--timeout 300ms", "", []string{"timeout", "endless reply"}, ""},
		{"never ends", "", "greeting", []string{"endless reply"}, ""},
		{"has no lines", "", "greeting", []string{"endless reply"}, ""},
		{"knows no SMTP", "", "greeting", []string{"no reply"}, "SSH-2.0-OpenSSH"},
		{"knows no SMTP", "--tls first", "TLS", []string{"failed"}, ""},
		{"controls", "", "greeting", []string{"554"}, "554 #[31mred"},
		{"closes", "", "EHLO", []string{"closed", "reset"}, ""},
		{"defers RCPT", "", "RCPT", []string{"450"}, "450-4.7.1 first"},
		{"refuses mail", "", "end of data", []string{"550"}, "550 5.7.1 virus"},
		{"goes at DATA", "", "DATA", []string{"closed", "reset"}, ""},
		{"goes in mid-data", "--size 30000000", "text", []string{"closed", "reset"}, ""},
		{"stops reading", "--size 50000000 --timeout 1s", "", []string{"timeout"}, ""},
		{"takes and is silent", "--timeout 1s", "", []string{"timeout"}, ""},
		{"has TLS of its own", "--tls may", "TLS", []string{"failed"}, ""},
		{"refuses TLS", "--tls may", "STARTTLS", []string{"454"}, "454 later"},
		{"lies", "--tls must", "STARTTLS", []string{"not offered"}, ""},
		{"lies", "--bdat", "BDAT", []string{"not offered"}, ""},
	} {
		t.Run(test.server+" "+test.args, func(t *testing.T) {
			t.Parallel()
			at := fakeServer(t, fakes[test.server])
			code, r := benched(t, append(strings.Fields(test.args), "--sessions", "3", "--idle", "2", at)...)
			if code != exitFailed || r.Complete || r.Sessions.Asked != 3 || r.Sessions.Done != 0 || r.Mails.Done != 0 {
				t.Errorf("exit %d, it was %+v", code, r)
			}
			var count int64
			for _, e := range r.Errors {
				count += e.Count
				if test.step != "" && e.Step != test.step || !slices.Contains(test.what, e.What) || test.example != "" && e.Example != test.example {
					t.Errorf("it says %+v", e)
				}
			}
			if count < 3 || count > 5 {
				t.Errorf("%d errors: %+v", count, r.Errors)
			}
		})
	}
}

// TestBenchHonest: what was accepted and never came to the sink, what came and was not
// accepted, and a bad end, are no success.
func TestBenchHonest(t *testing.T) {
	sinkAt := imsgtest.Port(t).String()
	code, r := benched(t, "--sessions", "3", "--sink", sinkAt, fakeServer(t, fakes["lies"]))
	if code != exitFailed || r.Complete || r.Mails.Done != 3 || r.Sink.Mails != 0 || len(r.Errors) > 0 {
		t.Errorf("mails that were lost: exit %d, %+v", code, r)
	}
	code, r = benched(t, "--sessions", "3", "--mails", "2", fakeServer(t, fakes["is rude at QUIT"]))
	if code != exitFailed || r.Complete || r.Mails.Done != 6 || r.Sessions.Done != 0 || len(r.Errors) != 1 || r.Errors[0].Step != "QUIT" {
		t.Errorf("a bad end: exit %d, %+v", code, r)
	}
	none := imsgtest.Port(t).String()
	code, r = benched(t, "--sessions", "3", none)
	if code != exitFailed || len(r.Errors) != 1 || r.Errors[0].What != "refused" || r.Errors[0].Count != 3 {
		t.Errorf("nobody there: exit %d, %+v", code, r)
	}
	if code, _, errs := gatectl("bench", "--sessions", "3", none); code != exitFailed || !strings.Contains(errs, errUndelivered.Error()) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestBenchUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "neither a target nor --sink",
		"127.0.0.1":                          "no address and port",
		"127.0.0.1:0":                        "no address and port",
		":25":                                "no address and port",
		"127.0.0.1:25 127.0.0.1:26":          "accepts at most 1 arg",
		"127.0.0.1:25 --sessions -1":         "not below 0",
		"127.0.0.1:25 --sessions 0":          "there are --idle ones",
		"127.0.0.1:25 --sessions 0 --idle 1": "and a --duration",
		"127.0.0.1:25 --mails -1":            "--mails",
		"127.0.0.1:25 --parallel 0":          "--parallel",
		"127.0.0.1:25 --size -1":             "--size",
		"127.0.0.1:25 --timeout 0s":          "--timeout",
		"127.0.0.1:25 --tls always":          "none, may, must, first",
		"127.0.0.1:25 --source 192.0.2.0/24": "not of loopback",
		"127.0.0.1:25 --source 126.0.0.0/7":  "not of loopback",
		"127.0.0.1:25 --source 127.0.0.1":    "is no network",
		"127.0.0.1:25 --source ::1/128":      "cannot reach",
		"[::1]:25 --source 127.0.0.0/8":      "cannot reach",
		"127.0.0.1:25 --to a@b>x":            "no mailbox",
		"127.0.0.1:25 --from a@b\x01":        "no mailbox",
	} {
		if code, _, errs := gatectl(append([]string{"bench"}, strings.Fields(args)...)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}
}

// TestBenchSource: each session comes from another address of the network, and none from
// its first and last.
func TestBenchSource(t *testing.T) {
	for source, want := range map[string][]string{
		"127.1.2.3/30":     {"127.1.2.1", "127.1.2.2", "127.1.2.1"},
		"127.1.2.4/31":     {"127.1.2.4", "127.1.2.4", "127.1.2.4"},
		"127.1.2.3/32":     {"127.1.2.3", "127.1.2.3", "127.1.2.3"},
		"127.0.0.0/8":      {"127.0.0.1", "127.0.0.2", "127.0.0.3"},
		"127.255.255.0/24": {"127.255.255.1", "127.255.255.2", "127.255.255.3"},
	} {
		l := load{sessions: 1, parallel: 1, tls: tlsNone, timeout: time.Second}
		if err := l.complete([]string{"127.0.0.1:25"}, source, false); err != nil {
			t.Fatal(err)
		}
		g := newGenerator(l)
		for n, a := range want {
			if got := g.sourceOf(int64(n)).String(); got != a {
				t.Errorf("session %d of %s comes from %s, want %s", n, source, got, a)
			}
		}
	}
	if !manyLoopbacks() {
		t.Skip("127.0.0.1 is all of loopback here")
	}
	at := imsgtest.Port(t).String()
	if code, r := benched(t, "--sessions", "9", "--source", "127.9.0.0/16", "--sink", at, at); code != exitOK {
		t.Errorf("exit %d: %v", code, r.Errors)
	}
}

// TestBenchMail: a message has the size that was asked for and lines that no server refuses.
func TestBenchMail(t *testing.T) {
	least := len(benchMail("a@b", "c@d", 0))
	for size := range 6000 {
		text := benchMail("a@b", "c@d", size)
		if len(text) != max(size, least) {
			t.Fatalf("%d octets of %d", len(text), size)
		}
		for line := range bytes.SplitSeq(text, []byte("\r\n")) {
			if len(line) > 998 || bytes.HasPrefix(line, []byte(".")) || bytes.ContainsAny(line, "\r\n") {
				t.Fatalf("size %d has the line %q", size, line)
			}
		}
	}
}

// BenchmarkBenchMail is what a mail costs that generator and sink are alone with.
func BenchmarkBenchMail(b *testing.B) {
	s, err := newSink("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	go s.serve()
	l := load{sessions: 1, mails: 1, size: 4096, parallel: 1, tls: tlsNone, timeout: imsgtest.Patience}
	if err := l.complete([]string{s.listener.Addr().String()}, "", false); err != nil {
		b.Fatal(err)
	}
	g := newGenerator(l)
	c, err := g.open(&g.tally.greeting)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.mail(); err != nil {
			b.Fatal(err)
		}
	}
	c.leave(nil)
}
