package scand

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// need returns the path of a program, or skips; with GATED_REQUIRE=all its absence
// is a failure.
func need(t testing.TB, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("GATED_REQUIRE") == "all" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// launch runs a daemon until the test ends, or it is stopped, and waits until it listens.
func launch(t testing.TB, network, address string, program string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// A group of its own: spamd has children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop = sync.OnceFunc(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s said: %s", program, out.String())
		}
	})
	if err := imsgtest.Eventually(program+" does not listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, out.String())
		default:
		}
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	return stop
}

// realClamd starts clamd with a data base of one signature.
func realClamd(t testing.TB) (socket string, addr netip.AddrPort) {
	socket, addr, start := clamdToStart(t)
	start()
	return socket, addr
}

// clamdToStart is clamd that is started, and stopped, by the test, with more lines in its
// configuration.
func clamdToStart(t testing.TB, more ...string) (socket string, addr netip.AddrPort, start func() (stop func())) {
	program := need(t, "clamd")
	dir := short(t)
	socket, addr = filepath.Join(dir, "clamd.ctl"), imsgtest.Port(t)
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(db, "test.ndb"), "Eicar-Test-Signature:0:*:"+hex.EncodeToString(eicar())+"\n")
	conf := filepath.Join(dir, "clamd.conf")
	write(t, conf, fmt.Sprintf("Foreground yes\nDatabaseDirectory %s\nLocalSocket %s\nTCPAddr 127.0.0.1\nTCPSocket %d\nStreamMaxLength 1M\nConcurrentDatabaseReload no\n%s\n", db, socket, addr.Port(), strings.Join(more, "\n")))
	return socket, addr, func() func() { return launch(t, "unix", socket, program, "-c", conf) }
}

