package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// toFile gives a log a plain file for a sink and returns what was written.
func toFile(t *testing.T, s imsg.Sink, say func(*slog.Logger)) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	l := New(imsg.Session)
	l.SetSink(&s, f)
	say(l.Logger())
	l.Flush()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var debugStream = imsg.Sink{Kind: imsg.SinkStream, Level: int(slog.LevelDebug)}

// text is a stream's line without its time.
func text(line string) string {
	if len(line) < len(stamp)+1 {
		return line
	}
	return line[len(stamp)+1:]
}

func TestLegacyForm(t *testing.T) {
	pid := fmt.Sprintf("smtp-gated[%d]: ", os.Getpid())
	for _, c := range []struct {
		name string
		say  func(*slog.Logger)
		want string
	}{
		{"bare", func(l *slog.Logger) { l.Info("CLOSE:TAKEN") }, pid + "CLOSE:TAKEN"},
		{"fields", func(l *slog.Logger) { l.Info("LOCK:LOCKED", "src", "192.0.2.1", "ident", "") }, pid + "LOCK:LOCKED src=192.0.2.1, ident="},
		{"session", func(l *slog.Logger) { l.Info("NEW", imsg.SessionKey, uint64(7), "src", "x") }, "smtp-gated[7]: NEW src=x"},
		{"session as int", func(l *slog.Logger) { l.Info("NEW", imsg.SessionKey, 7) }, "smtp-gated[7]: NEW"},
		{"session by With", func(l *slog.Logger) { l.With(imsg.SessionKey, uint64(8)).Info("NEW", "a", 1) }, "smtp-gated[8]: NEW a=1"},
		{"float", func(l *slog.Logger) { l.Info("SPAM:FOUND", "score", 7.25) }, pid + "SPAM:FOUND score=7.250000"},
		{"group", func(l *slog.Logger) { l.WithGroup("g").Info("m", slog.Group("h", "k", true)) }, pid + "m g.h.k=true"},
		{"error", func(l *slog.Logger) { l.Error("m", "error", errors.New("no\nway")) }, pid + "m error=no#way"},
		{"forged", func(l *slog.Logger) { l.Info("EHLO", "helo", "a\r\nb\x00\x1b[1m\x7fé") }, pid + "EHLO helo=a##b##[1m###"},
		{"duration", func(l *slog.Logger) { l.Info("m", "after", 1500*time.Millisecond) }, pid + "m after=1.5s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := text(toFile(t, debugStream, c.say)); got != c.want+"\n" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestWholeNames: an error names a file below the room's root as somebody outside
// of it would look for it.
func TestWholeNames(t *testing.T) {
	s := debugStream
	s.Root = "/jail/spool"
	below := &fs.PathError{Op: "open", Path: "7.part", Err: fs.ErrPermission}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("make 7.part: %w", below), "make 7.part: open /jail/spool/7.part: permission denied"},
		{&fs.PathError{Op: "open", Path: ".", Err: fs.ErrNotExist}, "open /jail/spool: file does not exist"},
		{&fs.PathError{Op: "open", Path: "/dev/null", Err: fs.ErrNotExist}, "open /dev/null: file does not exist"},
		{errors.New("7.part"), "7.part"},
	} {
		got := toFile(t, s, func(l *slog.Logger) { l.Error("m", "error", c.err) })
		if !strings.HasSuffix(got, " m error="+c.want+"\n") {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := toFile(t, debugStream, func(l *slog.Logger) { l.Error("m", "error", below) }); !strings.Contains(got, "open 7.part: ") {
		t.Errorf("without a root: %q", got)
	}
}

// TestNumbersAreNoErrors: what looks for errors among the attributes leaves the others as
// they are, and makes no copy of them.
func TestNumbersAreNoErrors(t *testing.T) {
	for _, a := range []slog.Attr{slog.Int64("n", 1<<40), slog.Uint64("n", 1<<40), slog.Float64("n", 1.5), slog.String("s", "x"), slog.Bool("b", true)} {
		if n := testing.AllocsPerRun(100, func() {
			if missing(a.Value) || !whole(a, "/jail").Equal(a) {
				t.Error(a)
			}
		}); n > 0 {
			t.Errorf("%v: %v allocations", a, n)
		}
	}
}

func TestLongRecordIsCut(t *testing.T) {
	got := toFile(t, debugStream, func(l *slog.Logger) { l.Info(strings.Repeat("x", 1<<20), "k", strings.Repeat("y", 1<<20)) })
	if n := len(got); n < maxText || n > 2*maxText+1 || !strings.HasSuffix(got, "y\n") {
		t.Errorf("%d octets, ends in %q", n, got[len(got)-2:])
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct{ severity, lines int }{{7, 9}, {6, 8}, {5, 7}, {4, 6}, {3, 5}, {2, 4}, {1, 3}, {0, 2}} {
		got := toFile(t, imsg.Sink{Kind: imsg.SinkStream, Level: int(LevelOf(c.severity))}, func(l *slog.Logger) {
			for _, level := range append(levels[:], LevelAlways) {
				l.Log(t.Context(), level, "m")
			}
		})
		if n := strings.Count(got, "\n"); n != c.lines {
			t.Errorf("log_level %d lets %d of 9 records pass, want %d", c.severity, n, c.lines)
		}
	}
	for want, l := range levels {
		if got := severity(l); got != want {
			t.Errorf("level %v has severity %d, want %d", l, got, want)
		}
	}
	for beyond, want := range map[slog.Level]int{0: 6, LevelNotice: 5, slog.LevelWarn: 4} {
		if got := severity(LevelAlways + beyond); got != want {
			t.Errorf("LevelAlways+%d has severity %d, want %d", beyond, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	s := debugStream
	s.JSON = true
	got := toFile(t, s, func(l *slog.Logger) {
		l.Warn(`say "hi"`, imsg.SessionKey, 3, "n", 5, "score", 1.5, "yes", true, "who", "a\\b\nc")
	})
	var o map[string]any
	if err := json.Unmarshal([]byte(got), &o); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	for key, want := range map[string]any{
		"level": "warning", "process": "session", "pid": float64(os.Getpid()), "session": 3.0,
		"message": `say "hi"`, "n": 5.0, "score": 1.5, "yes": true, "who": `a\b#c`,
	} {
		if o[key] != want {
			t.Errorf("%s is %v, want %v", key, o[key], want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, o["ts"].(string)); err != nil {
		t.Error(err)
	}
}

// socket makes a listening UNIX datagram socket and a client of it.
func socket(t *testing.T) (server *net.UnixConn, client *os.File) {
	t.Helper()
	a := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "log"), Net: "unixgram"}
	server, err := net.ListenUnixgram("unixgram", a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	c, err := net.DialUnix("unixgram", nil, a)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(imsgtest.Deadline())
	return server, f
}

func datagram(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSyslogForm(t *testing.T) {
	server, client := socket(t)
	l := New(imsg.Session)
	l.SetSink(&imsg.Sink{Kind: imsg.SinkSyslog, Level: int(slog.LevelInfo), Facility: 2}, client)
	l.Logger().Log(t.Context(), LevelAlways, "NEW (1/0)", imsg.SessionKey, 9, "id", "1.9")
	got := datagram(t, server)
	if !strings.HasPrefix(got, "<22>") || got[4+len(stamp):] != " smtp-gated[9]: NEW (1/0) id=1.9" {
		t.Errorf("got %q", got)
	}
	if _, err := time.Parse(stamp, got[4:4+len(stamp)]); err != nil {
		t.Error(err)
	}
}

func TestJournalForm(t *testing.T) {
	server, client := socket(t)
	l := New(imsg.Lockd)
	l.SetSink(&imsg.Sink{Kind: imsg.SinkJournal, Level: int(slog.LevelInfo), Facility: 3}, client)
	l.Logger().Error("LOCK:LOCKED", imsg.SessionKey, 9, "src.ip", "192.0.2.1\nMESSAGE=forged")
	want := "PRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=smtp-gated\nSYSLOG_PID=9\nGATED_ROOM=lockd\nGATED_SESSION=9\n" +
		"MESSAGE=LOCK:LOCKED src.ip=192.0.2.1#MESSAGE=forged, session=9\nGATED_SRC_IP=192.0.2.1#MESSAGE=forged\n"
	if got := datagram(t, server); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestSessionInJournal: the journal shows a process in the tag, so each line says
// itself which session it is about, and no other line does.
func TestSessionInJournal(t *testing.T) {
	for _, tt := range []struct {
		json       bool
		session    int
		text, line string
	}{
		{false, 12, "CLOSE:TAKEN", "MESSAGE=CLOSE:TAKEN, session=12\n"},
		{false, 0, "ready", "MESSAGE=ready\n"},
		{true, 12, "CLOSE:TAKEN", `"session":12,"message":"CLOSE:TAKEN"}` + "\n"},
	} {
		server, client := socket(t)
		l := New(imsg.Session)
		l.SetSink(&imsg.Sink{Kind: imsg.SinkJournal, Level: int(slog.LevelInfo), Facility: 3, JSON: tt.json}, client)
		l.Logger().Info(tt.text, imsg.SessionKey, tt.session)
		got := datagram(t, server)
		if !strings.Contains(got, tt.line) || strings.Contains(got, "GATED_SESSION=12\n") != (tt.session == 12) {
			t.Errorf("got %q", got)
		}
	}
}

// TestBeforeTheFirstSink: what is said early is kept, and held against the level
// that is known only later.
func TestBeforeTheFirstSink(t *testing.T) {
	server, client := socket(t)
	l := New(imsg.Session)
	l.Logger().Debug("quiet")
	l.Logger().Info("kept")
	l.SetSink(&imsg.Sink{Kind: imsg.SinkSyslog, Level: int(slog.LevelInfo)}, client)
	if got := datagram(t, server); !strings.HasSuffix(got, ": kept") {
		t.Errorf("got %q", got)
	}
}

// TestStuckSink: nobody reads the other end. No caller waits, and the lines that
// were lost are counted once there is a reader again.
func TestStuckSink(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := New(imsg.Session)
	l.SetSink(&debugStream, w)
	const lines = 3 * maxWaiting
	long := strings.Repeat("x", 200)
	said := make(chan bool, 1)
	go func() {
		for range lines {
			l.Logger().Info(long)
		}
		said <- true
	}()
	imsgtest.Receive(t, "the last word", said) // nobody has read yet
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	l.Flush()
	l.Logger().Info("again")
	l.Flush()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.SetSink(&debugStream, null)
	all := <-read
	written, lost := strings.Count(all, long), 0
	for line := range strings.SplitSeq(all, "\n") {
		if _, n, ok := strings.Cut(line, "log lines were lost count="); ok {
			n, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			lost += n
		}
	}
	if ever := l.Lost(); ever != uint64(lost) {
		t.Errorf("%d told as lost, ever %d", lost, ever)
	}
	if lost == 0 || written+lost != lines {
		t.Errorf("%d written and %d counted as lost of %d", written, lost, lines)
	}
}

// TestBrokenSink: the syslog daemon is gone. The next sink hears of the loss.
func TestBrokenSink(t *testing.T) {
	server, client := socket(t)
	server.Close()
	l := New(imsg.Session)
	l.SetSink(&imsg.Sink{Kind: imsg.SinkSyslog, Level: int(slog.LevelInfo)}, client)
	l.Logger().Info("into the void")
	l.Flush()
	server, client = socket(t)
	l.SetSink(&imsg.Sink{Kind: imsg.SinkSyslog, Level: int(slog.LevelInfo)}, client)
	l.Logger().Info("heard")
	if got := datagram(t, server); !strings.HasSuffix(got, ": heard") {
		t.Errorf("got %q", got)
	}
	if got := datagram(t, server); !strings.HasSuffix(got, ": log lines were lost count=1") {
		t.Errorf("got %q", got)
	}
}

func BenchmarkLog(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	l := New(imsg.Session)
	l.SetSink(&debugStream, null)
	log := l.Logger().With(imsg.SessionKey, uint64(1))
	b.ReportAllocs()
	for b.Loop() {
		log.Info("CLOSE by=client", "trns", 1, "src", "192.0.2.1", "ident", "")
	}
}
