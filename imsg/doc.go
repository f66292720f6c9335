// Package imsg is what the rooms of smtp-gated say to each other.
//
// The program runs as a family of processes. Each has one job, and only the
// privilege that job needs:
//
//	parent   reads the configuration, opens what needs privilege, starts the rest
//	session  talks SMTP to clients and servers, writes the spool
//	lookupd  asks DNS and routers
//	scand    asks the scanners
//	lockd    keeps what all share: live sessions, limits, locks, counters
//	action   runs the administrator's script
//
// Two rooms that may talk share a link: a socketpair of type SOCK_SEQPACKET, so
// that one datagram is one message together with its descriptors, a cut message
// shows, and the end of a room is an end of file. A room is born with one link,
// to the parent, as descriptor 3; all others arrive over it.
//
// This package is their vocabulary: the messages, a file for each conversation, and
// Table, which lists every one of them: who may say it to whom, how long it may be,
// how many descriptors it carries. A message is told, asked or answers. Nothing that
// does not stand in Table passes a receive; a room that says it loses the link and
// the parent ends it.
//
// A question carries the moment its asker waits no more: none is judged after it.
// What a late answer hands out is given back, as Table says. A report, which is
// asked so that its teller knows it arrived, is dealt with at any time.
//
// What carries the words is in imsg/link, a room's life in imsg/process, its log in
// imsg/logs. The coding is msgpack, structs as arrays, in exactly one form: a body
// that is not, octet for octet, what our own encoder would have written is refused.
package imsg
