// Handshakes that come to nothing: clients that say nothing or next to nothing, by the
// thousand, and clients that end, break off or talk nonsense at every point of one.

package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// sized is what the workers take: memory in KiB, and descriptors.
type sized struct{ memory, files int }

// size measures the workers. Only root may look into them: to anybody else they are nothing.
func (g *gate) size() (s sized, err error) {
	if os.Geteuid() != 0 {
		return s, nil
	}
	all, err := g.members()
	for _, m := range all {
		if m.Room != "session" {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", m.PID))
		if err != nil {
			return s, err
		}
		var kib int
		_, after, _ := strings.Cut(string(text), "Private_Dirty:")
		fmt.Sscan(after, &kib)
		s.memory += kib
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.PID))
		if err != nil {
			return s, err
		}
		s.files += len(files)
	}
	return s, err
}

// empty waits until there is no session, and no descriptor more than before.
func (g *gate) empty(before sized) error {
	var s sized
	var sessions int
	err := eventually("something is left of sessions", func() bool {
		r, err := g.ask()
		if err != nil {
			return false
		}
		sessions = r.Sessions
		s, err = g.size()
		return err == nil && sessions == 0 && s.files <= before.files
	})
	if err != nil {
		return fmt.Errorf("%w: %d sessions, %d descriptors where there were %d", err, sessions, s.files, before.files)
	}
	return nil
}

// idlers is how many clients come to no end with a handshake. A tenth of them has said
// STARTTLS before, and a tenth of those says one octet after another.
const idlers = 5000

// mostMemory is what one of them may cost, in KiB: about twice what it does.
const mostMemory = 40

// drip says the header of a record, and of its octets one from time to time.
func (c *client) drip() {
	for _, err := c.conn.Write([]byte{3, 1, 64, 0}); err == nil; _, err = c.conn.Write([]byte{1}) {
		time.Sleep(100 * time.Millisecond)
	}
}

// TestHandshakesThatStand: clients that do not go on with their handshakes, or hardly, are
// in nobody's way, cost little, and are gone when their time is over.
func TestHandshakesThatStand(t *testing.T) {
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	n := min(idlers, int(limit.Max)/2)
	if imsgtest.Brief() {
		n /= 10
	}
	// Started by root a worker has six descriptors for each of max_connections, or there is
	// no start. Without root it has what there is, with a warning: enough for these.
	g, m := rehearse(t, os.Geteuid() == 0 && int(limit.Max) > 7*n)
	secret := imsgtest.Port(t).String()
	configure := func(limit time.Duration) error {
		return g.certified(fmt.Sprintf("listen_tls %s\ntls_handshake_timeout %g\nmax_connections %d\nmax_per_host 0\nlock_on never\nconnect_queue 1024\nworkers 2\n",
			secret, limit.Seconds(), n+100))
	}
	must(t, configure(time.Hour))
	must(t, g.start())
	plain := g.plain(secret)
	before, err := g.size()
	must(t, err)
	for limit := range imsgtest.Limits(10 * time.Second) {
		must(t, configure(limit))
		must(t, g.reload())
		if standing(t, g, plain, secret, n, before, limit) {
			break
		}
	}
	must(t, g.unharmed())
	noneBad(t, m)
	must(t, g.terminate())
}

// standing has clients stand in their handshakes. False: some were gone before all were there.
func standing(t *testing.T, g *gate, plain, secret string, n int, before sized, limit time.Duration) bool {
	t.Helper()
	ended := make(chan error, n)
	began := time.Now()
	for i := range n {
		address := secret
		if i%10 == 0 {
			address = plain
		}
		c, err := dialGate(address, "")
		must(t, err)
		defer c.conn.Close()
		go func() {
			if address == plain {
				if err := c.ask("", "220 ", "EHLO client.test", "250", "STARTTLS", "220 "); err != nil {
					ended <- err
					return
				}
			}
			if i%2 == 0 {
				c.write([]byte{22})
			}
			if i%100 == 0 {
				go c.drip()
			}
			c.conn.SetReadDeadline(imsgtest.Deadline())
			_, err := io.Copy(io.Discard, c.conn)
			ended <- err
		}()
	}
	all := false
	must(t, eventually("not all are there", func() bool {
		r, err := g.ask()
		all = err == nil && r.Sessions == n
		return all || len(ended) > 0
	}))
	if !all {
		for range n {
			<-ended
		}
		return false
	}
	there := time.Since(began)
	s, err := g.size()
	must(t, err)
	took := map[string]time.Duration{}
	for name, way := range map[string]struct {
		address string
		first   bool
		tls     *tls.Config
	}{
		"in clear":               {address: plain},
		"with STARTTLS":          {address: plain, tls: anyServer},
		"TLS from the beginning": {address: secret, first: true, tls: anyServer},
	} {
		for message, want := range map[string]string{cleanMail: "250 ", virusMail: "550 "} {
			start := time.Now()
			if answer := deliverWith(way.address, way.first, way.tls, message); !strings.HasPrefix(answer, want) {
				t.Errorf("%s: %q; want %s", name, answer, want)
			}
			took[name] = max(took[name], time.Since(start))
		}
	}
	still := len(ended) == 0
	memory, files := float64(s.memory-before.memory)/float64(n), float64(s.files-before.files)/float64(n)
	t.Logf("%d handshakes stand after %v: %.1f KiB and %.2f descriptors each; mails meanwhile took at most %v; the limit is %v",
		n, there, memory, files, took, limit)
	if memory > mostMemory || files > 1.2 {
		t.Errorf("a handshake that stands costs %.1f KiB and %.2f descriptors", memory, files)
	}
	for range n {
		if err := imsgtest.Receive(t, "the end of a handshake", ended); err != nil && !errors.Is(err, net.ErrClosed) {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("a client waits for its end in vain: %v", err)
			}
		}
	}
	must(t, g.empty(before))
	return still
}

