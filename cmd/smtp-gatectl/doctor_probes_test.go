// Probes that ask others: name servers, the mail server, rooms, and the daemon.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// nameServer answers what answer says: an address, empty for a name that is not there.
// What is not of a list's zone is refused.
func nameServer(t *testing.T, answer func(name string) string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		switch {
		case !strings.HasSuffix(name, ".test."):
			m.Rcode = dns.RcodeRefused
		case answer(name) == "":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(answer(name))}}
		}
		w.WriteMsg(m)
	})}
	go server.ActivateAndServe()
	return conn.LocalAddr().String()
}

func TestDoctorDNS(t *testing.T) {
	const four = "2.0.0.127."
	six := strings.TrimSuffix(imsg.ListName(testEntries[1], "x"), "x.")
	at := nameServer(t, func(name string) string {
		name = strings.TrimSuffix(name, ".list.test.")
		dot := strings.LastIndexByte(name, '.') + 1
		switch prefix, zone := name[:dot], name[dot:]; {
		case zone == "good" && (prefix == four || prefix == six),
			zone == "six" && prefix == six, zone == "codes" && prefix == four,
			zone == "all":
			return "127.0.0.2"
		case zone == "refuses":
			return "127.255.255.254"
		case zone == "rewritten":
			return "192.0.2.80"
		}
		return ""
	})
	zones := map[string]string{"good": "green", "six": "green", "codes": "warning", "all": "red", "refuses": "red", "rewritten": "red", "gone": "red"}
	for zone, want := range zones {
		domain := zone + ".list.test"
		if zone == "codes" {
			domain += "=127.0.0.9"
		}
		p := patientWith(t, "nameservers "+at+"\ndnsbl "+domain+"\n")
		same(t, zone, probeLists(context.Background(), p), "dns-list-"+zone+".list.test "+want)
		same(t, zone, probeNameservers(context.Background(), p), "dns-server-"+at+" green")
	}

	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	mute := silent.LocalAddr().String()
	p := patientWith(t, "nameservers "+mute+"\ndnsbl x.test\n")
	same(t, "silent", probeNameservers(ctx, p), "dns-server-"+mute+" red")
	same(t, "silent", probeLists(ctx, p), "dns-list-x.test red")
	dead := imsgtest.Port(t).String()
	p = patientWith(t, "nameservers "+dead+","+at+"\ndnsbl good.list.test\n")
	same(t, "the other one answers", probeLists(context.Background(), p), "dns-list-good.list.test green")
	same(t, "the other one answers", probeNameservers(context.Background(), p), "dns-server-"+dead+" warning", "dns-server-"+at+" green")
	p = patientWith(t, "nameservers "+mute+"\nspf off\n")
	same(t, "silent, and nobody asks", probeNameservers(ctx, p), "dns-server-"+mute+" warning")
	same(t, "no list", probeLists(ctx, p), "dns-list skipped")
}

// mailServerSaying answers each line of a client with the next of the replies; an empty one
// hangs up. It returns the options that name it.
func mailServerSaying(t *testing.T, replies ...string) string {
	t.Helper()
	return mailServerBehind(t, func(*bufio.Reader) bool { return true }, replies...)
}

// mailServerBehind is mailServerSaying that reads something first.
func mailServerBehind(t *testing.T, first func(*bufio.Reader) bool, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if !first(in) {
					return
				}
				for _, r := range replies {
					if r == "" {
						return
					}
					fmt.Fprint(c, r+"\r\n")
					if _, err := in.ReadString('\n'); err != nil {
						return
					}
				}
			}()
		}
	}()
	return fmt.Sprintf("fixed_server 127.0.0.1\nfixed_server_port %d\nset_user nobody\nproxy_name gate.test\n", l.Addr().(*net.TCPAddr).Port)
}

