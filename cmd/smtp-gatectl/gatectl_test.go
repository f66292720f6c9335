package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// lockdAt plays lockd on a control socket and returns its path.
func lockdAt(t *testing.T, handle link.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			s, err := l.AcceptUnix()
			if err != nil {
				return
			}
			f, err := s.File()
			s.Close()
			if err != nil {
				t.Error(err)
				return
			}
			c, err := link.NewConn(f, imsg.Lockd, imsg.Control)
			if err != nil {
				t.Error(err)
				return
			}
			go c.Serve(handle)
		}
	}()
	return path
}

// gatectl runs the command line.
func gatectl(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

const hour = int64(time.Hour)

func fakeStatus(r link.Request) {
	counters := make([]uint64, imsg.Counters)
	counters[imsg.CountTotal] = 12
	counters[imsg.CountViruses] = 3
	counters[imsg.CountQuotaMessages], counters[imsg.CountQuotaConnections] = 4, 5 // those are refused connections, too
	counters[imsg.CountClientBytes] = 5 << 20
	start := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local).UnixNano()
	family.Answer(r, &imsg.StatusReport{
		Family: imsg.Family{
			Version: "1.2\x1b[31m", Config: "/etc/gate.toml", Generation: 2, Started: start, Reloaded: start + hour, Crashes: 1, LastCrash: start + 2*hour,
			Listen: []string{"0.0.0.0:25", "[::]:25"},
			Rooms: []imsg.Member{
				{Room: imsg.Parent, PID: os.Getpid(), Generation: 1, State: imsg.Running, Started: start},
				{Room: imsg.Session, Member: 3, PID: 1 << 30, Generation: 2, State: imsg.Draining, Started: start + hour, Goroutines: 1<<32 - 1},
			},
		},
		Engines: []imsg.ScanEngine{{Engine: imsg.EngineClamd, Roles: imsg.RoleVirus}, {Engine: imsg.EngineBuiltin, Roles: imsg.RoleSpam}},
		Now:     start + 30*hour, Sessions: 5, Limit: 64, Load: 0.25, Locks: 7, Exempt: 4, Counters: counters,
	})
}

func TestStatus(t *testing.T) {
	socket := lockdAt(t, fakeStatus)
	code, out, errs := gatectl("status", "--socket", socket)
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"smtp-gated  1.2#[31m, up 1d06h since 2026-05-04 03:02:01\n",
		"config      /etc/gate.toml, generation 2, reloaded 1d05h ago\n",
		"listens     0.0.0.0:25, [::]:25\n",
		"engines     clamd for virus, builtin for spam (test messages alone: no protection)\n",
		"sessions    5 of 64\n",
		"exemptions  4\n",
		"crashes     1, the last 1d04h ago\n",
		"seen        12 connections, ",
		"found       3 viruses, ",
		" 0 limits, 0 per login, 4 over quota\n",
		"octets      5.0 MiB from clients, 0 B from servers\n",
		"ROOM     PID ",
		"parent   ",
		"session  1073741824  -    ",
		"draining  1d05h\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	code, out, errs = gatectl("--json", "--socket", socket, "status")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var s map[string]any
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"sessions": 5.0, "max_connections": 64.0, "locks": 7.0, "exemptions": 4.0, "generation": 2.0, "crashes": 1.0} {
		if s[key] != want {
			t.Errorf("%s is %v, want %v", key, s[key], want)
		}
	}
	if c := s["counters"].(map[string]any); c["viruses"] != 3.0 || len(c) != int(imsg.Counters) {
		t.Errorf("counters are %v", c)
	}
	rooms := s["rooms"].([]any)
	if len(rooms) != 2 || rooms[1].(map[string]any)["room"] != "session" || rooms[1].(map[string]any)["goroutines"] != 1<<32-1.0 {
		t.Errorf("rooms are %v", rooms)
	}
	if n, told := rooms[0].(map[string]any)["goroutines"]; told {
		t.Errorf("one that was not asked has %v goroutines", n)
	}
}

