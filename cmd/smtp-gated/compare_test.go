package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// The gateway beside others, in one run: Debian's smtp-source sends to smtp-sink
// straight, through HAProxy in TCP mode, and through us without scanning. What
// counts is the ratio; run with -benchtime 5x or more.
//
//	go test -run '^$' -bench 'Load|Idle' -benchtime 5x ./cmd/smtp-gated
func BenchmarkLoad(b *testing.B) {
	sink := runSink(b)
	targets := []struct{ name, address string }{
		{"direct", sink}, {"haproxy", runHAProxy(b, sink)}, {"gated", runGate(b, sink).address(0)},
	}
	source := needProgram(b, "smtp-source")
	for _, load := range []struct {
		name string
		args []string
	}{
		{"1000Sessions4KB", []string{"-s", "20", "-m", "1000", "-l", "4096"}},
		{"3000Mails1KB", []string{"-s", "20", "-m", "3000", "-l", "1024", "-d"}},
		{"20Mails5MB", []string{"-s", "4", "-m", "20", "-l", "5000000", "-d"}},
		{"500MailsSerial", []string{"-s", "1", "-m", "500", "-l", "1024", "-d"}},
	} {
		b.Run(load.name, func(b *testing.B) {
			spent := map[string][]time.Duration{}
			for range b.N {
				for _, to := range targets {
					start := time.Now()
					if out, err := exec.Command(source, append(load.args, to.address)...).CombinedOutput(); err != nil {
						b.Fatalf("smtp-source to %s: %v\n%s", to.name, err, out)
					}
					spent[to.name] = append(spent[to.name], time.Since(start))
				}
			}
			median := func(name string) float64 {
				slices.Sort(spent[name])
				return spent[name][len(spent[name])/2].Seconds()
			}
			b.ReportMetric(0, "ns/op")
			for _, to := range targets {
				b.ReportMetric(median(to.name)*1000, to.name+"-ms")
			}
			b.ReportMetric(median("gated")/median("haproxy"), "x-haproxy")
			b.ReportMetric(median("gated")/median("direct"), "x-direct")
		})
	}
}

// BenchmarkIdle tells what a session costs that has said EHLO and waits.
func BenchmarkIdle(b *testing.B) {
	const sessions = 2000
	sink := runSink(b)
	var gate *gate
	cost := func() (pss, files int) {
		rooms, err := gate.members()
		if err != nil {
			b.Fatal(err)
		}
		for _, room := range rooms {
			if room.Room != "session" {
				continue
			}
			rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", room.PID))
			if err != nil {
				b.Fatal(err)
			}
			n, _ := strconv.Atoi(regexp.MustCompile(`(?m)^Pss:\s+(\d+)`).FindStringSubmatch(string(rollup))[1])
			fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", room.PID))
			pss, files = pss+n, files+len(fds)
		}
		return pss, files
	}
	for range b.N {
		gate = runGate(b, sink) // a fresh one: memory once taken is kept
		pss, files := cost()
		conns := make([]net.Conn, sessions)
		buf := make([]byte, 4096)
		for i := range conns {
			c, err := net.Dial("tcp4", gate.address(0))
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
			c.SetDeadline(time.Now().Add(patience))
			for _, say := range []string{"", "EHLO idle\r\n"} {
				c.Write([]byte(say))
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		}
		after, open := cost()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(after-pss)/sessions, "KiB-PSS/session")
		b.ReportMetric(float64(open-files)/sessions, "descriptors/session")
		for _, c := range conns {
			c.Close()
		}
	}
}

// listening runs a program until the benchmark ends, and waits until it listens.
func listening(b *testing.B, address, name string, args ...string) string {
	b.Helper()
	cmd := exec.Command(needProgram(b, name), args...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	err := eventually(name+" does not listen", func() bool {
		c, err := net.Dial("tcp4", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return address
}

func runSink(b *testing.B) string {
	address := imsgtest.Port(b).String()
	args := []string{"-m", "4000", address, "1000"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	return listening(b, address, "smtp-sink", args...)
}

func runHAProxy(b *testing.B, server string) string {
	address := imsgtest.Port(b).String()
	file := filepath.Join(b.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`global
	maxconn 4000
defaults
	mode tcp
	timeout connect 5s
	timeout client 300s
	timeout server 300s
listen smtp
	bind %s
	server one %s
`, address, server)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return listening(b, address, "haproxy", "-q", "-db", "-f", file)
}

// runGate starts the daemon as it is by default, but for scanning.
func runGate(b *testing.B, server string) *gate {
	g, err := newGate(b.TempDir(), os.Geteuid() == 0)
	if err != nil {
		b.Fatal(err)
	}
	g.server, _ = strconv.Atoi(server[strings.LastIndexByte(server, ':')+1:])
	err = g.configure("antivirus_type off\nantispam_type off\nmax_connections 2100\nmax_per_host 0\nlog_level notice\n", false)
	if err == nil {
		err = g.start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.end)
	return g
}
