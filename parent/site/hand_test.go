package site

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestNoSocketIsSaidSeldom: a room that asks again and again for what cannot be made does
// not fill the log.
func TestNoSocketIsSaidSeldom(t *testing.T) {
	var said imsgtest.Journal
	s := &Site{Config: config.Default(), Log: &Log{Logger: slog.New(slog.NewTextHandler(&said, nil))}}
	s.SoMark = 1
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	none := files
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	const asked = 1000
	for range asked {
		if !s.HandSockets(func(imsg.Notice, ...*os.File) { t.Error("a socket was made") }, &imsg.Sockets{N: 1}) {
			t.Error("it needs none")
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	const text = "make a socket for a session"
	n := said.Count(text)
	if n < noSocketPace.Burst || n >= asked/2 {
		t.Errorf("of %d failures %d were logged", asked, n)
	}
	// The next one that is logged counts the others.
	s.noSocket.Meter = imsg.Meter{}
	s.noSocket.say(s.Log, unix.EMFILE)
	last := said.String()[strings.LastIndex(said.String(), text):]
	if !strings.Contains(last, "not_logged_before=99") {
		t.Errorf("after %d failures, %d of them logged in %v: %s", asked, n, time.Minute, last)
	}
}
