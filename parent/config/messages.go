// The texts clients get to read. This file owns the defaults: each says what
// happened and what the reader can do about it. A reply puts its code and the
// gateway's name in front; some add a detail behind.

package config

import "github.com/smtp-gated/smtp-gated/imsg"

const unsaid = "is never said by this program"

var messages = [imsg.Texts]struct {
	name   string
	also   []string
	when   string
	remote bool
	unsaid bool // nothing that can happen here calls for it
	text   string
}{
	imsg.MsgVirusFound:               {name: "msg_virus_found", when: "a virus was found; its name follows", text: "Your message was not sent: it contains a virus. Please clean your computer before you try again"},
	imsg.MsgVirusNoMore:              {name: "msg_virus_no_more", when: "a recipient, or one command too many, after a virus was found", text: "A virus was found in this session. Please end it and clean your computer"},
	imsg.MsgVirusLocked:              {name: "msg_virus_locked", when: "the client is locked", text: "Your address is locked, because it sent viruses or spam or broke other rules. Please ask your network's administrator"},
	imsg.MsgSpamFound:                {name: "msg_spam_found", when: "spam was found; its score follows", text: "Your message was not sent: it looks like spam. If it is not, please reword it or ask your network's administrator"},
	imsg.MsgUnknownVirus:             {name: "msg_unknown_virus", when: "stands for the name of a virus that has none", text: "unknown virus"},
	imsg.MsgScannerFailed:            {name: "msg_scanner_failed", when: "a message could not be scanned", text: "Your message could not be scanned and was not sent. Please try again later"},
	imsg.MsgMalformedIP:              {name: "msg_malformed_ip", when: "the router gave an unusable address", remote: true, text: "The router gave an unusable address for your mail server. Please tell your network's administrator"},
	imsg.MsgCannotConnect:            {name: "msg_cannot_connect", when: "the mail server cannot be reached; its address follows", text: "Your mail server cannot be reached. Please try again later"},
	imsg.MsgSpoolProblem:             {name: "msg_spool_problem", when: "a spool file could not be named or written", text: "Your message could not be stored for scanning and was not sent. Please try again later"},
	imsg.MsgSpoolOpenFail:            {name: "msg_spool_open_fail", when: "a spool file could not be made", text: "There is no room to scan your message at the moment. Please try again later"},
	imsg.MsgPipelineFull:             {name: "msg_pipeline_full", when: unsaid, unsaid: true, text: "Too many commands were sent without waiting for the replies. Please send fewer at once"},
	imsg.MsgLookupFailed:             {name: "msg_lookup_failed", when: "the wanted server could not be found out; the cause follows", text: "It could not be found out which mail server you called. Please try again later"},
	imsg.MsgLookupNotfound:           {name: "msg_lookup_notfound", when: "cause: the connection is unknown", text: "your connection is not known there"},
	imsg.MsgLookupTimeout:            {name: "msg_lookup_timeout", when: "cause: no answer in time", text: "no answer came in time"},
	imsg.MsgLookupMismatch:           {name: "msg_lookup_mismatch", when: "cause: an answer to another question", text: "the answer does not fit the question"},
	imsg.MsgLookupNomem:              {name: "msg_lookup_nomem", when: "cause: out of memory", text: "out of memory"},
	imsg.MsgLookupUnknown:            {name: "msg_lookup_unknown", when: "cause: any other", text: "the cause is not known"},
	imsg.MsgConnectTimeout:           {name: "msg_connect_timeout", when: "the mail server did not answer; its address follows", text: "Your mail server does not answer. Please try again later"},
	imsg.MsgConnectFailed:            {name: "msg_connect_failed", when: unsaid, unsaid: true, text: "The connection to your mail server failed. Please try again later"},
	imsg.MsgSessionTimeout:           {name: "msg_session_timeout", when: "a session that was taken over lasted too long", text: "This session took too long and is closed. Please connect again"},
	imsg.MsgSignOff:                  {name: "msg_sign_off", when: "the answer to QUIT", text: "Closing the connection, goodbye"},
	imsg.MsgHello:                    {name: "msg_hello", when: "the answer to HELO", text: "Hello"},
	imsg.MsgProtoError:               {name: "msg_proto_error", when: "a breach of the protocol, by the client or its server", text: "Something was said here that the rules of SMTP do not allow. If this happens again, please tell your network's administrator"},
	imsg.MsgTransactionFailed:        {name: "msg_transaction_failed", when: "a transaction that can no longer succeed", text: "No message can be sent in this session any more. Please end it and try again"},
	imsg.MsgUnimplCommand:            {name: "msg_unimpl_command", when: "a command the gateway does not let through", text: "This command is not supported here"},
	imsg.MsgTempUnavail:              {name: "msg_temp_unavail", when: "a passing fault of the gateway", text: "The service is not available at the moment. Please try again later"},
	imsg.MsgMaxReached:               {name: "msg_max_reached", when: "as many clients are connected as {max_connections} allows", text: "Too many connections at the moment. Please try again later"},
	imsg.MsgMaxPerHost:               {name: "msg_max_per_host", when: "the client has as many connections as {max_per_host} allows", text: "Too many connections from your address. Please close some or try again later"},
	imsg.MsgMaxPerIdent:              {name: "msg_max_per_ident", when: "the client has as many connections as {max_per_ident} allows", text: "You have too many connections. Please close some or try again later"},
	imsg.MsgMaxPerLogin:              {name: "msg_max_per_login", when: "the login has as many sessions as {max_per_login} allows", text: "You have too many connections under this login. Please close some or try again later"},
	imsg.MsgSystemLoad:               {name: "msg_system_load", when: "the load is above {max_load}", text: "The system is too busy at the moment. Please try again later"},
	imsg.MsgNomem:                    {name: "msg_nomem", when: unsaid, unsaid: true, text: "There is too little memory at the moment. Please try again later"},
	imsg.MsgUnknownScanner:           {name: "msg_unknown_scanner", when: unsaid, unsaid: true, text: "The mail scanner is set up wrongly. Please tell your network's administrator"},
	imsg.MsgAuthRequired:             {name: "msg_auth_required", when: "the client has to log in, by {auth_require}", text: "You must log in before you can send. Please switch on authentication for outgoing mail in your mail program"},
	imsg.MsgLoopAvoidance:            {name: "msg_loop_avoidance", when: "a connection would lead back here", text: "This connection would lead back to where it came from. Please tell your network's administrator"},
	imsg.MsgSizeLimit:                {name: "msg_size_limit", when: "the message is larger than {size_limit}, which follows", text: "Your message was not sent: it is too large. Please make it smaller"},
	imsg.MsgFixedXclientFail:         {name: "msg_fixed_xclient_fail", when: "the server refused XCLIENT", text: "The mail server does not accept this gateway. Please tell your network's administrator"},
	imsg.MsgDNSDBReject:              {name: "msg_dnsdb_reject", also: []string{"msg_dnsbl_reject"}, when: "the client is on a block list; which one follows", text: "Your address is on a block list. Please ask the list's keeper to remove it"},
	imsg.MsgSPFReject:                {name: "msg_spf_reject", when: "the sender's SPF record forbids this address", text: "The sender's domain does not let this address send its mail. Please use your provider's own mail server"},
	imsg.MsgRateReject:               {name: "msg_rate_reject", when: "too many connections in the period", text: "You have connected too often. Please try again later"},
	imsg.MsgRatelimitError:           {name: "msg_ratelimit_error", when: "a client's record is unusable", text: "Your quota could not be looked up. Please try again later or tell your network's administrator"},
	imsg.MsgRatelimitMessages:        {name: "msg_ratelimit_messages", when: "too many messages in the period", text: "You have sent too many messages. Please try again later"},
	imsg.MsgRatelimitRcptto:          {name: "msg_ratelimit_rcptto", when: "too many recipients in the period", text: "You have sent to too many recipients. Please try again later"},
	imsg.MsgRatelimitRcpttoRejects:   {name: "msg_ratelimit_rcptto_rejects", when: "too many refused recipients in the period", text: "Too many of your recipients were refused. Please check your addresses and try again later"},
	imsg.MsgRatelimitHelo:            {name: "msg_ratelimit_helo", when: unsaid, unsaid: true, text: "You have said hello too often. Please try again later"},
	imsg.MsgRatelimitMailfrom:        {name: "msg_ratelimit_mailfrom", when: unsaid, unsaid: true, text: "You have used too many senders. Please try again later"},
	imsg.MsgRatelimitMailfromRejects: {name: "msg_ratelimit_mailfrom_rejects", when: "too many refused senders in the period", text: "Your sender address was refused too often. Please check it and try again later"},
	imsg.MsgRatelimitDst:             {name: "msg_ratelimit_dst", when: "too many different servers in the period", text: "You have called too many different mail servers. Please try again later"},
	imsg.MsgEarlytalker:              {name: "msg_earlytalker", when: "the client talked before the greeting", text: "You must wait for the greeting before you send. Please check your mail program"},
	imsg.MsgRegexHelo:                {name: "msg_regex_helo", when: "a regex for HELO refuses", text: "The name your computer gave in HELO is not allowed here. Please ask your network's administrator"},
	imsg.MsgRegexMailFrom:            {name: "msg_regex_mail_from", when: "a regex for MAIL refuses", text: "This sender is not allowed here. Please check your address or ask your network's administrator"},
	imsg.MsgRatelimitBytes:           {name: "msg_ratelimit_bytes", when: "too many octets in the period", text: "You have sent too much mail. Please try again later"},
	imsg.MsgRatelimitAuthRejects:     {name: "msg_ratelimit_auth_rejects", when: "too many refused log-ins in the period", text: "Your log-in was refused too often. Please check your password and try again later"},
	imsg.MsgRatelimitTLS:             {name: "msg_ratelimit_tls", when: "too many encrypted sessions, octets in them or servers of them in the period", text: "Your quota of encrypted sessions is used up. Please go on without STARTTLS, or try again later"},
	imsg.MsgTLSHello:                 {name: "msg_tls_hello", when: "the client began with TLS where plain SMTP is spoken", text: "Plain SMTP is spoken here. Please use STARTTLS, or the port your mail server has for TLS"},
	imsg.MsgRegexRcptTo:              {name: "msg_regex_rcpt_to", when: "a regex for RCPT refuses", text: "This recipient is not allowed here. Please check the address or ask your network's administrator"},
}
