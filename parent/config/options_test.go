package config

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// contract is every option with its default in the old syntax: 1.4's, for what
// 1.4 had.
const contract = `
proxy_name *
bind_address 0.0.0.0
port 9199
outgoing_addr 0.0.0.0
pidfile /var/run/smtp-gated/smtp-gated.pid
statefile /var/run/smtp-gated/state
statefile_perm 0660
statefile_type slots
mode none
fixed_server
fixed_server_port 25
fixed_servers
remote_port 114
remote_udp_retries 3
remote_udp_secret 0
chroot_path
set_user
set_group
priority 0
connect_queue 16
enfile_sleep 5
buffer_size 1516
pipeline_size 128
pid_hash_size 4096
host_hash_size 4096
on_takeover_cmds 10
limit_core_size 67108864
limit_virt_size 67108864
limit_data_size 67108864
limit_fsize 104857600
lock_on virus,spam,maxhost,maxident,dnsbl,spf,regex,earlytalk,ratelimit
lock_duration 3600
lock_path /var/spool/smtp-gated/lock
lock_perm 0660
forbid_starttls no
action_script
spool_path /var/spool/smtp-gated/msg
spool_perm 0660
spool_leave_on error
timeout_direct 600
timeout_lookup 10
timeout_scanner 30
timeout_spam 30
timeout_session 20
timeout_idle 300
timeout_connect 30
max_connections 64
max_per_host 8
max_per_ident 4
max_load 2.000000
size_limit 0
scan_max_size 10000000
spam_max_size 500000
spam_threshold 7.000000
spam_max_load 1.000000
ignore_errors no
log_helo no
log_mail_from off
log_rcpt_to off
email_length 64
auth_require no
auth_skip none
log_level debug
log_facility daemon
nat_header X-Nat-Received
nat_header_type generic
spool_header X-Proxy-Spool-Info
abuse
antivirus_type off
antivirus_path /var/run/clamav/clamd.ctl
antispam_type off
antispam_path /var/run/spamd/spamd_socket
scanner_path
dspam_storage
earlytalker yes
earlytalk yes
regex_enforce_helo
regex_reject_helo
regex_enforce_mail_from
regex_reject_mail_from
regex_enforce_rcpt_to
regex_reject_rcpt_to
dnsbl
spf off
spf_log_only no
spf_fixed_ip
ratelimit_path /var/spool/smtp-gated/ratelimit
ratelimit_expiration 0
ratelimit_period 0
ratelimit_dst_expiration -1
ratelimit_generation 0
ratelimit_connections 0
ratelimit_messages 0
ratelimit_sessions 0
ratelimit_recipients 0
ratelimit_bytes 0
ratelimit_mailfrom_rejects 0
ratelimit_rcptto_rejects 0
ratelimit_auth_rejects 0
ratelimit_tls_sessions 0
ratelimit_tls_bytes 0
ratelimit_tls_servers 0
locale
listen
workers 0
antivirus_method auto
control_socket
control_perm 0660
control_group
control_read_socket
control_read_perm 0660
control_read_group
drain_timeout 600
bare_newline normalize
nul strip
chunking scan
smtp_reply_id yes
policy_monitor off
history_path /var/spool/smtp-gated/history
history_max 0
history_keep 604800
history_addresses as-logged
history_message_id yes
history_subject no
user_session
user_lookup
user_scan
user_lock
user_action
user_keys
action_timeout 60
action_queue 64
scan_parallel 8
antispam_refuse yes
log_target auto
log_format legacy
nameservers
tproxy_keep_port no
so_mark 0
target_tls_port 0
listen_tls
listen_proxy_from
tls_policy auto
tls_min_version 1.2
tls_upstream lockstep
tls_verify
tls_ca_file
tls_pins
tls_server_name
tls_handshake_timeout 30
client_prefix_ipv6 64
max_per_login 0
lock_by address
ratelimit_by address
`

