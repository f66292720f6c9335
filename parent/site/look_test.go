//go:build linux

package site

import (
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// family are rooms as the parent has them.
var family = []Room{
	{Name: imsg.Lockd, User: "user_lock", Root: Locks},
	{Name: imsg.Action, User: "user_action", Root: WholeTree},
	{Name: imsg.Scand, User: "user_scan", Root: Scanners, Groups: true},
	{Name: imsg.Lookupd, User: "user_lookup", Root: Empty},
	{Name: imsg.Session, User: "user_session", Root: Spool},
}

// stage is a small tree with a socket and a script in it.
func stage(t *testing.T) string {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run", "spool", "lock", "crowd", "jail/run", "open"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"script": 0o755, "dull": 0o644, "crowd/a film": 0o644, "spool/7.1": 0o644, "lock/192.0.2.1-joe": 0o644, "lock/login=joe%2Bx@example.net": 0o644} {
		if err := os.WriteFile(filepath.Join(top, name), []byte("#!/bin/sh\nexit 1\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(top) // a socket's name must be short
	l, err := net.Listen("unix", "run/ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return top
}

// TestLook has a look at a machine where something is wrong.
func TestLook(t *testing.T) {
	if nobody, err := user.Lookup("nobody"); err == nil && nobody.Uid == strconv.Itoa(os.Geteuid()) {
		imsgtest.Lacks(t, "the user nobody, whom we are, is no other")
	}
	top := stage(t)
	mode := func(name string, mode fs.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Join(top, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	const good = "mode fixed\nfixed_server 192.0.2.25\nset_user nobody\nlock_path $/none/lock\nspool_path $/none/spool\npidfile $/none/run/pid\nstatefile $/none/state\n"
	for _, c := range []struct {
		prepare    func()
		text, want string
	}{
		{nil, "", ""},
		{nil, "set_user no-such-user\n", `^set_user: there is no user no-such-user: `},
		{nil, "user_scan no-such-user\n", `^set_user: there is no user no-such-user: `},
		{nil, "set_group no-such-group\n", `set_group: group "no-such-group" does not exist`},
		{nil, "control_group no-such-group\n", `^control_group: group "no-such-group"`},
		{nil, "control_read_group no-such-group\n", `^control_read_group: group "no-such-group"`},
		{nil, "control_read_socket $/script\n", `^control_read_socket: $/script: a file that is no socket has this name: remove it`},
		{nil, "control_socket $/run/ctl\n", ""},
		{func() { mode("run/ctl", 0o666) }, "antivirus_type clamd\nantivirus_path $/run/ctl\n", ""},
		{nil, "antivirus_path $/run/none\n", ""}, // not in use
		{nil, "antivirus_type clamd\nantivirus_path 127.0.0.1:1\n", ""},
		{nil, "antivirus_type clamd\nantivirus_path $/run/none\n", `^antivirus_path: $/run/none: no such file or directory: does the scanner run`},
		{nil, "antispam_type spamassassin\nantispam_path $/script\n", `^antispam_path: $/script is no socket$`},
		{nil, "antivirus_type clamd\nantivirus_path $/run/ctl\nchroot_path $/jail\n", `^antivirus_path: $/jail$/run/ctl: no such file or directory, but there is $/run/ctl: chroot_path is put before it$`},
		{func() { mode("run/ctl", 0o660) }, "antivirus_type clamd\nantivirus_path $/run/ctl\n", `^antivirus_path: $/run/ctl: $/run/ctl is closed to user nobody \(it belongs to .*, mode 0660\)`},
		{func() { mode("run/ctl", 0o666); mode("run", 0o700) }, "antivirus_type clamd\nantivirus_path $/run/ctl\n", `^antivirus_path: $/run/ctl: $/run is closed to user nobody`},
		{func() { mode("run", 0o755) }, "action_script $/script\n", ""},
		{nil, "action_script $/none\n", `^action_script: $/none: no such file or directory$`},
		{nil, "action_script $/run\n", `^action_script: $/run is no file$`},
		{nil, "action_script $/dull\n", `^action_script: $/dull: $/dull is closed to user nobody .*; only group`},
		{func() { mode("spool", 0o750) }, "spool_path $/spool\naction_script $/script\n", `(?s)^spool_path: $/spool belongs to uid .* chown \d+ $/spool\naction_script: it works in $/spool: $/spool is closed to user nobody`},
		{func() { mode("spool", 0o777) }, "spool_path $/spool\n", `^spool_path: $/spool is open to everybody: give it a directory of its own; nothing is cleared away there$`},
		{func() { mode("crowd", 0o755) }, "spool_path $/crowd\n", `(?s)^spool_path: $/crowd belongs to .*: it holds other things, such as "a film", so name a directory of its own\nspool_path: .*a directory of its own`},
		{nil, "lock_path $/crowd\n", `(?s)it holds other things, such as "a film", so name.*lock_path: .* nothing is cleared`},
		{nil, "ratelimit_path $/crowd\nratelimit_expiration 5\n", `^ratelimit_path: .* such as "a film": give it`},
		{nil, "ratelimit_path $/lock\nratelimit_expiration 5\n", ""},
		{nil, "spool_path /tmp\nlock_path /none/lock\n", `^spool_path: /tmp is a directory of the system: give it`},
		{nil, "lock_path /var/spool\nratelimit_path $/r\n", `(?s)^lock_path: /var/spool belongs to .*: it is a directory of the system, so name a directory of its own\nlock_path`},
		{nil, "outgoing_addr 192.0.2.77\n", `^outgoing_addr: 192.0.2.77 is no address of this machine`},
		{nil, "outgoing_addr 127.0.0.1\n", ""},
		{nil, "bind_address 192.0.2.77\n", `^bind_address: 192.0.2.77 is no address of this machine: nobody`},
		{nil, "listen 127.0.0.1:9, 192.0.2.77:9\n", `^listen: 192.0.2.77 is no address`},
		{nil, "mode tproxy\nbind_address 192.0.2.77\n", ""},
	} {
		if c.prepare != nil {
			c.prepare()
		}
		conf, _, err := config.Parse("f", []byte(strings.ReplaceAll(good+c.text, "$", top)))
		if err == nil {
			err = conf.Check()
		}
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		var said []string
		warnings, err := (&Site{Config: conf, Rooms: family, Rooted: true}).Look()
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		for _, w := range warnings {
			said = append(said, w.String())
		}
		got := strings.Join(said, "\n")
		want := strings.ReplaceAll(strings.ReplaceAll(c.want, "$/", regexp.QuoteMeta(top)+"/"), "$"+top, top)
		if c.want == "" && got != "" || !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: said\n%s\nwant %s", c.text, got, want)
		}
		if strings.Contains(got, "chown") && regexp.MustCompile(`chown \d+ (/tmp|/var/spool|\S+/crowd)$`).MatchString(got) {
			t.Errorf("%s: advises to give away what others use: %s", c.text, got)
		}
	}
	for _, name := range []string{"spool/7.1", "lock/192.0.2.1-joe", "crowd/a film"} {
		if _, err := os.Stat(filepath.Join(top, name)); err != nil {
			t.Errorf("looking is not touching: %v", err)
		}
	}
}

// TestCircle: a fixed server that is this machine, by an address that only the
// machine knows for its own.
func TestCircle(t *testing.T) {
	for text, circle := range map[string]bool{
		"": true, "fixed_server 192.0.2.2\n": false, "port 26\n": false, "bind_address 127.0.0.1\n": false, "listen [::]:25\n": false,
	} {
		conf, _, err := config.Parse("f", []byte("mode fixed\nfixed_server 192.0.2.1\nport 25\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		l := lookout{Site: &Site{Config: conf}, local: func(a netip.Addr) bool { return a.IsLoopback() || a.String() == "192.0.2.1" }}
		l.addresses()
		if said := len(l.found) == 1 && strings.Contains(l.found[0].Text, "go in a circle"); said != circle || !circle && l.found != nil {
			t.Errorf("%s: %v", text, l.found)
		}
	}
}

// TestFolderNames: what may lie in a folder of ours, and what makes it somebody else's.
func TestFolderNames(t *testing.T) {
	for _, f := range (&Site{Config: config.Default()}).folders() {
		for name, root := range map[string]Root{"1700000000.7": Spool, "1700000000.7.part": Spool, "192.0.2.1": Locks, "2001:db8::1-joe-x": Locks} {
			if f.Ours(name) != (f.root == root) {
				t.Errorf("%s: %s is ours: %v", f.option, name, f.Ours(name))
			}
		}
		for _, name := range []string{"x.part", ".hidden", "1.2.3.4.5", "mail"} {
			if f.Ours(name) {
				t.Errorf("%s: %s is ours", f.option, name)
			}
		}
	}
}
