package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// BenchmarkTLS is the gateway beside HAProxy, both of which end the client's TLS and have
// one of their own with the server, neither of which scans: what each spends of the CPU, all
// of its processes together. What counts is the ratio; HAProxy reads nothing of what passes.
//
//	go test -run '^$' -bench TLS -benchtime 5x ./cmd/smtp-gated
func BenchmarkTLS(b *testing.B) {
	folder := b.TempDir()
	must(b, writeCertificate(folder, "mx.test", time.Hour))
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "chain.pem"), filepath.Join(folder, "key.pem"))
	must(b, err)
	server := tlsSink(b, pair)
	_, port, _ := net.SplitHostPort(server)
	own := imsgtest.Port(b).String()
	gate, err := newGate(b.TempDir(), os.Geteuid() == 0)
	must(b, err)
	gate.server, _ = strconv.Atoi(port)
	must(b, gate.certified("workers 1\nantivirus_type off\nantispam_type off\nmax_per_host 0\nlog_level notice\nlisten_tls "+own+"\ntarget_tls_port "+port+"\ntls_verify none\n"))
	must(b, gate.start())
	b.Cleanup(gate.end)
	other := tlsHAProxy(b, server)
	ways := []way{{name: "gated", address: own, pids: processes(b, gate)}, other}
	for _, load := range []struct {
		name     string
		sessions int
		resumed  bool
		octets   int
	}{{"FullHandshake", 300, false, 0}, {"ResumedHandshake", 300, true, 0}, {"Mail5MB", 10, true, 5_000_000}} {
		b.Run(load.name, func(b *testing.B) {
			took := map[string][]float64{}
			text := []byte(strings.Repeat(strings.Repeat("A large mail. ", 5)+"\r\n", load.octets/72))
			for range b.N {
				for _, to := range ways {
					before := cpuOf(b, to.pids...)
					conf := &tls.Config{InsecureSkipVerify: true}
					if load.resumed {
						conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
					}
					var all sync.WaitGroup
					places, failed := make(chan bool, 8), make(chan error, load.sessions)
					for range load.sessions {
						places <- true
						all.Go(func() {
							failed <- tlsMail(to.address, conf, text)
							<-places
						})
					}
					all.Wait()
					for range load.sessions {
						must(b, <-failed)
					}
					took[to.name] = append(took[to.name], (cpuOf(b, to.pids...)-before)*1e6/float64(load.sessions))
				}
			}
			for name, all := range took {
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2], name+"-CPU-µs/session")
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took["gated"][b.N/2]/took["haproxy"][b.N/2], "x-haproxy")
		})
	}
}

// BenchmarkTLSIdle is what TLS adds to the memory of sessions that do nothing, in KiB of
// the workers' own: the client's alone, and the server's, too; before and after a message.
//
//	go test -run '^$' -bench TLSIdle -benchtime 1x ./cmd/smtp-gated
func BenchmarkTLSIdle(b *testing.B) {
	const sessions = 1000
	text := []byte(cleanMail + strings.Repeat(strings.Repeat("A large text. ", 5)+"\n", 3000))
	plain := map[bool]float64{}
	for _, way := range []struct{ name, own string }{
		{"plain", ""}, {"client", "tls_upstream never\n"}, {"both", "tls_upstream lockstep\ntls_verify none\n"},
	} {
		for _, mail := range []bool{false, true} {
			name := way.name
			if mail {
				name += "-mail"
			}
			b.Run(name, func(b *testing.B) {
				var all []float64
				for range b.N {
					all = append(all, tlsIdle(b, sessions, way.own, mail, text))
				}
				slices.Sort(all)
				middle := all[len(all)/2]
				if way.own == "" {
					plain[mail] = middle
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(middle, "KiB/session")
				b.ReportMetric(middle-plain[mail], "KiB-by-TLS/session")
			})
		}
	}
}

// tlsIdle is what each of so many sessions takes of the workers' memory, in KiB.
func tlsIdle(b *testing.B, sessions int, own string, mail bool, text []byte) float64 {
	g, _ := rehearse(b, false, "tls")
	must(b, g.certified("antivirus_type off\nantispam_type off\nmax_connections 2000\nmax_per_host 0\nlog_level notice\n"+own))
	must(b, g.start())
	before, err := g.size()
	must(b, err)
	for range sessions {
		c, err := dialGate(g.address(0), "")
		must(b, err)
		b.Cleanup(func() { c.conn.Close() })
		if own != "" {
			c.tls = &tls.Config{InsecureSkipVerify: true}
		}
		if mail {
			answer, err := c.deliver(text)
			must(b, err)
			if !strings.HasPrefix(answer, "250 ") {
				b.Fatal(answer)
			}
			continue
		}
		must(b, c.greet())
	}
	after, err := g.size()
	must(b, err)
	return float64(after.memory-before.memory) / float64(sessions)
}

// tlsMail is a session in TLS from the first octet, with a message if there is a text.
func tlsMail(address string, conf *tls.Config, text []byte) error {
	c, err := tls.Dial("tcp4", address, conf)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	says := []string{"", "QUIT\r\n"}
	if len(text) > 0 {
		says = []string{"", "HELO client.test\r\n", "MAIL FROM:<a@client.test>\r\n", "RCPT TO:<b@mx.test>\r\n", "DATA\r\n", string(text) + ".\r\n", "QUIT\r\n"}
	}
	for _, say := range says {
		if _, err := io.WriteString(c, say); err != nil {
			return err
		}
		if line, err := r.ReadString('\n'); err != nil || line[0] > '3' {
			return errors.Join(err, fmt.Errorf("%.20q is answered by %q", say, line))
		}
	}
	return nil
}

// tlsSink is a server in TLS from the first octet that takes everything.
func tlsSink(b *testing.B, pair tls.Certificate) string {
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	must(b, err)
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReaderSize(c, 64<<10)
				io.WriteString(c, "220 mx.test ESMTP\r\n")
				for text := false; ; {
					line, err := r.ReadSlice('\n')
					switch {
					case err != nil:
						return
					case text && string(line) != ".\r\n":
						continue
					case strings.HasPrefix(string(line), "DATA"):
						text = true
						io.WriteString(c, "354 go on\r\n")
					case strings.HasPrefix(string(line), "QUIT"):
						io.WriteString(c, "221 bye\r\n")
						return
					default:
						text = false
						io.WriteString(c, "250 ok\r\n")
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func tlsHAProxy(b *testing.B, server string) way {
	folder := b.TempDir()
	must(b, writeCertificate(folder, "gate.test", time.Hour))
	chain, err := os.ReadFile(filepath.Join(folder, "chain.pem"))
	must(b, err)
	key, err := os.ReadFile(filepath.Join(folder, "key.pem"))
	must(b, err)
	must(b, os.WriteFile(filepath.Join(folder, "both.pem"), append(chain, key...), 0o600))
	address := imsgtest.Port(b).String()
	file := filepath.Join(folder, "haproxy.cfg")
	must(b, os.WriteFile(file, fmt.Appendf(nil, `global
	maxconn 4000
	nbthread 1
	tune.ssl.default-dh-param 2048
defaults
	mode tcp
	timeout connect 5s
	timeout client 300s
	timeout server 300s
listen smtp
	bind %s ssl crt %s
	server one %s ssl verify none
`, address, filepath.Join(folder, "both.pem"), server), 0o600))
	return way{name: "haproxy", address: address, pids: []int{listening(b, address, needProgram(b, "haproxy"), "-q", "-db", "-f", file).Pid}}
}
