// Package imsg is how the rooms of smtp-gated talk.
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
// A message is told, asked or answers. Table lists every one of them: who may
// say it to whom, how long it may be, how many descriptors it carries. Nothing
// that does not stand there passes a receive; a room that says it loses the link
// and the parent ends it. Conn is one end of a link, Link the place of a peer
// that may be replaced while we live, Home a room's own view of its parent.
//
// A question carries the moment its asker waits no more: none is judged after it.
// What a late answer hands out is given back, as Table says. A report, which is
// asked so that its teller knows it arrived, is dealt with at any time.
//
// The coding is msgpack, structs as arrays, in exactly one form: a body that is
// not, octet for octet, what our own encoder would have written is refused.
package imsg
