package relay

import "github.com/smtp-gated/smtp-gated/session/smtp"

// This file owns what the client is owed: one entry for each command without a reply,
// and our own replies that wait for their turn among them.

// kind tells what a reply answers.
type kind uint8

const (
	other kind = iota
	greeting
	helo
	ehlo
	mail
	rcpt
	data
	endOfData
	auth
	starttls
	rset
	quit
	chunkSent
	quietChunk // the client hears of it only if it is refused
	ownReset   // a RSET of ours: the client does not hear of it
	own        // no reply will come: text is ours
)

var kinds = map[smtp.Verb]kind{
	smtp.HELO: helo, smtp.EHLO: ehlo, smtp.MAIL: mail, smtp.RCPT: rcpt, smtp.DATA: data,
	smtp.AUTH: auth, smtp.STARTTLS: starttls, smtp.RSET: rset, smtp.QUIT: quit,
}

type entry struct {
	kind    kind
	text    string   // mail: the address; rcpt: as others are told of it; own: the reply
	message *message // data: the one that has been prepared
}

// keptCap is how many entries an empty queue has room for at most.
const keptCap = 8

// queue is a first-in first-out of entries that holds little memory when it is empty.
type queue struct {
	list []entry
	head int
}

func (q *queue) len() int { return len(q.list) - q.head }

func (q *queue) push(e entry) {
	if q.head > 0 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, e)
}

// at returns the i-th oldest entry.
func (q *queue) at(i int) *entry { return &q.list[q.head+i] }

func (q *queue) pop() entry {
	e := q.list[q.head]
	q.list[q.head] = entry{}
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > keptCap {
			q.list = nil
		}
	}
	return e
}
