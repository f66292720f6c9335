package relay

import (
	"errors"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what a half asks another room, and what comes of it.

// lockdWait is how long lockd has for an answer.
const lockdWait = 5 * time.Second

// Question is what a half asks another room: lockd, lookupd or scand. A half asks one
// at a time, and goes on with the answer.
type Question struct {
	// Message is the question, of a type that imsg's table says is asked.
	Message imsg.Message
	// Limit bounds the time until the answer; 0 is no limit of the administrator's: it
	// takes as long as the client stays.
	Limit time.Duration
	// Patient: the answer has time even where the session must end soon.
	Patient bool

	answer   imsg.Message
	err      error
	took     time.Duration // until the answer
	answered bool
}

// answerTo is what was answered, as the type that answers.
func answerTo[A any](q *Question) (*A, error) {
	if q.err != nil {
		return nil, q.err
	}
	a, ok := q.answer.(*A)
	if !ok {
		return nil, imsg.Internal
	}
	return a, nil
}

// maxVirus is how much of a virus's name another room is told, in octets: as much as a
// lock file holds.
const maxVirus = 255

// offence is what lockd is told that a client was caught at. It has locked it, if it
// is to be locked, when it answers.
func (c *client) offence(found imsg.Found, virus string, score float64, spool string) *imsg.Offence {
	// Scripts count transactions from 1. What is not caught in a message is so
	// before the next one.
	transaction, size, subject := c.transactions, int64(0), ""
	if found == imsg.FoundVirus || found == imsg.FoundSpam {
		size, subject = c.message().size, c.subject()
	} else {
		transaction++
	}
	return &imsg.Offence{
		Number: c.Number, Transaction: transaction, Found: found, Virus: imsg.Printable(virus, maxVirus), Score: score,
		Target: c.Target, Helo: imsg.Printable(c.helo, imsg.MaxWord), MailFrom: imsg.Printable(c.sender(), imsg.MaxWord), Recipients: c.recipients,
		Size: size, Auth: c.auth, Spool: spool, Subject: subject,
	}
}

// ErrorText words an error for a client or a log: the system's text for it, without
// paths and addresses.
func ErrorText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var kind imsg.Errno
	if errors.As(err, &kind) {
		return kind.Error()
	}
	return "internal error"
}
