// Package smtp is the grammar of the gateway: client commands, message text,
// replies, EHLO keywords, and the text of our own replies. It decides what
// octets mean and writes anew what is forwarded, so that no other reader ever
// judges an octet a second time.
//
// The package is pure. It does no I/O, starts no goroutine, reads no clock,
// writes no log, and imports the standard library only. Nothing in it
// allocates for a line: slices it returns lie in the caller's buffers, and
// functions named Append grow only what they are given.
//
// A session feeds it like this:
//
//	LineScanner   client octets → lines        ParseCommand  line → verb and argument
//	Body          DATA octets → what the MSA gets, what the scanners get, the end
//	ReplyScanner  MSA octets → reply lines     Offer         EHLO lines, masked and noted
//
// The one rule behind it all: whatever the machine holds as message went to
// the spool, whatever it holds as command was parsed; what goes out has one
// reading only, for strict servers and for lenient ones.
package smtp