// cutter is a client's connection that goes wrong behind so many records.
type cutter struct {
	net.Conn
	left  int
	wrong func(net.Conn)
	done  bool
}

var errCutter = errors.New("gone wrong")

// Write lets whole records pass, however many come at once.
func (c *cutter) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		if c.left == 0 {
			if !c.done {
				c.wrong(c.Conn)
			}
			c.done = true
			return sent, errCutter
		}
		size := 5 + int(binary.BigEndian.Uint16(p[sent+3:]))
		n, err := c.Conn.Write(p[sent : sent+size])
		sent += n
		if err != nil {
			return sent, err
		}
		c.left--
	}
	return sent, nil
}

// wrongs are how a connection goes wrong.
var wrongs = map[string]func(net.Conn){
	"closed":      func(c net.Conn) { c.Close() },
	"half closed": func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
	"reset": func(c net.Conn) {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	},
	"fatal alert":       says("\x15\x03\x03\x00\x02\x02\x50"),
	"warning":           says("\x15\x03\x03\x00\x02\x01\x5a"),
	"close notify":      says("\x15\x03\x03\x00\x02\x01\x00"),
	"alert of nothing":  says("\x15\x03\x03\x00\x00"),
	"oversized":         says("\x16\x03\x03\x48\x01" + strings.Repeat("x", 0x4801)),
	"largest":           says("\x17\x03\x03\xff\xff" + strings.Repeat("x", 0xffff)),
	"empty records":     says(strings.Repeat("\x17\x03\x03\x00\x00", 1000)),
	"cut in the header": says("\x16\x03"),
	"cut in a record":   says("\x16\x03\x03\x01\x00x"),
	"change of cipher":  says(strings.Repeat("\x14\x03\x03\x00\x01\x01", 100)),
	"SMTP":              says("QUIT\r\n"),
	"old version":       says("\x80\x2e\x01\x00\x02" + strings.Repeat("\x00", 43)),
}

// says says something and no more.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
	}
}

// mostRecords is more than a client sends in a session.
const mostRecords = 40

// TestHandshakesGoWrong: a client that goes wrong behind any record of its session, in
// whatever way, hears the end, and nothing is left of it.
func TestHandshakesGoWrong(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := rehearse(t, rooted)
		secret := imsgtest.Port(t).String()
		must(t, g.certified("listen_tls "+secret+"\nmax_connections 200\nmax_per_host 0\nlock_on never\nworkers 1\n"))
		must(t, g.start())
		plain := g.plain(secret)
		before, err := g.size()
		must(t, err)
		tried := 0
		for name, wrong := range wrongs {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for _, first := range []bool{true, false} {
					for records := range mostRecords {
						over, err := goWrong(map[bool]string{true: secret, false: plain}[first], first, version, records, wrong)
						if err != nil {
							t.Errorf("%s behind %d records of %s, TLS first %t: %v", name, records, tls.VersionName(version), first, err)
						}
						tried++
						if over {
							break
						}
					}
				}
			}
		}
		must(t, g.empty(before))
		must(t, g.unharmed())
		for _, first := range []bool{true, false} {
			if answer := deliverWith(map[bool]string{true: secret, false: plain}[first], first, anyServer, cleanMail); !strings.HasPrefix(answer, "250 ") {
				t.Errorf("a mail behind all that: %q", answer)
			}
		}
		noneBad(t, m)
		t.Logf("%d sessions went wrong", tried)
		must(t, g.terminate())
	})
}

// goWrong is a session that does so behind some records. over: it had no more.
func goWrong(address string, first bool, version uint16, records int, wrong func(net.Conn)) (over bool, err error) {
	c, err := dialGate(address, "")
	if err != nil {
		return false, err
	}
	defer c.conn.Close()
	if !first {
		if err := c.ask("", "220 ", "EHLO client.test", "250", "STARTTLS", "220 "); err != nil {
			return false, err
		}
	}
	below := c.conn
	below.SetDeadline(imsgtest.Deadline())
	cut := &cutter{Conn: below, left: records, wrong: wrong}
	secret := tls.Client(cut, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if err = secret.Handshake(); err == nil {
		c := newClient(secret)
		if first {
			err = c.expect("220 ")
		}
		if err == nil {
			err = errors.Join(c.send("EHLO client.test"), c.expect("250"), c.mail("354 "), c.text([]byte(cleanMail)), c.send("."), c.expect("250 "))
		}
		if err == nil {
			err = errors.Join(c.send("QUIT"), c.expect("221 "))
		}
		secret.Close()
	}
	if !cut.done {
		return true, err
	}
	// Whatever we have done, the other side ends it.
	var timeout net.Error
	if _, err := io.Copy(io.Discard, below); errors.As(err, &timeout) && timeout.Timeout() {
		return false, err
	}
	return false, nil
}