// TestSessions follows pages of a list to its end.
func TestSessions(t *testing.T) {
	const all = 3*imsg.LivePage + 7
	socket := lockdAt(t, func(r link.Request) {
		list := new(imsg.SessionList)
		for n := r.Message.(*imsg.Sessions).After + 1; n <= all && len(list.Sessions) < imsg.LivePage; n++ {
			list.Sessions = append(list.Sessions, imsg.LiveSession{
				Number: n, State: imsg.StateData, Auth: imsg.AuthSupported | imsg.AuthAccepted, Started: time.Now().UnixNano(),
				Client: netip.MustParseAddrPort("[2001:db8::1]:4242"), ClientBytes: 1536, Ident: "bob",
			})
			list.More = n < all
		}
		list.Silent = 1
		family.Answer(r, list)
	})
	code, out, errs := gatectl("sessions", "--socket", socket)
	if code != exitOK || !strings.Contains(errs, "1 worker did not answer") {
		t.Fatalf("exit %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != all+1 {
		t.Fatalf("%d lines, want a title and %d sessions", len(lines), all)
	}
	if f := strings.Fields(lines[all]); f[0] != fmt.Sprint(all) || f[1] != "data" || f[2] != "accepted" || f[4] != "[2001:db8::1]:4242" || f[5] != "-" || f[len(f)-1] != "bob" {
		t.Errorf("the last line is %q", lines[all])
	}

	_, out, _ = gatectl("sessions", "--socket", socket, "--json")
	var list []session
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != all {
		t.Errorf("JSON has %d sessions, error %v", len(list), err)
	}
}

// TestPageLoop refuses a list that goes round in a circle.
func TestPageLoop(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		switch r.Message.(type) {
		case *imsg.Sessions:
			family.Answer(r, &imsg.SessionList{Sessions: []imsg.LiveSession{{Number: 1}}, More: true})
		case *imsg.Locks:
			family.Answer(r, &imsg.LockList{Locks: []imsg.LockEntry{{Name: "192.0.2.1"}}, More: true})
		case *imsg.Rates:
			family.Answer(r, &imsg.RateList{Records: []imsg.RateEntry{rateEntry("192.0.2.1", 32)}, More: true})
		}
	})
	for _, args := range [][]string{{"sessions"}, {"lock", "list"}, {"lock", "export", "pf"}, {"rate", "list"}} {
		if code, _, errs := gatectl(append(args, "--socket", socket)...); code != exitFailed || !strings.Contains(errs, "came behind") {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
	}
}

func TestLocks(t *testing.T) {
	now := time.Now().UnixNano()
	pages := map[string]*imsg.LockList{
		"":           {Locks: []imsg.LockEntry{{Name: "192.0.2.1", Cause: "VIRUS", Created: now, Expires: now + hour + hour/60, Protected: true}}, More: true},
		"192.0.2.1":  {Locks: []imsg.LockEntry{{Name: "192.0.2.2-b", Cause: "a#b", Created: now}, {Name: "192.0.2.3", Saint: true, Created: now}}},
		"everything": nil,
	}
	socket := lockdAt(t, func(r link.Request) { family.Answer(r, pages[r.Message.(*imsg.Locks).After]) })
	code, out, errs := gatectl("lock", "list", "--socket", socket)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for i, want := range []string{"CLIENT", "(protected: not exported)", "a#b", "belongs to root"} {
		if line := strings.Split(out, "\n")[i]; !strings.Contains(line, want) {
			t.Errorf("no %q in line %q", want, line)
		}
	}
}