// newSite is what TOML has another default for, and why.
const newSite = `
connect_queue 1024 # a flood of one client must not fill the queue for all
max_connections 1000 # a mail server alone opens dozens
max_per_host 50 # a stock Postfix delivers 20 at once, and must not be locked out for it
max_load 0.000000 # the load of a machine of many CPUs says little
spam_max_load 0.000000 # nor should it let spam pass
size_limit 24000000 # none passes unscanned for its size
scan_max_size 24000000 # clamd as Debian has it calls clean what is larger than 25M
spam_max_size 1000000
lock_on virus # a server that relays one spam is no infected machine
log_mail_from accepted,rejected
log_rcpt_to accepted,rejected
history_max 100000 # a file of a package that begins today is nobody's surprise
spool_leave_on never # mail of others, which nothing would ever remove
`

const contractMessages = `msg_virus_found, msg_virus_no_more, msg_virus_locked, msg_spam_found,
msg_unknown_virus, msg_scanner_failed, msg_malformed_ip, msg_cannot_connect, msg_spool_problem, msg_spool_open_fail,
msg_pipeline_full, msg_lookup_failed, msg_lookup_notfound, msg_lookup_timeout, msg_lookup_mismatch, msg_lookup_nomem,
msg_lookup_unknown, msg_connect_timeout, msg_connect_failed, msg_session_timeout, msg_sign_off, msg_hello,
msg_proto_error, msg_transaction_failed, msg_unimpl_command, msg_temp_unavail, msg_max_reached, msg_max_per_host,
msg_max_per_ident, msg_system_load, msg_nomem, msg_unknown_scanner, msg_auth_required, msg_loop_avoidance,
msg_size_limit, msg_fixed_xclient_fail, msg_dnsdb_reject, msg_dnsbl_reject, msg_spf_reject, msg_rate_reject,
msg_ratelimit_error, msg_ratelimit_messages, msg_ratelimit_rcptto, msg_ratelimit_rcptto_rejects, msg_ratelimit_helo,
msg_ratelimit_mailfrom, msg_ratelimit_mailfrom_rejects, msg_ratelimit_dst, msg_earlytalker, msg_regex_helo,
msg_regex_mail_from, msg_regex_rcpt_to, msg_ratelimit_bytes, msg_ratelimit_auth_rejects, msg_tls_hello, msg_ratelimit_tls, msg_max_per_login`

func TestEveryOptionOfTheOldDaemon(t *testing.T) {
	options := index(Options())
	seen := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(contract), "\n") {
		name, init, _ := strings.Cut(line, " ")
		o, ok := options[name]
		if !ok {
			t.Errorf("there is no option %s", name)
			continue
		}
		if o.Value() != init {
			t.Errorf("%s is %q by default, want %q", name, o.Value(), init)
		}
		seen[o.Name] = true
	}
	defaults := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(newSite), "\n") {
		line, _, _ = strings.Cut(line, " #")
		name, init, _ := strings.Cut(line, " ")
		defaults[name] = init
	}
	for _, o := range OptionsTOML() {
		init, other := defaults[o.Name]
		if !other {
			init = options[o.Name].Value()
		}
		if o.Value() != init || o.Aged() != other {
			t.Errorf("%s is %q by default in TOML, want %q", o.Name, o.Value(), init)
		}
		delete(defaults, o.Name)
	}
	if len(defaults) > 0 {
		t.Errorf("there is no option %v", defaults)
	}
	for name := range strings.FieldsFuncSeq(contractMessages, func(r rune) bool { return strings.ContainsRune(", \n", r) }) {
		o, ok := options[name]
		if !ok {
			t.Errorf("there is no option %s", name)
			continue
		}
		seen[o.Name] = true
	}
	for name, o := range options {
		if !seen[o.Name] {
			t.Errorf("option %s has no line in contract, which says each default, nor in contractMessages", name)
		}
	}
}

