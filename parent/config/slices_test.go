package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var facts = Facts{
	Program:     "/sbin/smtp-gated",
	HostName:    "gate.example.net",
	Listeners:   []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:25")},
	Own:         []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	Nameservers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
	Roots:       []byte("roots"),
	Alone:       true,
	SpoolShared: true,
	LocksShared: true,
	Version:     "2.0",
	CompileDate: "today",
	Generation:  1,
}

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSlicesAreFilled sets everything and looks for a field that was forgotten.
func TestSlicesAreFilled(t *testing.T) {
	c := parsed(t, `
mode fixed+xclient
fixed_server 192.0.2.25
tproxy_keep_port yes
so_mark 1
forbid_starttls yes
auth_require mandatory
auth_skip direct
dnsbl a.example
spf fixed
spf_log_only yes
spf_fixed_ip 192.0.2.1
regex_enforce_helo a
regex_reject_helo a
regex_enforce_mail_from a
regex_reject_mail_from a
regex_enforce_rcpt_to a
regex_reject_rcpt_to a
size_limit 1
antivirus_type clamd
antispam_type spamassassin
antispam_path 127.0.0.1:783
listen_proxy_from 192.0.2.9
ignore_errors yes
abuse x
bare_newline reject
nul reject
history_subject yes
history_addresses hash
history_max 1
policy_monitor size,auth
log_helo yes
log_mail_from accepted
log_rcpt_to accepted
antivirus_method fildes
action_script /x
ratelimit_expiration 60
ratelimit_generation 1
remote_udp_secret 1
max_per_login 1
lock_by both
ratelimit_by login
`)
	c.TLSCertificates = []Certificate{{}}
	local := func(path string) string { return filepath.Base(path) }
	for _, slice := range []any{c.Session(facts), c.Lookupd(facts), c.Scand(local), c.Lockd(facts), c.Action(facts)} {
		v := reflect.ValueOf(slice).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is empty: slices.go does not fill it, or this test does not set its option", v.Type().Name(), name)
			}
		}
	}
}

func TestSessionSlice(t *testing.T) {
	s := Default().Session(facts)
	if s.ProxyName != "gate.example.net" || s.Servers != nil || s.DNSBL || s.Antivirus || s.Antispam || s.LockDuration != 3600 {
		t.Errorf("%+v", s)
	}
	if len(s.Texts) != int(imsg.Texts) || s.Texts[imsg.MsgHello] != "Hello" {
		t.Errorf("texts: %q", s.Texts)
	}
	c := parsed(t, "proxy_name mail\nlock_duration -1\nantivirus_type builtin\nscan_max_size 0\nantispam_type builtin\ntimeout_spam 90\nchroot_path /jail\n")
	s = c.Session(facts)
	if s.ProxyName != "mail" || s.LockDuration != -1 || s.Antivirus || !s.Antispam || s.TimeoutScan < 90*time.Second || s.SpoolPath != "/var/spool/smtp-gated/msg" {
		t.Errorf("%+v", s)
	}
}

// TestNoLimit: what is computed from a limit is none where that is none, and the
// limit of an engine that is off says nothing.
func TestNoLimit(t *testing.T) {
	c := parsed(t, "antivirus_type builtin\ntimeout_scanner 20\ntimeout_spam 90\nmode remote-udp\nremote_udp_retries 3\n")
	c.TimeoutSpam = 0
	if got := c.Session(facts).TimeoutScan; got != 20*time.Second+grace {
		t.Errorf("a scan may take %v", got)
	}
	c.TimeoutScanner, c.TimeoutLookup = 0, 0
	if s := c.Session(facts); s.TimeoutScan != 0 || s.TimeoutLocate != 0 {
		t.Errorf("a scan may take %v, a search %v", s.TimeoutScan, s.TimeoutLocate)
	}
	c.TimeoutScanner, c.AntispamType = time.Second, imsg.EngineBuiltin
	if got := c.Session(facts).TimeoutScan; got != 0 {
		t.Errorf("a scan may take %v", got)
	}
	c.TimeoutLookup = time.Second
	if got := c.Session(facts).TimeoutLocate; got != 3*time.Second {
		t.Errorf("a search may take %v", got)
	}
}