// TestOrders checks what is asked, what is said of the answer, and the exit status.
func TestOrders(t *testing.T) {
	tests := []struct {
		args   string
		ask    string // what lockd is asked
		answer imsg.Message
		code   int
		says   string // on stdout if the code is 0, else on stderr
	}{
		{"lock add 192.0.2.1", "&imsg.Lock{Name:\"192.0.2.1\", Cause:\"OPERATOR\", For:0}", &imsg.Done{}, exitOK, "192.0.2.1 locked\n"},
		{"lock add ::ffff:192.0.2.1-bob --cause TEST", "&imsg.Lock{Name:\"192.0.2.1-bob\", Cause:\"TEST\", For:0}", &imsg.Done{}, exitOK, "192.0.2.1-bob locked\n"},
		{"lock add 2001:DB8:0::1", "&imsg.Lock{Name:\"2001:db8::1\", Cause:\"OPERATOR\", For:0}", &imsg.Done{}, exitOK, "2001:db8::1 locked\n"},
		{"lock add 192.0.2.1", "", &imsg.Done{Errno: imsg.Exists}, exitFailed, "192.0.2.1 is locked already"},
		{"exempt add 192.0.2.1/24 --for 1d --reason x", "&imsg.ExemptAdd{Who:\"192.0.2.0/24\", From:0x4f, For:86400000000000, Reason:\"x\", Wide:false}", &imsg.Done{Detail: "odd"}, exitOK, "192.0.2.0/24 exempt from lock,limit,rate,dnsbl,earlytalk: odd\n"},
		{"exempt add server=::1 --from spf,spam --yes", "&imsg.ExemptAdd{Who:\"server=::1\", From:0x90, For:0, Reason:\"\", Wide:true}", &imsg.Done{}, exitOK, "server=::1 exempt from spf,spam\n"},
		{"exempt add 0.0.0.0/0", "", &imsg.Done{Errno: imsg.Invalid, Detail: "so wide"}, exitFailed, "so wide"},
		{"exempt add joe", "", nil, exitUsage, "neither an address nor a network"},
		{"exempt add 192.0.2.1 --from virus", "", nil, exitUsage, "nobody can be exempt from"},
		{"exempt add 192.0.2.1 --from=", "", nil, exitUsage, "names no check"},
		{"exempt add 192.0.2.1 --for 3w", "", nil, exitUsage, "it is a time as 90m, 2h or 30d"},
		{"exempt add 192.0.2.1 --reason \u00fc", "", nil, exitUsage, "printable ASCII"},
		{"exempt remove ::ffff:192.0.2.1", "&imsg.ExemptRemove{Who:\"192.0.2.1\"}", &imsg.Done{}, exitOK, "192.0.2.1 is exempt no more\n"},
		{"exempt remove 192.0.2.1", "", &imsg.Done{Errno: imsg.NotFound, Detail: "there is no exemption"}, exitFailed, "there is no exemption"},
		{"lock add example.org", "", nil, exitUsage, "neither an address nor address-ident"},
		{"lock add fe80::1%eth0", "", nil, exitUsage, "neither an address nor address-ident"},
		{"lock add", "", nil, exitUsage, "requires at least 1 arg"},
		{"lock add 2001:DB8::/64-bob --for 2h", "&imsg.Lock{Name:\"2001:db8::/64-bob\", Cause:\"OPERATOR\", For:7200000000000}", &imsg.Done{}, exitOK, "2001:db8::/64-bob locked\n"},
		{"lock add 192.0.2.1 --for 30d", "&imsg.Lock{Name:\"192.0.2.1\", Cause:\"OPERATOR\", For:2592000000000000}", &imsg.Done{}, exitOK, "192.0.2.1 locked\n"},
		{"lock add 192.0.2.1 --for 3651d", "", nil, exitUsage, "from a second to 3650d"},
		{"lock add 192.0.2.1 --for -1h", "", nil, exitUsage, "from a second to 3650d"},
		{"lock add 192.0.2.1 --for 30", "", nil, exitUsage, "it is a time as 90m, 2h or 30d"},
		{"lock add 2001:db8::/48", "", &imsg.Done{Errno: imsg.Invalid, Detail: "a network of 64 bits"}, exitFailed, "smtp-gatectl: a network of 64 bits\n"},
		{"lock add 192.0.2.1 example.org", "", nil, exitUsage, "\"example.org\" is neither an address nor address-ident"},
		{"lock remove 192.0.2.1", "&imsg.Unlock{Name:\"192.0.2.1\"}", &imsg.Done{}, exitOK, "192.0.2.1 unlocked\n"},
		{"lock remove 192.0.2.1", "", &imsg.Failure{Errno: imsg.NotFound}, exitFailed, "192.0.2.1 is not locked: smtp-gatectl lock list shows who is\n"},
		{"rate set ::ffff:192.0.2.1 connections=5 ratelimit_bytes=off", "&imsg.RateSetQuota{Client:\"192.0.2.1\", Generation:0x0, Quotas:[]imsg.RateQuota{imsg.RateQuota{Counter:0x0, Quota:0x5}, imsg.RateQuota{Counter:0x3, Quota:0x0}}}", &imsg.Done{}, exitOK, "192.0.2.1 has quotas of its own\n"},
		{"rate set 2001:DB8::/64-joe messages=18446744073709551615 --generation 9", "&imsg.RateSetQuota{Client:\"2001:db8::/64-joe\", Generation:0x9, Quotas:[]imsg.RateQuota{imsg.RateQuota{Counter:0x1, Quota:0xffffffffffffffff}}}", &imsg.Done{Detail: "for now: the store"}, exitOK, "has quotas of its own: for now: the store\n"},
		{"rate set 192.0.2.1 connections=5", "", &imsg.Done{Errno: imsg.Invalid, Detail: "ratelimit_expiration is 0"}, exitFailed, "smtp-gatectl: ratelimit_expiration is 0\n"},
		{"rate set 192.0.2.1", "", nil, exitUsage, "requires at least 2 arg"},
		{"rate set 192.0.2.1 192.0.2.2", "", nil, exitUsage, "no COUNTER=QUOTA is given"},
		{"rate set 192.0.2.1 bytes=1 192.0.2.2", "", nil, exitUsage, "\"192.0.2.2\" is not COUNTER=QUOTA"},
		{"rate set 192.0.2.1 connections", "", nil, exitUsage, "\"connections\" is not COUNTER=QUOTA, and no client"},
		{"rate set 192.0.2.1 mails=5", "", nil, exitUsage, "no counter \"mails\", only connections, messages, "},
		{"rate set 192.0.2.1 bytes=-1", "", nil, exitUsage, "the quota of bytes is a number or off, not \"-1\""},
		{"rate set 192.0.2.1 bytes=18446744073709551616", "", nil, exitUsage, "is a number or off"},
		{"rate set 192.0.2.1 bytes=1 bytes=2", "", nil, exitUsage, "bytes is given twice"},
		{"rate set example.org bytes=1", "", nil, exitUsage, "neither an address nor address-ident"},
		{"rate show 2001:db8::1/64", "", nil, exitUsage, "neither an address nor address-ident"},
		{"rate show 192.0.2.1-joe", "&imsg.RateShow{Client:\"192.0.2.1-joe\"}", &imsg.Failure{Errno: imsg.NotFound}, exitFailed, "nothing is remembered of 192.0.2.1-joe\n"},
		{"rate show 192.0.2.1", "", &imsg.Failure{Errno: imsg.Off}, exitFailed, "rate limits are off: rate.period is 0\n"},
		{"rate show 2001:db8::/48", "", &imsg.RateRecord{NoClient: "a network of 64 bits"}, exitFailed, "smtp-gatectl: a network of 64 bits\n"},
		{"rate reset 192.0.2.1", "&imsg.RateReset{Client:\"192.0.2.1\", Forget:true}", &imsg.Done{}, exitOK, "192.0.2.1 forgotten\n"},
		{"rate reset --keep-quotas 192.0.2.1", "&imsg.RateReset{Client:\"192.0.2.1\", Forget:false}", &imsg.Done{}, exitOK, "192.0.2.1 counts from 0 again\n"},
		{"rate reset 192.0.2.1 --json", "", &imsg.Done{}, exitOK, "\"name\":\"192.0.2.1\""},
		{"lock export", "", nil, exitUsage, "accepts 1 arg"},
		{"lock export iptables", "", nil, exitUsage, "none of nft:FAMILY/TABLE/SET4,SET6, pf and plain"},
		{"lock export nft:inet/t", "", nil, exitUsage, "none of nft:FAMILY/TABLE/SET4,SET6, pf and plain"},
		{"lock export nft:arp/t/a,b", "", nil, exitUsage, "\"arp\" is no family of nft: there are inet, ip, "},
		{"lock export nft:inet/t/a", "", nil, exitUsage, "\"a\" are not two sets"},
		{"lock export nft:inet/t/a,a", "", nil, exitUsage, "\"a,a\" are not two sets"},
		{"lock export nft:inet/t/a,b;flush", "", nil, exitUsage, "\"b;flush\" is no name of nft"},
		{"lock export nft:inet/t/a,b,c", "", nil, exitUsage, "\"b,c\" is no name of nft"},
		{"lock export nft:inet/@t/a,b", "", nil, exitUsage, "\"@t\" is no name of nft"},
		{"lock export nft:inet//a,b", "", nil, exitUsage, "\"\" is no name of nft"},
		{"lock export pf --min-age -1s", "", nil, exitUsage, "--min-age -1s is no age"},
		{"lock export pf --min-refusals -1", "", nil, exitUsage, "invalid argument"},
		{"rate", "", nil, exitUsage, "which command?"},
		{"lock", "", nil, exitUsage, "which command?"},
		{"lock frob", "", nil, exitUsage, "unknown command"},
		{"kill 7", "&imsg.EndSession{Number:0x7, Start:0}", &imsg.Done{}, exitOK, "7 told to end\n"},
		{"kill (1700000000.7)", "&imsg.EndSession{Number:0x7, Start:1700000000}", &imsg.Done{}, exitOK, "told to end\n"},
		{"kill 7 8", "", &imsg.Done{}, exitOK, "7 told to end\n8 told to end\n"},
		{"kill 7 --json", "", &imsg.Done{}, exitOK, "\"name\":\"7\""},
		{"kill 7 8", "", &imsg.Done{Errno: imsg.NotFound, Detail: "there is no such session"}, exitFailed, "session 7: there is no such session\nsession 8: there is no such session\n"},
		{"kill 7 8", "", &imsg.Failure{Errno: imsg.ReadOnly}, exitFailed, "session 7: this socket only reads: an order goes over the control socket, for who may use that\n"},
		{"kill 7 x", "", nil, exitUsage, "\"x\" is neither a session's number nor its id"},
		{"kill 0", "", nil, exitUsage, "neither a session's number"},
		{"kill x.7", "", nil, exitUsage, "neither a session's number"},
		{"kill 1700000000.w12.3", "", nil, exitUsage, "was refused before it was a session"},
		{"kill", "", nil, exitUsage, "requires at least 1 arg"},
		{"reload", "&imsg.ReloadNow{}", &imsg.Done{Detail: "generation 2"}, exitOK, "reloaded: generation 2\n"},
		{"reload", "", &imsg.Done{Errno: imsg.Invalid, Detail: "gate.conf:3: mode: bad\x07"}, exitUsage, "stays in force:\ngate.conf:3: mode: bad#\n"},
		{"reload", "", &imsg.Done{Errno: imsg.Internal, Detail: "no room"}, exitFailed, "smtp-gatectl: no room\n"},
		{"reload --json", "", &imsg.Done{}, exitOK, "{\"result\":\"reloaded\"}\n"},
		{"loglevel debug", "&imsg.SetLogLevel{Below:4, For:0}", &imsg.Done{}, exitOK, "logging from debug on\n"},
		{"loglevel err --for 1d", "&imsg.SetLogLevel{Below:0, For:86400000000000}", &imsg.Done{}, exitOK, "logging from err on for 1d00h\n"},
		{"loglevel loud", "", nil, exitUsage, "\"loud\" is no level to set: there are err, warning, "},
		{"loglevel --for 1h", "", nil, exitUsage, "--for goes with a LEVEL"},
		{"loglevel debug --for 31d", "", nil, exitUsage, "from a second to 30d"},
		{"stop", "&imsg.StopNow{Now:false}", &imsg.Done{}, exitOK, "stopping: "},
		{"stop --now", "&imsg.StopNow{Now:true}", &imsg.Done{}, exitOK, "stopped\n"},
		{"stop --now", "", nil, exitOK, "stopped\n"},
		{"stop", "", nil, exitFailed, "the daemon hung up"},
		{"status", "", &imsg.Failure{Errno: imsg.Busy}, exitFailed, "busy, try again"},
		{"", "", nil, exitUsage, "which command?"},
		{"frob", "", nil, exitUsage, "unknown command"},
		{"status --frob", "", nil, exitUsage, "unknown flag"},
		{"status --config /etc/x", "", nil, exitUsage, "both name a control socket"},
	}
	for _, test := range tests {
		asked := make(chan string, 2)
		socket := lockdAt(t, func(r link.Request) {
			asked <- fmt.Sprintf("%#v", r.Message)
			switch a := test.answer.(type) {
			case *imsg.Done:
				family.Answer(r, a)
			case *imsg.RateRecord:
				family.Answer(r, a)
			case *imsg.Failure:
				r.Fail(a.Errno)
			default:
				r.From().Close()
			}
		})
		code, out, errs := gatectl(append(strings.Fields(test.args), "--socket", socket)...)
		said := errs
		if test.code == exitOK {
			said = out
		}
		if code != test.code || !strings.Contains(said, test.says) {
			t.Errorf("%s: exit %d, want %d; it says %q, want %q", test.args, code, test.code, said, test.says)
		}
		if test.ask != "" {
			if got := <-asked; got != test.ask {
				t.Errorf("%s: asked %s, want %s", test.args, got, test.ask)
			}
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: stale, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	stream := filepath.Join(dir, "stream")
	s, err := net.Listen("unix", stream)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "is not running",
		stale:                      "is not running",
		stream:                     "no control socket",
	} {
		if code, _, errs := gatectl("status", "--socket", path); code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", path, code, errs)
		}
	}
}

