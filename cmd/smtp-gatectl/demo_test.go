package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// programs returns the folder of the programs.
func programs(t *testing.T) string {
	t.Helper()
	dir, remove, err := imsgtest.Programs("..")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	return dir
}

// TestDemo runs the demonstration as whoever we are and, if that is root, as nobody.
func TestDemo(t *testing.T) {
	dir := programs(t)
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["nobody"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	} else {
		t.Log("not root: not tried as root")
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			for d := tmp; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
				if err := os.Chmod(d, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), imsgtest.Patience)
			defer cancel()
			demo := exec.CommandContext(ctx, filepath.Join(dir, "smtp-gatectl"), "demo", "--once")
			demo.Dir = dir
			demo.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}
			if user != nil {
				demo.SysProcAttr = &syscall.SysProcAttr{Credential: user}
			}
			out, err := demo.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{"S: 220 mail.demo", "C: EHLO client.demo", "S: 550 ", "(Eicar-Test-Signature)", "S: 554 gateway.demo", "X-Nat-Received: from ", "\nsession  ", "\nlockd ", "\nkeys ", "(TLS 1.3, with gateway.demo)", "the mail, in TLS"} {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if n := bytes.Count(out, []byte("\nright  ")); n != len(trials()) || bytes.Contains(out, []byte("WRONG")) || bytes.Contains(out, []byte("\x1b")) {
				t.Errorf("%d verdicts are right, want %d, without colours:\n%s", n, len(trials()), out)
			}
			left, err := os.ReadDir(tmp)
			if err != nil || len(left) > 0 {
				t.Errorf("%v is left behind, error %v", left, err)
			}
		})
	}
}

// TestDemoStays lets the demonstration stay up, uses what it says can be used,
// and ends it as Ctrl-C does.
func TestDemoStays(t *testing.T) {
	dir := programs(t)
	tmp := t.TempDir()
	gatectl := filepath.Join(dir, "smtp-gatectl")
	demo := exec.Command(gatectl, "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = os.Stderr
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer demo.Process.Kill()
	kill := time.AfterFunc(imsgtest.Patience, func() { demo.Process.Kill() })
	defer kill.Stop()

	var text []byte
	piece := make([]byte, 4096)
	for !bytes.Contains(text, []byte("Ctrl-C ends it")) {
		n, err := out.Read(piece)
		if text = append(text, piece[:n]...); err != nil {
			t.Fatalf("the demonstration ended: %v\n%s", err, text)
		}
	}
	for line := range strings.Lines(string(text)) {
		_, args, ok := strings.Cut(line, gatectl+" ")
		if !ok {
			continue
		}
		said, err := exec.Command(gatectl, strings.Fields(args)...).CombinedOutput()
		// Nobody has sent a virus from 127.0.0.1 yet.
		if err != nil && !strings.Contains(args, "lock remove") {
			t.Errorf("%s: %v\n%s", args, err, said)
		}
		if strings.Contains(args, "lock list") && bytes.Count(said, []byte("127.0.0.")) != 3 && manyLoopbacks() {
			t.Errorf("three clients should be locked:\n%s", said)
		}
	}
	if err := demo.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, out)
	if err := demo.Wait(); err != nil {
		t.Errorf("after the interrupt: %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, error %v", left, err)
	}
}

// TestDemoReaderLeaves closes the pipe behind the demonstration, as head(1) does:
// that must not leave a daemon without a master.
func TestDemoReaderLeaves(t *testing.T) {
	dir := programs(t)
	tmp := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	demo := exec.Command(filepath.Join(dir, "smtp-gatectl"), "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+tmp)
	demo.Stdout, demo.Stderr = w, &errs
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(imsgtest.Patience, func() { demo.Process.Kill() })
	defer kill.Stop()
	w.Close()
	if _, err := r.Read(make([]byte, 16)); err != nil {
		t.Error(err)
	}
	r.Close()
	if err := demo.Wait(); err == nil || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("it ended with %v, saying %s", err, &errs)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, error %v", left, err)
	}
}

// TestDemoOneAddress plays a system with a single loopback address.
func TestDemoOneAddress(t *testing.T) {
	dir := programs(t)
	server, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	d, err := startDaemon(t.Context(), filepath.Join(dir, "smtp-gated"), server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := dial(d.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	outcomes, err := new(tool).try(t.Context(), io.Discard, false, d, c, server, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if !o.Right || o.Client != "127.0.0.1" {
			t.Errorf("%+v", o)
		}
	}
	talk, err := net.Dial("tcp4", d.address())
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	talk.SetDeadline(imsgtest.Deadline())
	if _, err := talk.Read(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	var live []session
	var silent int
	// The sessions before may still be on their way out.
	imsgtest.Until(t, "one session is left", func() bool {
		live, silent, err = c.sessions()
		return err != nil || len(live) <= 1
	})
	if err != nil || silent > 0 || len(live) != 1 || live[0].Client != talk.LocalAddr().String() || live[0].Target != net.JoinHostPort("127.0.0.1", strconv.Itoa(server.port)) {
		t.Errorf("sessions are %+v, %d workers silent, error %v", live, silent, err)
	}
	if locks, err := c.allLocks(); err != nil || len(locks) != 0 {
		t.Errorf("locks are %v, error %v", locks, err)
	}
}

// TestDemoWithoutGateway has the judge see no gateway at all: a mail server that
// takes everything must not pass for a good verdict.
func TestDemoWithoutGateway(t *testing.T) {
	if !manyLoopbacks() {
		t.Skip("needs several loopback addresses")
	}
	server, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var show bytes.Buffer
	outcomes, err := new(tool).try(t.Context(), &show, false, &daemon{port: server.port}, nil, server, true)
	if err != nil {
		t.Fatal(err)
	}
	var right []bool
	for _, o := range outcomes {
		right = append(right, o.Right)
	}
	if !slices.Equal(right, []bool{true, false, false, false, false, false}) {
		t.Errorf("right are %v:\n%s", right, &show)
	}
}

func TestDemoFails(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if code, _, errs := gatectl("demo", "--once", "--daemon", none); code != exitFailed || !strings.Contains(errs, "--daemon") {
		t.Errorf("no daemon: exit %d: %s", code, errs)
	}
	t.Setenv("TMPDIR", t.TempDir())
	script := filepath.Join(t.TempDir(), "daemon")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no luck today >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, _, errs := gatectl("demo", "--once", "--daemon", script)
	for _, want := range []string{"ended at its start: exit status 3", "no luck today"} {
		if code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("exit %d, no %q in: %s", code, want, errs)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, error %v", left, err)
	}
}

func TestDemoJSON(t *testing.T) {
	dir := programs(t)
	code, out, errs := gatectl("demo", "--json", "--daemon", filepath.Join(dir, "smtp-gated"))
	var outcomes []outcome
	if err := json.Unmarshal([]byte(out), &outcomes); err != nil || code != exitOK || len(outcomes) != len(trials()) {
		t.Errorf("exit %d, error %v:\n%s%s", code, err, out, errs)
	}
	for i, o := range outcomes {
		if !strings.HasPrefix(o.Reply, strconv.Itoa(trials()[i].code)) {
			t.Errorf("%+v", o)
		}
	}
}
