// The one table of all options. Whoever reads, prints, explains or checks the
// configuration follows it; nothing about an option is said anywhere else.
//
// The default files in etc follow it too: after a change here run
// go test ./parent/config -update.
//
// Texts for clients have a table of their own in messages.go, names that old
// files may still use another in renamed.go.

package config

import (
	"net/netip"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Option is one line of the table, bound to one Config.
type Option struct {
	Name    string   // in the legacy syntax
	Also    []string // further spellings the legacy syntax takes
	Path    string   // in TOML: sections and key, joined by dots
	Help    string   // one line, for people
	Remark  string   // said once when the option is set: how it differs here from the old daemon
	Restart bool     // a reload leaves it as it is
	Remote  bool     // acts in the remote modes only
	Needed  bool     // a table of an array is nothing without it
	Secret  bool     // nobody is shown it but who reads the file
	value
}

// Options returns the table with the defaults of the old syntax for values.
func Options() []Option { return table(Default()) }

// OptionsTOML returns the table with the defaults of TOML for values.
func OptionsTOML() []Option { return table(NewSite()) }

// Accepted says what the option takes in the legacy syntax.
func (o Option) Accepted() string { return o.accepted(false) }

// AcceptedTOML says what the option takes in TOML.
func (o Option) AcceptedTOML() string { return o.accepted(true) }

// section and key are the parts of the option's path.
func (o Option) section() string { return o.Path[:strings.LastIndexByte(o.Path, '.')] }
func (o Option) key() string     { return o.Path[strings.LastIndexByte(o.Path, '.')+1:] }

func (o Option) isMessage() bool { return o.section() == "messages" }

const meaningless = "has no meaning in this program"

var (
	anyIPv4  = netip.IPv4Unspecified()
	nowhere  netip.Addr
	clamdCtl = Socket{Path: "/var/run/clamav/clamd.ctl"}
	spamdSok = Socket{Path: "/var/run/spamd/spamd_socket"}
)

// table binds every option to its field of c. The order is that of the printed file.
func table(c *Config) []Option {
	options := []Option{
		{Name: "mode", Path: "target.mode", Help: "how the server a client wanted is found", value: as(&c.Mode, 0, one(modes))},
		{Name: "fixed_server", Path: "target.server", Help: "the mail server of the fixed modes", value: as(&c.FixedServer, nowhere, address())},
		{Name: "fixed_server_port", Path: "target.port", Help: "its port", value: as(&c.FixedServerPort, 25, port(1))},
		{Name: "fixed_servers", Path: "target.servers", Help: "the mail servers of the fixed modes, in place of the one above, in the order in which each session tries them, 16 at most", value: as(&c.FixedServers, nil, endpoints("ip:port or [v6]:port", 1, 0))},
		{Name: "outgoing_addr", Path: "target.from", Help: "source address of connections to mail servers, one for each family, 0.0.0.0: the system decides", value: as(&c.Outgoing, []netip.Addr{anyIPv4}, sources())},
		{Name: "tproxy_keep_port", Path: "target.keep_port", Help: "tproxy connects from the client's port too, not only from its address", value: as(&c.KeepPort, false, boolean())},
		{Name: "so_mark", Path: "target.mark", Help: "firewall mark on connections to mail servers, 0: none", value: as(&c.SoMark, 0, integer[uint32]("UINT", 0, 1<<32-1))},
		{Name: "target_tls_port", Path: "target.tls_port", Help: "its port for TLS from the first octet, for clients that begin so; 0: its port, and TLS as {tls_upstream} says", value: as(&c.TLS.Port, 0, port(0))},
		{Name: "remote_port", Path: "target.remote.port", Help: "port on the router that answers lookups", Remote: true, value: as(&c.RemotePort, 114, port(1))},
		{Name: "remote_udp_retries", Path: "target.remote.retries", Help: "how often a lookup by UDP is tried", Remote: true, value: as(&c.RemoteRetries, 3, within(1, 100))},
		{Name: "remote_udp_secret", Path: "target.remote.secret", Help: "number shared with the router's helper", Remote: true, Secret: true, value: as(&c.RemoteSecret, 0, integer[int64]("INT", -1<<31, 1<<32-1))},

		{Name: "bind_address", Path: "listen.address", Help: "address to listen on", value: as(&c.BindAddress, anyIPv4, address())},
		{Name: "port", Path: "listen.port", Help: "port to listen on, 0: one the system picks", value: as(&c.Port, 9199, port(0))},
		{Name: "listen", Path: "listen.on", Help: "addresses with ports to listen on, in place of the two above", value: as(&c.Listen, nil, endpoints("ip:port or [v6]:port", 0, 0))},
		{Name: "listen_tls", Path: "listen.tls", Help: "addresses with ports to listen on as well, for clients that begin with TLS; for the fixed modes, and with a certificate; of sockets that a service manager gives it is the one called smtps", value: as(&c.ListenTLS, nil, endpoints("ip:port or [v6]:port", 0, 0))},
		{Name: "listen_proxy_from", Path: "listen.proxy_from", Help: "load balancers whose connections begin with a header of the PROXY protocol, which says who the client is; for the fixed modes", value: as(&c.SessionConfig.ProxyFrom, nil, networks())},
		{Name: "connect_queue", Path: "listen.queue", Help: "connections that may wait to be accepted, as listen(2); there is room for 128 at least", value: as(&c.ConnectQueue, 16, within(0, 1<<31-1)).inTOML(1024)},

		{Name: "proxy_name", Path: "server.name", Help: "name the gateway calls itself in replies and headers, *: the host name", value: as(&c.ProxyName, "*", line())},
		{Name: "workers", Path: "server.workers", Help: "session processes, 0: half the number of CPUs, at least 1, at most 8", value: as(&c.Workers, 0, integer[int]("UINT", 0, 64))},
		{Name: "pidfile", Path: "server.pid_file", Help: "file that holds the number of the main process", Restart: true, value: as(&c.PidFile, "/var/run/smtp-gated/smtp-gated.pid", file())},
		{Name: "chroot_path", Path: "server.chroot", Help: "directory that is put before every other path of this file", Restart: true, value: as(&c.ChrootPath, "", path())},
		{Name: "priority", Path: "server.priority", Help: "scheduling priority as setpriority(2), 0: unchanged", Restart: true, value: as(&c.Priority, 0, within(-20, 20))},
		{Name: "enfile_sleep", Path: "server.enfile_sleep", Help: "pause when the system has no descriptors left", value: as(&c.EnfileSleep, 5e9, seconds("INT", 0))},
		{Name: "drain_timeout", Path: "server.drain_timeout", Help: "how long sessions may go on after a stop or a reload; then only messages under way are finished", value: as(&c.DrainTimeout, 600e9, seconds("UINT", 0))},

		{Name: "set_user", Path: "users.user", Help: "user of every room that has none of its own below", Restart: true, value: as(&c.SetUser, "", account("USER"))},
		{Name: "set_group", Path: "users.group", Help: "group of every room, empty: that of its user", Restart: true, value: as(&c.SetGroup, "", account("GROUP"))},
		{Name: "user_session", Path: "users.session", Help: "user of the session rooms, empty: {set_user}, else _smtpgated", Restart: true, value: as(&c.UserSession, "", account("USER"))},
		{Name: "user_lookup", Path: "users.lookup", Help: "user of the lookup room, empty: {set_user}, else _smtpgated-lookup", Restart: true, value: as(&c.UserLookup, "", account("USER"))},
		{Name: "user_scan", Path: "users.scan", Help: "user of the scanning room, empty: {set_user}, else _smtpgated-scan", Restart: true, value: as(&c.UserScan, "", account("USER"))},
		{Name: "user_lock", Path: "users.lock", Help: "user of the locking room, empty: {set_user}, else _smtpgated-lock", Restart: true, value: as(&c.UserLock, "", account("USER"))},
		{Name: "user_action", Path: "users.action", Help: "user of the action script, empty: {set_user}, else _smtpgated-action", Restart: true, value: as(&c.UserAction, "", account("USER"))},
		{Name: "user_keys", Path: "users.keys", Help: "user of the room for private keys, which there is with a tls.certificate alone, empty: {set_user}, else _smtpgated-keys", Restart: true, value: as(&c.UserKeys, "", account("USER"))},

		{Name: "control_socket", Path: "control.socket", Help: "socket smtp-gatectl talks to, empty: \"control\" beside the pid file", Restart: true, value: as(&c.ControlSocket, "", file())},
		{Name: "control_perm", Path: "control.perm", Help: "its permissions", Restart: true, value: as(&c.ControlPerm, 0o660, permissions())},
		{Name: "control_group", Path: "control.group", Help: "its group, empty: that of the main process", Restart: true, value: as(&c.ControlGroup, "", account("GROUP"))},
		{Name: "control_read_socket", Path: "control.read_socket", Help: "socket by which smtp-gatectl looks and can change nothing, empty: \"status\" beside the one above", Restart: true, value: as(&c.ReadSocket, "", file())},
		{Name: "control_read_perm", Path: "control.read_perm", Help: "its permissions", Restart: true, value: as(&c.ReadPerm, 0o660, permissions())},
		{Name: "control_read_group", Path: "control.read_group", Help: "its group, empty: that of the main process", Restart: true, value: as(&c.ReadGroup, "", account("GROUP"))},

		{Name: "statefile", Path: "status.file", Help: "file the state is written to at SIGUSR1", value: as(&c.StateFile, "/var/run/smtp-gated/state", file())},
		{Name: "statefile_perm", Path: "status.perm", Help: "its permissions", value: as(&c.StateFilePerm, 0o660, permissions())},
		{Name: "statefile_type", Path: "status.form", Help: "its form: human or flat, and a line for each session with slots", value: as(&c.StateFileType, stateForms[2].value, many(stateForms))},

		{Name: "max_connections", Path: "limits.connections", Help: "sessions at once", Restart: true, value: as(&c.MaxConnections, 64, integer[int]("UINT", 1, 1000000)).inTOML(1000)},
		{Name: "max_per_host", Path: "limits.per_host", Help: "sessions at once of one client address, 0: any number", value: as(&c.MaxPerHost, 8, count(0)).inTOML(50)},
		{Name: "max_per_ident", Path: "limits.per_ident", Help: "sessions at once of one client address and ident, 0: any number", Remote: true, value: as(&c.MaxPerIdent, 4, count(0))},
		{Name: "max_per_login", Path: "limits.per_login", Help: "sessions at once of one login that a server has accepted, from whatever addresses, 0: any number", value: as(&c.MaxPerLogin, 0, count(0))},
		{Name: "max_load", Path: "limits.load", Help: "system load above which connections are refused, 0: any", value: as(&c.MaxLoad, 2, float(0, 1e6)).inTOML(0)},
		{Name: "size_limit", Path: "limits.message_size", Help: "largest message that is let through, 0: any; it passes unscanned if it is larger than {scan_max_size}", value: as(&c.SizeLimit, 0, size("UINT", 0)).inTOML(24e6)},
		{Name: "client_prefix_ipv6", Path: "limits.ipv6_prefix", Help: "bits of an IPv6 address that make one client", value: as(&c.ClientPrefixIPv6, 64, integer[int]("UINT", 0, 128))},
		{Name: "limit_core_size", Path: "limits.process.core", Help: "largest core dump, -1: as the system has it; at the default rooms leave none", value: as(&c.LimitCore, defaultCore, size("INT", -1))},
		{Name: "limit_virt_size", Path: "limits.process.virtual", Help: "address space of the action script, -1 or 0: as the system has it", Remark: "acts on the action script only", value: as(&c.LimitVirt, 64<<20, size("INT", -1))},
		{Name: "limit_data_size", Path: "limits.process.data", Help: "data segment of the action script, -1 or 0: as the system has it", Remark: "acts on the action script only", value: as(&c.LimitData, 64<<20, size("INT", -1))},
		{Name: "limit_fsize", Path: "limits.process.file", Help: "largest file a session room or the action script may write, at least the scan sizes; -1: as the system has it", value: as(&c.LimitFile, 100<<20, size("INT", -1))},

		{Name: "timeout_connect", Path: "timeouts.connect", Help: "for a connection to a mail server, 0: no limit", value: as(&c.TimeoutConnect, 30e9, seconds("UINT", 0))},
		{Name: "timeout_lookup", Path: "timeouts.lookup", Help: "for one question to a router or name server, 0: no limit", value: as(&c.TimeoutLookup, 10e9, seconds("UINT", 0))},
		{Name: "timeout_idle", Path: "timeouts.idle", Help: "silence on both sides that ends a session; for its answer to a whole message a server has 10 minutes at least", value: as(&c.TimeoutIdle, 300e9, seconds("UINT", 1))},
		{Name: "timeout_session", Path: "timeouts.session", Help: "for all of a session that was taken over, 0: no limit", value: as(&c.TimeoutSession, 20e9, seconds("UINT", 0))},
		{Name: "timeout_direct", Path: "timeouts.direct", Help: "silence that ends a session that is only passed on, as after STARTTLS", value: as(&c.TimeoutDirect, 600e9, seconds("UINT", 1))},
		{Name: "timeout_scanner", Path: "timeouts.antivirus", Help: "for one virus scan, 0: no limit", value: as(&c.TimeoutScanner, 30e9, seconds("UINT", 0))},
		{Name: "timeout_spam", Path: "timeouts.antispam", Help: "for one spam scan, 0: no limit", value: as(&c.TimeoutSpam, 30e9, seconds("UINT", 0))},

		{Name: "forbid_starttls", Path: "smtp.forbid_starttls", Help: "refuse STARTTLS: what is encrypted cannot be scanned", value: as(&c.ForbidSTARTTLS, false, boolean())},
		{Name: "chunking", Path: "smtp.chunking", Help: "BDAT: scan it like DATA, or filter it out of what the server offers", value: as(&c.ScanChunks, true, one(chunkings))},
		{Name: "bare_newline", Path: "smtp.bare_newline", Help: "what to do with a CR or LF that stands alone; pass is unsafe", value: as(&c.BareNewline, 0, one(newlines))},
		{Name: "nul", Path: "smtp.nul", Help: "what to do with a NUL in a message", value: as(&c.RejectNUL, false, one(nulls))},
		{Name: "smtp_reply_id", Path: "smtp.reply_id", Help: "end refusals in the session's name in log, header and spool, for who is refused to quote", value: as(&c.ReplyID, true, boolean())},
		{Name: "earlytalker", Also: []string{"earlytalk"}, Path: "smtp.early_talk", Help: "refuse clients that talk before the server's greeting", value: as(&c.EarlyTalk, true, boolean())},
		{Name: "auth_require", Path: "smtp.auth_require", Help: "whether a client must authenticate before it may send", value: as(&c.AuthRequire, 0, one(authNeeds))},
		{Name: "auth_skip", Path: "smtp.auth_skip", Help: "checks an authenticated client is spared; direct: all of them", value: as(&c.AuthSkip, 0, many(authSkips))},
		{Name: "on_takeover_cmds", Path: "smtp.takeover_commands", Help: "commands a client may give after its session was taken over", value: as(&c.TakeoverCmds, 10, count(0))},
		{Name: "pipeline_size", Path: "smtp.pipeline", Help: "commands without a reply after which a client is read no further until one comes, 16 or more", value: as(&c.PipelineSize, 128, integer[int]("UINT", 0, 1<<20))},

		{Name: "tls_policy", Path: "tls.policy", Help: "what becomes of STARTTLS: passed on unread, not offered, or ended here and read; auto: ended here in the fixed modes with a certificate, else passed on", value: as(&c.TLSPolicy, imsg.TLSAuto, one(tlsPolicies))},
		{Name: "tls_min_version", Path: "tls.min_version", Help: "oldest version of TLS that is spoken where TLS ends here", value: as(&c.TLS.MinVersion, imsg.TLS12, one(tlsVersions))},
		{Name: "tls_upstream", Path: "tls.upstream", Help: "TLS to the server when TLS ends here: when the client has it, or no mail without it, or never, and STARTTLS is offered for it", value: as(&c.TLS.Upstream, imsg.TLSLockstep, one(tlsUpstreams))},
		{Name: "tls_verify", Path: "tls.verify", Help: "what the server's certificate must have: nothing, a key of {tls_pins}, a signature of a known authority, or one for the server's name; no default, as each is wrong somewhere", value: as(&c.TLS.Verify, imsg.TLSUndecided, optional(tlsVerifies))},
		{Name: "tls_ca_file", Path: "tls.ca_file", Help: "file of the authorities of {tls_verify} chain and name, in PEM, empty: the system's", value: as(&c.TLSCAFile, "", file())},
		{Name: "tls_pins", Path: "tls.pins", Help: "keys of {tls_verify} pin: the SHA-256 of the public key (SPKI), in base64", value: as(&c.TLS.Pins, nil, pins())},
		{Name: "tls_server_name", Path: "tls.server_name", Help: "name the server is asked for, and that {tls_verify} name looks for", value: as(&c.TLS.ServerName, "", hostName())},
		{Name: "tls_handshake_timeout", Path: "tls.handshake_timeout", Help: "for a handshake, with the client or the server", value: as(&c.TLS.HandshakeTimeout, 30e9, seconds("UINT", 1))},

		{Name: "dnsbl", Path: "policy.dnsbl", Help: "DNS block lists clients are looked up in", value: as(&c.DNSBL, nil, blockLists())},
		{Name: "nameservers", Path: "policy.nameservers", Help: "name servers to ask, empty: those of /etc/resolv.conf", value: as(&c.Nameservers, nil, endpoints("ip, ip:port or [v6]:port", 1, 53))},
		{Name: "spf", Path: "policy.spf", Help: "which address is held against the sender's SPF record", value: as(&c.SPF, 0, one(spfs))},
		{Name: "spf_log_only", Path: "policy.spf_log_only", Help: "log what SPF says but refuse nothing", value: as(&c.SPFLogOnly, false, boolean())},
		{Name: "spf_fixed_ip", Path: "policy.spf_fixed_ip", Help: "the address of spf fixed", value: as(&c.SPFFixedIP, nowhere, address())},
		{Name: "policy_monitor", Path: "policy.monitor", Help: "rules that are judged, counted and told of, and that refuse nobody", value: as(&c.Monitor, 0, many(monitors))},
		{Name: "regex_enforce_helo", Path: "policy.regex.enforce_helo", Help: "HELO and EHLO must match", value: as(&c.EnforceHelo, "", regex())},
		{Name: "regex_reject_helo", Path: "policy.regex.reject_helo", Help: "HELO and EHLO must not match", value: as(&c.RejectHelo, "", regex())},
		{Name: "regex_enforce_mail_from", Path: "policy.regex.enforce_mail_from", Help: "the sender must match", value: as(&c.EnforceMail, "", regex())},
		{Name: "regex_reject_mail_from", Path: "policy.regex.reject_mail_from", Help: "the sender must not match", value: as(&c.RejectMail, "", regex())},
		{Name: "regex_enforce_rcpt_to", Path: "policy.regex.enforce_rcpt_to", Help: "each recipient must match", value: as(&c.EnforceRcpt, "", regex())},
		{Name: "regex_reject_rcpt_to", Path: "policy.regex.reject_rcpt_to", Help: "no recipient may match", value: as(&c.RejectRcpt, "", regex())},

		{Name: "ignore_errors", Path: "scan.ignore_errors", Help: "let a message pass when it cannot be scanned", value: as(&c.IgnoreErrors, false, boolean())},
		{Name: "scan_parallel", Path: "scan.parallel", Help: "messages each engine scans at once", value: as(&c.ScandConfig.Parallel, 8, integer[int]("UINT", 1, 1024))},
		{Name: "antivirus_type", Path: "scan.antivirus.engine", Help: "virus scanner; builtin knows the EICAR test file only", value: as(&c.AntivirusType, 0, one(antivirusEngines))},
		{Name: "antivirus_path", Path: "scan.antivirus.socket", Help: "where clamd or mksd listens", value: as(&c.AntivirusSocket, clamdCtl, socket())},
		{Name: "antivirus_method", Path: "scan.antivirus.method", Help: "how clamd gets a message; auto: fildes over a UNIX socket, else instream", value: as(&c.AntivirusMethod, 0, one(methods))},
		{Name: "scan_max_size", Path: "scan.antivirus.max_size", Help: "largest message that is scanned for viruses, 0: none is; clamd calls clean what is larger than MaxFileSize in its clamd.conf, 25M as Debian has it", value: as(&c.ScanMaxSize, 10e6, size("UINT", 0)).inTOML(24e6)},
		{Name: "antispam_type", Path: "scan.antispam.engine", Help: "spam scanner; builtin knows the GTUBE test message only", value: as(&c.AntispamType, 0, one(antispamEngines))},
		{Name: "antispam_path", Path: "scan.antispam.socket", Help: "where spamd listens", value: as(&c.AntispamSocket, spamdSok, socket())},
		{Name: "antispam_refuse", Path: "scan.antispam.refuse", Help: "refuse spam; unless it is set, the old syntax does if {lock_on} has spam", value: as(&c.SpamRefuse, true, boolean())},
		{Name: "spam_max_size", Path: "scan.antispam.max_size", Help: "largest message that is scanned for spam, 0: none is", value: as(&c.SpamMaxSize, 500e3, size("UINT", 0)).inTOML(1e6)},
		{Name: "spam_threshold", Path: "scan.antispam.threshold", Help: "score from which a message is spam", value: as(&c.SpamThreshold, 7, float(-1e6, 1e6))},
		{Name: "spam_max_load", Path: "scan.antispam.max_load", Help: "system load above which nothing is scanned for spam, 0: any", value: as(&c.SpamMaxLoad, 1, float(0, 1e6)).inTOML(0)},

		{Name: "spool_path", Path: "spool.path", Help: "directory for messages while they are scanned; holds nothing else", value: as(&c.SpoolPath, "/var/spool/smtp-gated/msg", path())},
		{Name: "spool_perm", Path: "spool.perm", Help: "permissions of its files, but that the owner may not write", value: as(&c.SpoolPerm, 0o660, permissions())},
		{Name: "spool_leave_on", Path: "spool.leave_on", Help: "what a message is kept for", value: as(&c.SpoolLeaveOn, leaveCauses[1].value, many(leaveCauses)).inTOML(0)},

		{Name: "lock_on", Path: "lock.on", Help: "what a client is locked out for", value: as(&c.LockOn, lockAll, many(lockCauses)).inTOML(imsg.LockVirus)},
		{Name: "lock_by", Path: "lock.by", Help: "who is locked out of a client that has logged in: its address, its login wherever it comes from, or both", value: as(&c.LockBy, imsg.ByAddress, one(lockBys))},
		{Name: "lock_duration", Path: "lock.duration", Help: "how long, -1: for ever, 0: nobody is locked", value: as(&c.LockDuration, 3600e9, seconds("INT", -1))},
		{Name: "lock_path", Path: "lock.path", Help: "directory of lock files; holds nothing else", Restart: true, value: as(&c.LockPath, "/var/spool/smtp-gated/lock", path())},
		{Name: "lock_perm", Path: "lock.perm", Help: "permissions of its files", value: as(&c.LockPerm, 0o660, permissions())},

		{Name: "action_script", Path: "action.script", Help: "program that is run when a client is locked", value: as(&c.ActionScript, "", file())},
		{Name: "action_timeout", Path: "action.timeout", Help: "how long it may take", value: as(&c.ActionConfig.Timeout, 60e9, seconds("UINT", 1))},
		{Name: "action_queue", Path: "action.queue", Help: "runs that may wait for their turn", value: as(&c.ActionConfig.Queue, 64, integer[int]("UINT", 1, 65536))},

		{Name: "ratelimit_path", Path: "rate.path", Help: "directory of the rate limiter's store, which is one file for all clients", value: as(&c.RatePath, "/var/spool/smtp-gated/ratelimit", path())},
		{Name: "ratelimit_expiration", Also: []string{"ratelimit_period"}, Path: "rate.period", Help: "time the quotas are for, 0: no rate limits", value: as(&c.RateExpiration, 0, seconds("INT", 0))},
		{Name: "ratelimit_dst_expiration", Path: "rate.target_period", Help: "time for which 64 different servers are enough, -1: any number", value: as(&c.RateDstExpiration, -1e9, seconds("INT", -1))},
		{Name: "ratelimit_by", Path: "rate.by", Help: "whose quotas a client uses that has logged in: its address's, or its login's; connections, servers and refused log-ins are always the address's", value: as(&c.RateBy, imsg.ByAddress, one(rateBys))},
		{Name: "ratelimit_generation", Path: "rate.generation", Help: "raise it to give known clients these quotas; YYYYMMDDHHMMSS is a good one", value: as(&c.RateGeneration, 0, quota())},
		{Name: "ratelimit_connections", Path: "rate.connections", Help: "connections of one client, 0: not counted", value: as(&c.RateConnections, 0, quota())},
		{Name: "ratelimit_messages", Also: []string{"ratelimit_sessions"}, Path: "rate.messages", Help: "messages, 0: not counted", value: as(&c.RateMessages, 0, quota())},
		{Name: "ratelimit_recipients", Path: "rate.recipients", Help: "recipients, 0: not counted", value: as(&c.RateRecipients, 0, quota())},
		{Name: "ratelimit_bytes", Path: "rate.bytes", Help: "octets of messages, 0: not counted", value: as(&c.RateBytes, 0, size("UINT", 0))},
		{Name: "ratelimit_mailfrom_rejects", Path: "rate.mail_from_rejects", Help: "senders the server refused, 0: not counted", value: as(&c.RateMailFromRejects, 0, quota())},
		{Name: "ratelimit_rcptto_rejects", Path: "rate.rcpt_to_rejects", Help: "recipients the server refused, 0: not counted", value: as(&c.RateRcptToRejects, 0, quota())},
		{Name: "ratelimit_auth_rejects", Path: "rate.auth_rejects", Help: "log-ins the server refused, 0: not counted", value: as(&c.RateAuthRejects, 0, quota())},
		{Name: "ratelimit_tls_sessions", Path: "rate.tls_sessions", Help: "sessions passed on in an encryption that is not read, 0: not counted; beyond it STARTTLS is refused for now, and the session may go on without", value: as(&c.RateTLSSessions, 0, quota())},
		{Name: "ratelimit_tls_bytes", Path: "rate.tls_bytes", Help: "octets of such sessions, both ways, 0: not counted; beyond it one that is passed on is ended, and STARTTLS is refused for now", value: as(&c.RateTLSBytes, 0, size("UINT", 0))},
		{Name: "ratelimit_tls_servers", Path: "rate.tls_servers", Help: "different servers that such sessions call, 0: not counted; beyond it STARTTLS with one more is refused for now", value: as(&c.RateTLSServers, 0, integer[int64]("UINT", 0, imsg.MaxRateServers))},

		{Name: "history_path", Path: "history.path", Help: "file of what clients were refused and locked for, for smtp-gatectl explain", value: as(&c.HistoryPath, "/var/spool/smtp-gated/history", file())},
		{Name: "history_max", Path: "history.max", Help: "records in it, a KiB each; 0: no file, and the last 4096 in memory", value: as(&c.HistoryMax, 0, integer[int]("UINT", 0, 10000000)).inTOML(100000)},
		{Name: "history_keep", Path: "history.keep", Help: "how long they are shown", value: as(&c.HistoryKeep, 7*86400e9, seconds("UINT", 1))},
		{Name: "history_addresses", Path: "history.addresses", Help: "what events have of senders: what the log has of them, all, their hash, or nothing", value: as(&c.HistoryAddresses, 0, one(historyAddresses))},
		{Name: "history_message_id", Path: "history.message_id", Help: "events name a message by its Message-ID", value: as(&c.MessageID, true, boolean())},
		{Name: "history_subject", Path: "history.subject", Help: "events, history, log and action script name a message that is refused by its Subject", value: as(&c.Subject, false, boolean())},

		{Name: "nat_header", Path: "header.nat", Help: "name of the header field the mail server sees in each message", value: as(&c.NatHeader, "X-Nat-Received", headerName())},
		{Name: "nat_header_type", Path: "header.nat_form", Help: "its form; ip-only: no more than the client's address", value: as(&c.NatHeaderType, natForms[1].value, one(natForms))},
		{Name: "spool_header", Path: "header.spool", Help: "name of the header field only the scanners see", value: as(&c.SpoolHeader, "X-Proxy-Spool-Info", headerName())},
		{Name: "abuse", Path: "header.abuse", Help: "address for complaints in the generic header", value: as(&c.Abuse, "", line())},

		{Name: "log_level", Path: "log.level", Help: "least important level that is logged", value: as(&c.LogLevel, 7, one(levels))},
		{Name: "log_facility", Path: "log.facility", Help: "facility of syslog", Restart: true, value: as(&c.LogFacility, 3, one(facilities))},
		{Name: "log_target", Path: "log.target", Help: "where the log goes; auto: syslog, but in the foreground stderr, and the journal under systemd if the file is TOML", value: as(&c.LogTarget, "auto", logTarget())},
		{Name: "log_format", Path: "log.format", Help: "lines for old parsers, or one JSON object each", value: as(&c.LogJSON, false, one(logForms))},
		{Name: "log_helo", Path: "log.helo", Help: "log what clients say in HELO and EHLO", value: as(&c.LogHelo, false, boolean())},
		{Name: "log_mail_from", Path: "log.mail_from", Help: "which senders are logged; base64: their hash", value: as(&c.LogMailFrom, 0, summed(addressLogs)).inTOML(imsg.LogAccepted | imsg.LogRejected)},
		{Name: "log_rcpt_to", Path: "log.rcpt_to", Help: "which recipients are logged; base64: their hash", value: as(&c.LogRcptTo, 0, summed(addressLogs)).inTOML(imsg.LogAccepted | imsg.LogRejected)},
		{Name: "email_length", Path: "log.address_length", Help: "characters of an address that are logged", value: as(&c.EmailLength, 64, count(0))},

		{Name: "buffer_size", Path: "unused.buffer_size", Help: meaningless, Remark: meaningless, value: as(&c.BufferSize, 1516, size("UINT", 0))},
		{Name: "pid_hash_size", Path: "unused.pid_hash_size", Help: meaningless, Remark: meaningless, value: as(&c.PidHashSize, 4096, quota())},
		{Name: "host_hash_size", Path: "unused.host_hash_size", Help: meaningless, Remark: meaningless, value: as(&c.HostHashSize, 4096, quota())},
		{Name: "scanner_path", Path: "unused.scanner_path", Help: meaningless, Remark: meaningless, value: as(&c.ScannerPath, "", unused("FILE"))},
		{Name: "dspam_storage", Path: "unused.dspam_storage", Help: meaningless, Remark: meaningless, value: as(&c.DspamStorage, "", unused("PATH"))},
		{Name: "locale", Path: "unused.locale", Help: meaningless, Remark: meaningless, value: as(&c.Locale, "", unused("NAME"))},
	}
	for i, m := range messages {
		o := Option{
			Name: m.name, Also: m.also, Path: "messages." + strings.TrimPrefix(m.name, "msg_"), Help: m.when,
			Remote: m.remote, value: as(&c.Texts[i], m.text, message()),
		}
		if m.unsaid {
			o.Remark = m.when
		}
		options = append(options, o)
	}
	for _, o := range options {
		o.choose(c.inTOML)
	}
	return options
}
