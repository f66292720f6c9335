package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestTrace: the file is new, nobody else's to read, and the daemon writes to it.
func TestTrace(t *testing.T) {
	asked := make(chan imsg.Trace, 10)
	var answer atomic.Pointer[imsg.Done]
	answer.Store(&imsg.Done{})
	socket := lockdAt(t, func(r link.Request) {
		defer r.Close()
		asked <- *r.Message.(*imsg.Trace)
		r.Files[0].WriteString("told\n")
		family.Answer(r, answer.Load())
	})
	name := filepath.Join(t.TempDir(), "trace")
	code, out, errs := gatectl("--socket", socket, "trace", "::ffff:192.0.2.0/120", name, "--sessions", "3", "--for", "90s")
	if code != exitOK || !strings.HasPrefix(out, "the next 3 sessions of 192.0.2.0/24 will be written to "+name+", 10.0 MiB at most, until ") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	want := imsg.Trace{Client: netip.MustParseAddr("192.0.2.0"), Bits: 24, Sessions: 3, For: 90 * time.Second}
	if got := <-asked; got != want {
		t.Errorf("asked %+v", got)
	}
	text, _ := os.ReadFile(name)
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 || !strings.HasPrefix(string(text), "# smtp-gated: a trace of 3 sessions of 192.0.2.0/24, until ") ||
		!strings.HasSuffix(string(text), "\ntold\n") || len(text) > imsg.TraceHead {
		t.Errorf("%v: %q", info, text)
	}

	// What is there stays as it is.
	code, _, errs = gatectl("--socket", socket, "trace", "192.0.2.7", name)
	if after, _ := os.ReadFile(name); code != exitFailed || !strings.Contains(errs, "file exists") || string(after) != string(text) {
		t.Errorf("exit %d: %s", code, errs)
	}
	dangling := name + ".link"
	os.Symlink(name+".far", dangling)
	if code, _, errs = gatectl("--socket", socket, "trace", "192.0.2.7", dangling); code != exitFailed {
		t.Errorf("exit %d: %s", code, errs)
	}

	other := name + ".other"
	code, out, _ = gatectl("--socket", socket, "--json", "trace", "2001:db8::7", other)
	var said struct {
		Client, File string
		Sessions     int
		Until        time.Time
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != exitOK || said.Client != "2001:db8::7" || said.File != other || said.Sessions != 1 || said.Until.IsZero() {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}

	// Where the daemon refuses there is no file.
	answer.Store(&imsg.Done{Errno: imsg.Busy, Detail: "no more\x1b at once"})
	refused := name + ".refused"
	code, _, errs = gatectl("--socket", socket, "trace", "192.0.2.7", refused)
	if code != exitFailed || errs != "smtp-gatectl: no more# at once\n" {
		t.Errorf("exit %d: %q", code, errs)
	}
	code, _, _ = gatectl("--socket", socket+".none", "trace", "192.0.2.7", refused)
	if _, err := os.Lstat(refused); err == nil || code != exitFailed {
		t.Errorf("exit %d, and a file is left", code)
	}

	for _, args := range [][]string{
		{"192.0.2.7"},
		{"192.0.2.7", refused, "more"},
		{"somebody", refused},
		{"192.0.2.7/33", refused},
		{"192.0.2.7/24", refused},
		{"fe80::1%eth0", refused},
		{"192.0.2.7", refused, "--sessions", "0"},
		{"192.0.2.7", refused, "--sessions", "101"},
		{"192.0.2.7", refused, "--for", "10"},
		{"192.0.2.7", refused, "--for", "999ms"},
		{"192.0.2.7", refused, "--for", "25h"},
	} {
		if code, _, errs := gatectl(append([]string{"--socket", socket, "trace"}, args...)...); code != exitUsage || errs == "" {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
		if _, err := os.Lstat(refused); err == nil {
			t.Fatalf("%v: a file is left", args)
		}
	}
}

// TestTraceUndecided: where nobody has answered the trace may be under way, and its file
// stays; a refusal of whatever kind takes it away.
func TestTraceUndecided(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(r link.Request)
		stays  bool
	}{
		"it hangs up":           {func(r link.Request) { r.From().Close() }, true},
		"nobody answers":        {func(r link.Request) { r.Fail(imsg.Timeout) }, true},
		"it refuses":            {func(r link.Request) { family.Answer(r, &imsg.Done{Errno: imsg.Invalid}) }, false},
		"another lockd is next": {func(r link.Request) { family.Answer(r, &imsg.Done{Errno: imsg.Gone, Detail: "try again"}) }, false},
		"it only looks":         {func(r link.Request) { r.Fail(imsg.ReadOnly) }, false},
	} {
		name := filepath.Join(t.TempDir(), "trace")
		socket := lockdAt(t, func(r link.Request) {
			defer r.Close()
			c.answer(r)
		})
		code, _, errs := gatectl("--socket", socket, "trace", "192.0.2.7", name)
		_, err := os.Lstat(name)
		if code != exitFailed || (err == nil) != c.stays || strings.Contains(errs, name+" stays") != c.stays {
			t.Errorf("%s: exit %d, %v: %s", what, code, err, errs)
		}
	}
}

// TestTraceIsNotLed: no link that somebody else could have put there leads to the file's
// folder.
func TestTraceIsNotLed(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		defer r.Close()
		family.Answer(r, &imsg.Done{})
	})
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/open", 0), os.Chmod(dir+"/open", 0o777), os.Mkdir(dir+"/target", 0o755), os.Symlink("../target", dir+"/open/trap")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := gatectl("--socket", socket, "trace", "192.0.2.7", dir+"/open/trap/trace"); code != exitFailed || !strings.Contains(errs, "lies where others may put one") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if found, _ := os.ReadDir(dir + "/target"); len(found) > 0 {
		t.Errorf("%v was made", found)
	}
}

// TestStatusOfTraces shows those that are under way.
func TestStatusOfTraces(t *testing.T) {
	until := time.Date(2026, 5, 4, 3, 12, 1, 0, time.Local)
	socket := lockdAt(t, func(r link.Request) {
		family.Answer(r, &imsg.StatusReport{Traces: []imsg.TraceStatus{
			{Client: netip.MustParseAddr("192.0.2.7"), Bits: 32, Left: 1, Running: 2, Until: until.UnixNano(), UID: 1000},
		}})
	})
	_, out, _ := gatectl("--socket", socket, "status")
	if want := "trace       192.0.2.7, 1 session to come, 2 under way, until 2026-05-04 03:12:01, by uid 1000\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	_, out, _ = gatectl("--socket", socket, "status", "--json")
	var s status
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Traces) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	if got := s.Traces[0]; got.Client != "192.0.2.7" || got.Left != 1 || got.Running != 2 || !got.Until.Equal(until) || got.UID != 1000 {
		t.Errorf("%+v", got)
	}
}