func TestLookupdSlice(t *testing.T) {
	c := Default()
	if s := c.Lookupd(facts); !slices.Equal(s.Nameservers, facts.Nameservers) {
		t.Errorf("%v", s.Nameservers)
	}
	c = parsed(t, "nameservers 127.0.0.1\n")
	if s := c.Lookupd(facts); len(s.Nameservers) != 1 || s.Nameservers[0].String() != "127.0.0.1:53" {
		t.Errorf("%v", s.Nameservers)
	}
}

func TestScandSlice(t *testing.T) {
	local := func(path string) string {
		name, err := filepath.Rel("/jail/run", path)
		if err != nil {
			t.Error(err)
		}
		return name
	}
	c := parsed(t, "chroot_path /jail\nantivirus_type clamd\nantivirus_path /run/clamd.ctl\nantivirus_method scan\nantispam_type spamassassin\nantispam_path [::1]:783\ntimeout_scanner 20\ntimeout_spam 30\n")
	if got := c.ScannerSockets(); !slices.Equal(got, []string{"/jail/run/clamd.ctl"}) {
		t.Errorf("sockets: %v", got)
	}
	want := []imsg.EngineConfig{
		{Engine: imsg.EngineClamd, Roles: imsg.RoleVirus, Method: imsg.MethodScan, Socket: "clamd.ctl", Name: "/jail/run/clamd.ctl", Timeout: 20 * time.Second},
		{Engine: imsg.EngineSpamd, Roles: imsg.RoleSpam, Address: netip.MustParseAddrPort("[::1]:783"), Timeout: 30 * time.Second},
	}
	if s := c.Scand(local); !slices.Equal(s.Engines, want) {
		t.Errorf("%+v", s)
	}
	c = parsed(t, "chroot_path /jail\nantivirus_type mksd\nantivirus_path /run/mksd\nantivirus_method scan\nantispam_type builtin\ntimeout_scanner 20\ntimeout_spam 30\n")
	want = []imsg.EngineConfig{
		{Engine: imsg.EngineMksd, Roles: imsg.RoleVirus, Socket: "mksd", Name: "/jail/run/mksd", Timeout: 20 * time.Second},
		{Engine: imsg.EngineBuiltin, Roles: imsg.RoleSpam, Timeout: 30 * time.Second},
	}
	if s := c.Scand(local); !slices.Equal(s.Engines, want) || !slices.Equal(c.ScannerSockets(), []string{"/jail/run/mksd"}) {
		t.Errorf("%+v", s)
	}
	c = parsed(t, "antivirus_type builtin\nantispam_type builtin\n")
	if s := c.Scand(local); len(s.Engines) != 2 || s.Engines[0].Engine != imsg.EngineBuiltin || s.Engines[0].Socket != "" || len(c.ScannerSockets()) != 0 {
		t.Errorf("%+v", s)
	}
	if s := Default().Scand(local); len(s.Engines) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLockdSlice(t *testing.T) {
	for text, want := range map[string]imsg.StateFile{
		"human":       imsg.StateHuman,
		"slots":       imsg.StateHuman | imsg.StateSlots,
		"flat,human":  imsg.StateFlat,
		"flat, slots": imsg.StateFlat | imsg.StateSlots,
	} {
		if s := parsed(t, "statefile_type "+text+"\n").Lockd(facts); s.StateFile != want {
			t.Errorf("%s: %v, want %v", text, s.StateFile, want)
		}
	}
	if s := Default().Lockd(facts); s.ActionScript || s.ProxyName != "gate.example.net" {
		t.Errorf("%+v", s)
	}
}

// TestProtected: whom a packet filter must never block, each once and as lockd compares
// them.
func TestProtected(t *testing.T) {
	c := parsed(t, "mode fixed\nfixed_server 192.0.2.25\nantivirus_type clamd\nantivirus_path 192.0.2.3:3310\nantispam_type spamassassin\nantispam_path [2001:db8::3]:783\noutgoing_addr 192.0.2.4\nspf_fixed_ip 192.0.2.5\n")
	f := facts
	f.Listeners = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:25"), netip.MustParseAddrPort("[::ffff:192.0.2.6]:25"), netip.MustParseAddrPort("[fe80::1%eth0]:25")}
	var want []netip.Addr
	for _, a := range []string{"192.0.2.1", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.25", "192.0.2.53", "2001:db8::3", "fe80::1"} {
		want = append(want, netip.MustParseAddr(a))
	}
	if got := c.Lockd(f).Protected; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i := range uint32(2 * imsg.MaxProtected) {
		f.Own = append(f.Own, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	got := c.Lockd(f).Protected
	if len(got) > imsg.MaxProtected || !slices.Contains(got, want[5]) {
		t.Errorf("%d addresses", len(got))
	}
	balancers := parsed(t, "mode fixed\nfixed_server 192.0.2.25\nlisten_proxy_from 192.0.2.9, 2001:db8:9::/48\n")
	if got := balancers.Lockd(f).ProxyFrom; len(got) != 2 || got[0].String() != "192.0.2.9/32" || !slices.Equal(got, balancers.Session(f).ProxyFrom) {
		t.Errorf("load balancers: %v", got)
	}
	if m := imsg.Row(c.Lockd(f)); len(got)*24 > m.Max/2 {
		t.Errorf("they take too much of a message of %d octets", m.Max)
	}
}

func TestSpoolLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"":                                      100<<20 + 8192,
		"limit_fsize -1":                        -1,
		"limit_fsize 0":                         10000000 + 8192,
		"limit_fsize 0\nspam_max_size 20000000": 20000000 + 8192,
		"limit_fsize 9223372036854775807":       -1,
	} {
		if n := parsed(t, text).SpoolLimit(); n != want {
			t.Errorf("%s: %d, want %d", text, n, want)
		}
	}
	if s := parsed(t, "limit_virt_size -1\nlimit_data_size 0\n").Action(facts); s.Virtual != 0 || s.Data != 0 {
		t.Errorf("%+v", s)
	}
}

func TestActionSlice(t *testing.T) {
	s := parsed(t, "chroot_path /jail\naction_script /bin/lock\nspool_path /spool\n").Action(facts)
	if s.Script != "/jail/bin/lock" || s.Directory != "/jail/spool" || s.SpoolPath != "/spool" || s.Timeout != time.Minute {
		t.Errorf("%+v", s)
	}
	if s = Default().Action(facts); s.Script != "" || s.Virtual != 64<<20 || s.Data != 64<<20 {
		t.Errorf("%+v", s)
	}
}

// TestOptionsReachTheirRooms takes each option out of a configuration that sets
// all: what some room is told must change, or the parent itself must be whom it is for.
func TestOptionsReachTheirRooms(t *testing.T) {
	const parents = " so_mark bind_address port listen connect_queue workers pidfile chroot_path priority drain_timeout" +
		" set_user set_group user_session user_lookup user_scan user_lock user_action user_keys control_socket control_perm control_group" +
		" control_read_socket control_read_perm control_read_group" +
		" statefile statefile_perm limit_core_size limit_fsize ratelimit_path history_path" +
		" log_level log_facility log_target log_format listen_tls tls_ca_file "
	archive, err := txtar.ParseFile("testdata/everything.txtar")
	if err != nil {
		t.Fatal(err)
	}
	told := func(c *Config) string {
		local := func(path string) string { return path }
		return fmt.Sprintf("%+v %+v %+v %+v %+v", c.Session(facts), c.Lookupd(facts), c.Scand(local), c.Lockd(facts), c.Action(facts))
	}
	everything := func() *Config { return parsed(t, string(archive.Files[0].Data)) }
	for i, o := range table(everything()) {
		c, whole := everything(), everything()
		if o.Name == "forbid_starttls" { // which tls_policy excludes
			c.TLSPolicy, whole.TLSPolicy = imsg.TLSAuto, imsg.TLSAuto
		}
		if o.Name == "fixed_server" || o.Name == "fixed_server_port" { // which fixed_servers excludes
			c.FixedServers, whole.FixedServers = nil, nil
		}
		other := table(c)[i]
		other.reset()
		switch changed := told(c) != told(whole); {
		case o.Value() == o.Default():
			t.Errorf("%s: testdata/everything.txtar leaves it as it is", o.Name)
		case strings.Contains(parents, " "+o.Name+" "):
		case changed == (o.Remark == meaningless):
			t.Errorf("%s: changes what a room is told: %v; the parent's own options stand in parents", o.Name, changed)
		}
	}
}
