package session

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestServerIsKilled: of two Postfixes behind us, and a HAProxy in front, the first one dies
// under load, at once and in whole.
// What a client has heard 250 for arrives once, be it from the queue that the dead one left,
// and no client that comes later is turned away.
func TestServerIsKilled(t *testing.T) {
	const (
		clients = 4
		before  = 30 // messages that are taken before it is killed
		behind  = 60 // and with those behind that
	)
	// The first keeps what it takes: one that is killed while it delivers does so again.
	first := startPostfixWith(t, "smtpd_data_restrictions = check_client_access static:hold\n")
	second := startPostfix(t)
	h := newHouse(t, first.addr, func(c *imsg.SessionConfig) {
		c.Servers = []netip.AddrPort{netip.MustParseAddrPort(first.addr), netip.MustParseAddrPort(second.addr)}
		c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	// Who would come from this machine is none of HAProxy's clients.
	front := startHAProxy(t, "", "tcp-request connection set-src str(198.51.100.7)", "server gate "+h.addr+" send-proxy-v2")
	greets(t, front, "haproxy")
	var mu sync.Mutex
	taken, lost := make(map[string]bool), make(map[string]bool)
	var dead bool
	kill := sync.OnceFunc(func() {
		syscall.Kill(-first.master.Process.Pid, syscall.SIGKILL)
		mu.Lock()
		dead = true
		mu.Unlock()
	})
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for n := 0; ; n++ {
				mu.Lock()
				done, late := len(taken), dead
				mu.Unlock()
				if done >= behind {
					return
				}
				id := fmt.Sprintf("%d.%d@client.example", client, n)
				err := send(front, id)
				mu.Lock()
				if err == nil {
					taken[id] = true
				} else {
					lost[id] = true
				}
				done = len(taken)
				mu.Unlock()
				if late && err != nil {
					t.Errorf("%s, behind the end of the first server: %v", id, err)
					return
				}
				if done >= before {
					kill()
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}

	// It comes back with what it had.
	dir := filepath.Dir(filepath.Dir(first.maildir))
	etc := dir + "/etc"
	conf, err := os.ReadFile(etc + "/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, etc+"/main.cf", regexp.MustCompile(`(?m)^smtpd_data_restrictions.*\n`).ReplaceAllString(string(conf), ""))
	// Without a Postfix that runs it cannot log, and says so.
	if out, err := exec.Command("postsuper", "-c", etc, "-H", "ALL").CombinedOutput(); !strings.Contains(string(out), "Released from hold") {
		t.Fatalf("postsuper: %v: %s", err, out)
	}
	// What it was writing when it was killed it has taken from nobody, and never reads.
	written, err := os.ReadDir(dir + "/queue/incoming")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range written {
		if info, err := e.Info(); err == nil && info.Mode()&0o100 == 0 {
			os.Remove(dir + "/queue/incoming/" + e.Name())
		}
	}
	first.run()
	greets(t, first.addr, dir+"/log")
	arrived := make(map[string]int)
	number := regexp.MustCompile(`(?m)^Message-ID: <(.*)>`)
	var counts []int
	for _, s := range []*realServer{first, second} {
		mails := s.settle(t)
		counts = append(counts, len(mails))
		for _, mail := range mails {
			arrived[number.FindStringSubmatch(mail)[1]]++
		}
	}
	doubled, missing, unheard := 0, 0, 0
	for id, n := range arrived {
		switch {
		case n > 1:
			doubled++
		case lost[id]:
			unheard++
		}
	}
	for id := range taken {
		if arrived[id] == 0 {
			missing++
		}
	}
	t.Logf("taken %d, of them by the first server, with those it did not say %d, by the second %d; not taken %d, of which have arrived %d; missing %d, doubled %d",
		len(taken), counts[0], counts[1], len(lost), unheard, missing, doubled)
	if missing > 0 || doubled > 0 || counts[0] == 0 || counts[1] == 0 {
		t.Error("each message that was taken must have arrived once, at both servers some")
	}
}

// send sends one message to addr, in a session of its own. The error is why it was not
// taken.
func send(addr, id string) error {
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(imsgtest.Deadline())
	in := bufio.NewScanner(conn)
	for _, step := range []struct{ say, want string }{
		{"", "220"},
		{"HELO client.example\r\n", "250"},
		{"MAIL FROM:<a@client.example>\r\n", "250"},
		{"RCPT TO:<b@mx.example>\r\n", "250"},
		{"DATA\r\n", "354"},
		{"Message-ID: <" + id + ">\r\n\r\nhello\r\n.\r\n", "250"},
		{"QUIT\r\n", ""},
	} {
		if _, err := conn.Write([]byte(step.say)); err != nil {
			return err
		}
		if step.want != "" && (!in.Scan() || !strings.HasPrefix(in.Text(), step.want+" ")) {
			return fmt.Errorf("%q is answered %q, %v", step.say, in.Text(), in.Err())
		}
	}
	return nil
}