// TestOtherVersion meets a daemon whose table of messages is not ours.
func TestOtherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		s, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer s.Close()
		s.Read(make([]byte, 1024))
		s.Write([]byte{0xff, 0xff, 0, 0, 1, 0, 0, 0, 0x90})
		s.Read(make([]byte, 1))
	}()
	if code, _, errs := gatectl("status", "--socket", path); code != exitFailed || !strings.Contains(errs, "use the one installed with it") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestSocketOfConfig finds the control socket through the configuration.
func TestSocketOfConfig(t *testing.T) {
	socket := lockdAt(t, fakeStatus)
	file := filepath.Join(t.TempDir(), "gate.conf")
	if err := os.WriteFile(file, []byte("pidfile "+filepath.Dir(socket)+"/pid\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := gatectl("status", "--config", file); code != exitOK || !strings.Contains(out, "sessions    5 of 64") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if err := os.WriteFile(file, []byte("frob 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := gatectl("status", "--config", file); code != exitUsage || !strings.Contains(errs, file+":1: frob") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// asRoot is the first of two values for root, the second for others.
func asRoot[T any](root, user T) T {
	if os.Geteuid() == 0 {
		return root
	}
	return user
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gate.conf")
	const user = "set_user nobody\n"
	tests := []struct {
		text string
		code int
		says []string
	}{
		{user + "mode fixed\nfixed_server 192.0.2.25\n", exitOK, []string{file + ": good"}},
		{user + "mode fixed\nfixed_server 192.0.2.25\nmax_procs 7\n", exitOK, []string{"warning: " + file + ":4: max_procs", " 3 dangers, 2 hints\n"}},
		{user + "mode fixed\nfixed_server 192.0.2.25\n", exitOK, []string{"danger: mode: strangers who reach 0.0.0.0:9199 ", "danger: antivirus_type: nothing is scanned: set "}},
		{user + "mode getsockname\nantivirus_type clamd\nmax_per_host 0\n", exitOK, []string{"hint: max_per_host: ", " 1 danger, "}},
		{user + "mode getsockname\nantivirus_type clamd\nantivirus_path /none/ctl\n", exitOK, []string{"warning: " + file + ": antivirus_path: /none/ctl: no such file or directory"}},
		{"mode fixed\nport x\nfrob 1\n", exitUsage, []string{"error: " + file + ":2: port", "error: " + file + ":3: frob"}},
		{"", exitUsage, []string{"error: mode"}},
		{"mode fixed\nfixed_server 192.0.2.25\nset_user no-such-user\n", asRoot(exitUsage, exitOK), []string{asRoot("error", "warning") + ": " + file + ": set_user: there is no user no-such-user: "}},
	}
	for _, test := range tests {
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		code, out, errs := gatectl("check", file)
		if code != test.code {
			t.Errorf("%q: exit %d, want %d: %s%s", test.text, code, test.code, out, errs)
		}
		for _, want := range test.says {
			if !strings.Contains(out, want) {
				t.Errorf("%q: no %q in %q", test.text, want, out)
			}
		}
		_, out, _ = gatectl("check", "--json", file)
		var result struct {
			Good   bool
			Errors []remark
			Advice []remark
		}
		if err := json.Unmarshal([]byte(out), &result); err != nil || result.Good != (test.code == exitOK) || result.Good != (len(result.Errors) == 0) || result.Good && len(result.Advice) == 0 || result.Good && result.Advice[0].Severity != "danger" {
			t.Errorf("%q: JSON is %s, error %v", test.text, out, err)
		}
	}
	if code, _, _ := gatectl("check", file+".none"); code != exitUsage {
		t.Errorf("a file that is not there: exit %d", code)
	}
}

func TestForms(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		time.Hour: "1h00m", 25 * time.Hour: "1d01h", 1000 * time.Hour: "41d16h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 5 << 40: "5.0 TiB", 1 << 62: "4194304.0 TiB"} {
		if got := octets(n); got != want {
			t.Errorf("octets(%d) is %q, want %q", n, got, want)
		}
	}
	if got := clean("a\x1b\n\xc3\xa9\x7f~"); got != "a#####~" {
		t.Errorf("clean gives %q", got)
	}
}