func TestRestartAndRemoteMarks(t *testing.T) {
	// lock_path is not among those of the manual: it is lockd's root directory.
	restart := " pidfile lock_path chroot_path set_user set_group priority max_connections log_facility " +
		"user_session user_lookup user_scan user_lock user_action user_keys control_socket control_perm control_group " +
		"control_read_socket control_read_perm control_read_group "
	remote := " remote_port remote_udp_retries remote_udp_secret max_per_ident msg_malformed_ip "
	for _, o := range Options() {
		if o.Restart != strings.Contains(restart, " "+o.Name+" ") {
			t.Errorf("%s: Restart is %v, by the list restart it is not", o.Name, o.Restart)
		}
		if o.Remote != strings.Contains(remote, " "+o.Name+" ") {
			t.Errorf("%s: remote is %v", o.Name, o.Remote)
		}
	}
}

func TestTableIsSound(t *testing.T) {
	paths, sections, last := map[string]bool{}, map[string]bool{}, ""
	for _, o := range Options() {
		if paths[o.Path] {
			t.Errorf("%s: path %s is taken", o.Name, o.Path)
		}
		paths[o.Path] = true
		if s := o.section(); s != last {
			if sections[s] {
				t.Errorf("%s: section %s is torn apart", o.Name, s)
			}
			sections[s], last = true, s
		}
		if o.Help == "" || strings.HasSuffix(o.Help, ".") || strings.Contains(o.Help, "\n") {
			t.Errorf("%s: help %q is not one line without full stop", o.Name, o.Help)
		}
		if o.Kind() == "" || o.Accepted() == "" || o.AcceptedTOML() == "" {
			t.Errorf("%s: says too little about its values", o.Name)
		}
	}
	for p := range paths {
		if sections[p] {
			t.Errorf("%s is an option and a section", p)
		}
	}
	if first := Options()[0]; first.Name != "mode" {
		t.Errorf("the first option printed is %s: the syntax is told by mode", first.Name)
	}
}

func TestKeep(t *testing.T) {
	running, next := Default(), Default()
	running.MaxConnections, running.SetUser = 100, "mail"
	next.PidFile, next.MaxPerHost = "/tmp/pid", 3
	changed := strings.Join(next.Keep(running), " ")
	if changed != "pidfile set_user max_connections" {
		t.Errorf("changed: %s", changed)
	}
	if next.PidFile != running.PidFile || next.MaxConnections != 100 || next.SetUser != "mail" || next.MaxPerHost != 3 {
		t.Errorf("kept: %+v", next)
	}
}

func TestUsers(t *testing.T) {
	c := Default()
	if u := c.User(imsg.Lockd); u != "_smtpgated-lock" {
		t.Errorf("lockd runs as %s by default", u)
	}
	c.SetUser, c.UserLock = "mail", "locker"
	if u := c.User(imsg.Lockd); u != "locker" {
		t.Errorf("lockd runs as %s", u)
	}
	if u := c.User(imsg.Session); u != "mail" {
		t.Errorf("session runs as %s", u)
	}
	if u := c.User(imsg.Parent); u != "" {
		t.Errorf("parent runs as %s", u)
	}
}

func TestControlAndInside(t *testing.T) {
	c := Default()
	sockets := func(operators, readers string) {
		t.Helper()
		all := c.ControlSockets()
		if len(all) != 2 || all[0].Role != imsg.Control || all[0].Path != operators || all[1].Role != imsg.Reader || all[1].Path != readers {
			t.Errorf("%+v", all)
		}
	}
	sockets("/var/run/smtp-gated/control", "/var/run/smtp-gated/status")
	c.ChrootPath, c.ControlSocket = "/jail/", "/run/c"
	sockets("/jail/run/c", "/jail/run/status")
	c.ReadSocket = "/r"
	sockets("/jail/run/c", "/jail/r")
	if p := c.Inside(""); p != "" {
		t.Error(p)
	}
}