// serverIn is the server that lines of a configuration name.
func serverIn(lines string) netip.AddrPort {
	var port uint16
	fmt.Sscanf(lines, "fixed_server 127.0.0.1\nfixed_server_port %d", &port)
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// rootless has a patient of whoever we are.
func rootless(p *patient) *patient {
	p.rooted, p.identity = false, sandbox.Unchanged
	return p
}

func TestDoctorServer(t *testing.T) {
	ctx := context.Background()
	const greeting, bye = "220 mail.test ESMTP", "221 bye"
	for _, tt := range []struct {
		name, mode     string
		replies        []string
		hail, ehlo, lo string
	}{
		{"all is well", "fixed", []string{greeting, "250-mail.test\r\n250-PIPELINING\r\n250 SIZE 9", bye}, "green", "green", "green"},
		{"a greeting of two lines", "fixed", []string{"220-mail.test\r\n220 ESMTP", "250 mail.test", bye}, "green", "green", "green"},
		{"XCLIENT", "fixed+xclient", []string{greeting, "250-mail.test\r\n250 xclient ADDR", bye}, "green", "green", "green"},
		{"XCLIENT for everybody", "fixed", []string{greeting, "250-mail.test\r\n250 XCLIENT ADDR", bye}, "green", "warning", "green"},
		{"no XCLIENT", "fixed+xclient", []string{greeting, "250 mail.test", bye}, "green", "red", "green"},
		{"it refuses", "fixed", []string{"554 mail.test go away", bye}, "red", "skipped", "green"},
		{"it refuses in our words", "fixed", []string{"421 gate.test The service is not available at the moment. Please try again later", bye}, "red", "skipped", "red"},
		{"it has our name", "fixed", []string{"421 gate.test Service not available", bye}, "red", "skipped", "green"},
		{"it hangs up", "fixed", []string{""}, "red", "skipped", "skipped"},
		{"it babbles", "fixed", []string{"?", ""}, "red", "skipped", "skipped"},
		{"it refuses EHLO", "fixed", []string{greeting, "502 what", bye}, "green", "red", "green"},
		{"it hangs up at EHLO", "fixed", []string{greeting, ""}, "green", "red", "green"},
	} {
		p := rootless(patientWith(t, "mode "+tt.mode+"\n"+mailServerSaying(t, tt.replies...)))
		same(t, tt.name, probeGreeting(ctx, p), "server-greeting "+tt.hail)
		same(t, tt.name, probeEHLO(ctx, p), "server-ehlo "+tt.ehlo)
		same(t, tt.name, probeLoop(ctx, p), "server-loop "+tt.lo)
	}
	header := make(chan *proxyproto.Header, 1)
	behind := func(in *bufio.Reader) bool {
		h, err := proxyproto.Read(in)
		header <- h
		return err == nil
	}
	p := rootless(patientWith(t, "mode fixed+proxy\n"+mailServerBehind(t, behind, greeting, "250 mail.test", bye)))
	same(t, "PROXY", probeGreeting(ctx, p), "server-greeting green")
	if h := <-header; h == nil || h.Command != proxyproto.LOCAL {
		t.Errorf("we call for %+v", h)
	}
	strange := p.judgeEHLO(&conversation{talk: talk{Greeting: []string{greeting}, EHLO: []string{"500 bad syntax"}}}, "server-ehlo")
	if strange.State != bad || !strings.Contains(strange.Remedy, "smtpd_upstream_proxy_protocol") {
		t.Errorf("a server that knows no PROXY: %+v", strange)
	}
	p = rootless(patientWith(t, fmt.Sprintf("mode fixed\nset_user nobody\nproxy_name gate.test\nfixed_servers %v, %v\n", imsgtest.Port(t), serverIn(mailServerSaying(t, greeting, "250 mail.test", bye)))))
	for _, probe := range []struct {
		id     string
		do     func(context.Context, *patient) []result
		colour [2]string
	}{{"server-greeting-", probeGreeting, [2]string{"red", "green"}}, {"server-ehlo-", probeEHLO, [2]string{"skipped", "green"}}, {"server-loop-", probeLoop, [2]string{"skipped", "green"}}} {
		var want []string
		for i, s := range p.MailServers() {
			want = append(want, probe.id+s.String()+" "+probe.colour[i])
		}
		same(t, "two servers", probe.do(ctx, p), want...)
	}
	p = rootless(patientWith(t, fmt.Sprintf("mode fixed\nfixed_server 127.0.0.1\nfixed_server_port %d\n", imsgtest.Port(t).Port())))
	same(t, "nobody listens", probeGreeting(ctx, p), "server-greeting red")
	same(t, "nobody listens", probeLoop(ctx, p), "server-loop skipped")
	p = patientWith(t, "mode netfilter\n")
	same(t, "each its own", probeGreeting(ctx, p), "server-greeting skipped")
	p = rootless(patientWith(t, "mode fixed\nbind_address 0.0.0.0\nport 9199\nfixed_server 127.0.0.2\nfixed_server_port 9199\n"))
	if manyLoopbacks() {
		same(t, "a circle", probeLoop(ctx, p), "server-loop red")
	}
}

// TestDoctorConnects: a marked socket connects, or does not, in time.
func TestDoctorConnects(t *testing.T) {
	try := func(to unix.Sockaddr, wait time.Duration) (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd, connectUntil(fd, to, time.Now().Add(wait))
	}
	if _, err := try(sockaddr(imsgtest.Port(t)), imsgtest.Patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 0)); err != nil {
		t.Fatal(err)
	}
	to, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := try(to, imsgtest.Patience); err != nil {
		t.Errorf("somebody listens: %v", err)
	}
	if runtime.GOOS != "linux" {
		return // who drops what does not fit its queue
	}
	for range 10 {
		if _, err = try(to, 50*time.Millisecond); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestDoctorSeesItself: our own connection is among the daemon's sessions.
func TestDoctorSeesItself(t *testing.T) {
	p := rootless(patientWith(t, "mode fixed\n"+mailServerSaying(t, "220 x", "250 x", "221 x")))
	var client atomic.Value
	socket := lockdAt(t, func(r link.Request) {
		list := new(imsg.SessionList)
		if c, ok := client.Load().(imsg.LiveSession); ok {
			list.Sessions = []imsg.LiveSession{c}
		}
		family.Answer(r, list)
	})
	c, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.control = c
	conn, err := net.Dial("tcp4", p.MailServers()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if p.seesUs(local) {
		t.Error("seen, where there is no session")
	}
	client.Store(imsg.LiveSession{Number: 1, State: imsg.StateData, Client: local})
	if !p.seesUs(local) {
		t.Error("not seen")
	}
}

// TestDoctorRooms: what is closed to a room's user is red, though root could go there.
func TestDoctorRooms(t *testing.T) {
	ctx := context.Background()
	dir := imsgtest.Folder(t)
	for _, name := range []string{"spool", "lock", "empty", "clamd"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, name), 0o777)
	}
	socket := filepath.Join(dir, "clamd", "clamd.ctl")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	os.Chmod(socket, 0o777)
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	configuration := fmt.Sprintf("mode fixed\nfixed_server 192.0.2.1\npidfile %[1]s/pid\nspool_path %[1]s/spool\nlock_path %[1]s/lock\nantivirus_type clamd\nantivirus_path %[2]s\nantispam_type off\naction_script %[3]s\nset_user nobody\n", dir, socket, script)
	for _, rooted := range []bool{false, true} {
		if rooted && os.Geteuid() != 0 {
			continue
		}
		p := patientWith(t, configuration)
		p.status = new(status)
		if !rooted {
			p = rootless(p)
		}
		same(t, "open", probeRooms(ctx, p), "room-lockd green", "room-action green", "room-scand green", "room-lookupd green", "room-session green")
		if left, _ := os.ReadDir(filepath.Join(dir, "spool")); len(left) > 0 {
			t.Errorf("%v is left behind", left)
		}
		same(t, "users", probeUsers(ctx, p), "users green")
		if !rooted {
			continue
		}
		shut := func(name string) (open func()) {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			os.Chmod(path, 0o700)
			return func() { os.Chmod(path, info.Mode().Perm()) }
		}
		for name, id := range map[string]string{"spool": "room-session", "lock": "room-lockd", "clamd/clamd.ctl": "room-scand", "script": "room-action"} {
			open := shut(name)
			for _, r := range probeRooms(ctx, p) {
				if want := map[bool]state{true: bad, false: good}[r.ID == id]; r.State != want && r.ID != "room-action" {
					t.Errorf("%s is closed: %+v", name, r)
				}
				if r.ID == id && r.State != bad {
					t.Errorf("%s is closed: %+v", name, r)
				}
			}
			open()
		}
		l.Close()
		same(t, "clamd is gone", []result{p.standFor(ctx, roomAt(p, site.Scanners))}, "room-scand red")
		os.Remove(filepath.Join(dir, "lock"))
		same(t, "the folder is gone", []result{p.standFor(ctx, roomAt(p, site.Locks))}, "room-lockd red")
		os.Mkdir(filepath.Join(dir, "lock"), 0o777)
		os.Chmod(filepath.Join(dir, "lock"), 0o777)
	}
	if os.Geteuid() != 0 {
		p := patientWith(t, configuration)
		same(t, "another user", []result{p.standFor(ctx, roomAt(p, site.Spool))}, "room-session skipped")
	}
	p := patientWith(t, "mode fixed\nfixed_server 192.0.2.1\nset_user no-such-user\n")
	same(t, "no user", probeUsers(ctx, p), "users red")
	same(t, "no user, for a room", []result{p.standFor(ctx, roomAt(p, site.Spool))}, "room-session skipped")
	p.tried, p.failed = true, errors.New("user no-such-user does not exist")
	same(t, "no user, for a daemon", probeDaemon(ctx, p), "daemon skipped")
}

func roomAt(p *patient, r site.Root) site.Room {
	for _, room := range p.site().Rooms {
		if room.Root == r {
			return room
		}
	}
	return site.Room{}
}

// TestDoctorNoDaemon: one that hangs is red for whoever asks, and one that is not there no
// reason to be content.
func TestDoctorNoDaemon(t *testing.T) {
	closed := fmt.Errorf("%w to use it", link.ErrClosed)
	absent := fmt.Errorf("%w: nobody listens", link.ErrAbsent)
	for _, tt := range []struct {
		err  error
		root bool
		want string // empty: one is started
	}{
		{closed, false, "daemon skipped"},
		{closed, true, "daemon red"},
		{imsg.Timeout, false, "daemon red"},
		{imsg.Gone, false, "daemon red"},
		{imsg.Timeout, true, "daemon red"},
		{absent, false, "daemon warning"},
		{absent, true, ""},
	} {
		p := patientWith(t, "mode fixed\nfixed_server 192.0.2.1\n")
		p.root = tt.root
		if may := p.mayStart(tt.err); may != (tt.want == "") {
			t.Errorf("%v, root %v: one may be started: %v", tt.err, tt.root, may)
		}
		if tt.want != "" {
			same(t, tt.err.Error(), probeDaemon(context.Background(), p), tt.want)
		}
	}
}

// TestDoctorLives: a family is judged by what it runs by, and the file's changes are told.
func TestDoctorLives(t *testing.T) {
	ctx := context.Background()
	dir := imsgtest.Folder(t)
	const before = "mode fixed\nfixed_server 192.0.2.1\nset_user nobody\nantivirus_type off\n"
	p := patientWith(t, before)
	running := config.Running{Config: p.Config, PID: 7, Generation: 3}
	control := filepath.Join(dir, "control")
	f, err := os.Create(config.RunningFile(control))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(running.Print(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{before: "", before + "spam_threshold 9\n": "spam_threshold"} {
		p := patientWith(t, text)
		p.paths = []string{control}
		p.status = &status{Generation: 3, Rooms: []room{{Name: imsg.Parent.String(), PID: 7}}}
		p.liveBy()
		if p.SpamThreshold != running.SpamThreshold || p.Called("spam_threshold") != "spam_threshold" {
			t.Errorf("it is judged by %.1f, called %s", p.SpamThreshold, p.Called("spam_threshold"))
		}
		said := probeConfig(ctx, p)
		if len(said) != 1 || strings.Contains(said[0].Text, "other values") != (want != "") || !strings.Contains(said[0].Text, want) {
			t.Errorf("%+v, want %q", said, want)
		}
	}
}

// TestDoctorScanEnds with the context, whatever the daemon does.
func TestDoctorScanEnds(t *testing.T) {
	asked := make(chan link.Request, 1)
	socket := lockdAt(t, func(r link.Request) { asked <- r })
	c, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := patientWith(t, "")
	p.control, p.scanning = c, make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		r := <-asked
		cancel()
		r.Close()
	}()
	if _, err := p.scanByFamily(ctx, strings.NewReader(cleanMail())); err == nil {
		t.Error("it has an answer")
	}
	p.scanning <- struct{}{} // another's
	if _, err := p.scanByFamily(ctx, strings.NewReader(cleanMail())); err == nil {
		t.Error("it has an answer")
	}
}

// TestDoctorDaemon: what the daemon finds is told.
func TestDoctorDaemon(t *testing.T) {
	ctx := context.Background()
	p := patientWith(t, "mode fixed\nfixed_server 192.0.2.1\nset_user nobody\n")
	same(t, "none", probeDaemon(ctx, p), "daemon skipped")
	p.status = &status{Now: time.Now()}
	same(t, "well", probeDaemon(ctx, p), "daemon green")
	p.elsewhere = "/other"
	same(t, "of another file", probeDaemon(ctx, p), "daemon warning")
	p.elsewhere = ""
	p.absent, p.status = true, nil
	same(t, "none, and one should", probeDaemon(ctx, p), "daemon warning")
	p.absent, p.status = false, &status{Now: time.Now()}
	p.status.Findings, p.status.found = []finding{{ID: "loop", Remedy: "mend it"}}, 2
	p.status.health = imsg.Degraded
	same(t, "degraded", probeDaemon(ctx, p), "daemon warning")
	p.status.health = imsg.Down
	same(t, "down", probeDaemon(ctx, p), "daemon red")
	p.status, p.failed, p.tried = nil, os.ErrInvalid, true
	same(t, "does not start", probeDaemon(ctx, p), "daemon red")
	p.tried = false
	same(t, "does not answer", probeDaemon(ctx, p), "daemon red")

	p = patientWith(t, "mode fixed\nfixed_server 192.0.2.1\n")
	p.status = &status{Lacks: []string{"seccomp"}}
	same(t, "a poor kernel", probeKernel(ctx, p), "kernel warning")
	p.status.Lacks = nil
	same(t, "a rich one", probeKernel(ctx, p), "kernel green")
	same(t, "the queue", probeQueue(ctx, p), "limit-queue green")
}