// realSpamd starts spamd with local tests alone.
func realSpamd(t testing.TB) (socket string, addr netip.AddrPort) {
	program := need(t, "spamd")
	dir := short(t)
	socket, addr = filepath.Join(dir, "spamd.sock"), imsgtest.Port(t)
	site := filepath.Join(dir, "site")
	if err := os.Mkdir(site, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(site, "init.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	write(t, filepath.Join(site, "local.cf"), "use_bayes 0\n")
	common := []string{"-L", "-x", "-m", "2", "--min-children=1", "-s", "stderr", "--siteconfigpath=" + site, "-H", dir}
	launch(t, "unix", socket, program, append(common, "--socketpath="+socket, "-r", filepath.Join(dir, "pid1"))...)
	launch(t, "tcp4", addr.String(), program, append(common, "-i", "127.0.0.1", "-p", fmt.Sprint(addr.Port()), "-r", filepath.Join(dir, "pid2"))...)
	return socket, addr
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRealClamd(t *testing.T) {
	socket, addr := realClamd(t)
	infected := "From: a@b\r\nSubject: a\r\n\r\n" + string(eicar()) + "\r\n"
	coded := "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines([]byte("pad "+string(eicar())))
	for _, method := range []imsg.Method{imsg.MethodFildes, imsg.MethodInstream, imsg.MethodScan} {
		for _, network := range []string{"unix", "tcp"} {
			if method == imsg.MethodFildes && network == "tcp" {
				continue
			}
			t.Run(fmt.Sprint(network, " method ", method), func(t *testing.T) {
				dir := short(t)
				conf := builtins()
				conf.Engines[virus].Engine, conf.Engines[virus].Method, conf.SpoolPath = imsg.EngineClamd, method, dir
				if network == "unix" {
					conf.Engines[virus].Socket = socket
				} else {
					conf.Engines[virus].Address = addr
				}
				c := open(t, conf).session()
				for i, tt := range []struct {
					text string
					want imsg.Outcome
				}{{mail, imsg.Clean}, {infected, imsg.Caught}, {coded, imsg.Caught}, {strings.Repeat("0123456789abcde\n", 20_000), imsg.Clean}} {
					name := fmt.Sprint("1.", i)
					write(t, filepath.Join(dir, name), tt.text)
					f, err := os.Open(filepath.Join(dir, name))
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					v := askFile(t, c, f, &imsg.Scan{Roles: imsg.RoleVirus, Size: int64(len(tt.text)), Spool: name})
					if v.virus.Outcome != tt.want || tt.want == imsg.Caught && !strings.HasPrefix(v.virus.Name, eicarName) {
						t.Errorf("%d: %+v", i, v)
					}
				}
				if method == imsg.MethodInstream {
					v := ask(t, c, strings.Repeat("0123456789abcde\n", 200_000))
					if v.virus.Outcome != imsg.Failed || !strings.Contains(v.virus.Problem, "size limit exceeded") {
						t.Errorf("over StreamMaxLength: %+v", v)
					}
				}
				if method == imsg.MethodScan {
					v := askFile(t, c, spool(t, mail), &imsg.Scan{Roles: imsg.RoleVirus, Spool: "9.9"})
					if v.virus.Outcome != imsg.Failed || strings.Count(v.virus.Problem, "No such file") != 1 {
						t.Errorf("absent: %+v", v)
					}
				}
			})
		}
	}
}

// TestRealClamdMany: with many scans at once each message gets its own verdict.
func TestRealClamdMany(t *testing.T) {
	socket, _ := realClamd(t)
	conf := builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, socket
	h := open(t, conf)
	good, bad := spool(t, mail), spool(t, mail+string(eicar()))
	wrong := make(chan error, 20)
	for i := range cap(wrong) {
		c := h.session()
		f, want := good, imsg.Clean
		if i%2 == 1 {
			f, want = bad, imsg.Caught
		}
		go func() {
			for range 20 {
				m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus}, patience, f)
				if err == nil && each(m).virus.Outcome != want {
					err = fmt.Errorf("%+v instead of %s", m, want)
				}
				if err != nil {
					wrong <- err
					return
				}
			}
			wrong <- nil
		}()
	}
	for range cap(wrong) {
		if err := await(t, "the scans", wrong); err != nil {
			t.Error(err)
		}
	}
}

// TestRealClamdExceeds: what clamd is told to name because it is too large for it is no
// virus, and not clean.
func TestRealClamdExceeds(t *testing.T) {
	large := mail + strings.Repeat("0123456789abcde\n", 200_000)
	for _, limit := range []string{"MaxFileSize", "MaxScanSize"} {
		socket, _, start := clamdToStart(t, "AlertExceedsMax yes", limit+" 1M")
		start()
		conf := builtins()
		conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, socket
		c := open(t, conf).session()
		for _, text := range []string{large, large + string(eicar())} {
			if v := ask(t, c, text); v.virus.Outcome != imsg.Failed || !strings.Contains(v.virus.Problem, limit) {
				t.Errorf("over %s: %+v", limit, v)
			}
		}
		if v := ask(t, c, mail+string(eicar())); v.virus.Outcome != imsg.Caught {
			t.Errorf("below %s: %+v", limit, v)
		}
	}
}

// TestRealClamdRestarts: a restart of clamd costs no scan, and what it ends is not taken
// for an answer.
func TestRealClamdRestarts(t *testing.T) {
	socket, addr, start := clamdToStart(t)
	stop := start()
	conf := builtins()
	conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, socket
	conf.Engines[spam] = imsg.EngineConfig{Engine: imsg.EngineClamd, Roles: imsg.RoleVirus, Address: addr, Timeout: patience}
	c := open(t, conf).session()
	good, bad := spool(t, mail), spool(t, mail+string(eicar()))
	both := func(f *os.File, want imsg.Outcome) {
		t.Helper()
		for _, found := range askVerdict(t, c, f, &imsg.Scan{Roles: imsg.RoleVirus}).Findings {
			if found.Outcome != want {
				t.Errorf("%+v, want %s", found, want)
			}
		}
	}
	for i := range 4 {
		both(good, imsg.Clean)
		both(bad, imsg.Caught)
		both(good, imsg.Clean)
		stop()
		if i%2 == 1 {
			both(good, imsg.Failed)
		}
		stop = start()
	}
	both(good, imsg.Clean)
}

func TestRealSpamd(t *testing.T) {
	socket, addr := realSpamd(t)
	head := "From: a@example.com\r\nTo: b@example.com\r\nSubject: a\r\nDate: Mon, 01 Jan 2024 10:00:00 +0000\r\nMessage-Id: <1@example.com>\r\n\r\n"
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			conf := builtins()
			conf.Engines[spam].Engine, conf.Engines[spam].Timeout = imsg.EngineSpamd, patience
			if network == "unix" {
				conf.Engines[spam].Socket = socket
			} else {
				conf.Engines[spam].Address = addr
			}
			c := open(t, conf).session()
			if v := ask(t, c, head+"Hello.\r\n"); v.spam.Outcome != imsg.Clean || v.spam.Score > 5 {
				t.Errorf("ham: %+v", v)
			}
			if v := ask(t, c, head+string(gtube())+"\r\n"); v.spam.Outcome != imsg.Clean || v.spam.Score < 900 {
				t.Errorf("GTUBE: %+v", v)
			}
		})
	}
}
