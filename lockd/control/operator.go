package control

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// idleTime is how long a connection may stay without a question.
const idleTime = time.Minute

// maxName bounds what an operator calls a client, in the log.
const maxName = 1024

// operator is one operator's connection. It owns how long that may say nothing, that it
// asks one thing at a time, and that what it orders is logged with who it is.
type operator struct {
	service *Service
	at      *controlListener
	conn    *link.Conn
	pace    imsg.Meter // of what it is answered
	uid     int        // who connected; -1 if the system does not tell
	names   []string   // of the lock directory, while its list is under way,
	guard   *guard     // and whom no packet filter must block

	asking  bool      // it waits for an answer; the listener's, as what follows
	follows bool      // events
	since   time.Time // it asks, or does not any more
}

// busy tells whether its seat is in use; the listener's lock is held.
func (o *operator) busy() bool { return o.asking || o.follows }

// maxUnread is how many answers may wait until an operator's program takes them, which
// asks for one at a time.
const maxUnread = 4

func (s *Service) newOperator(c *net.UnixConn, at *controlListener) (*operator, error) {
	f, err := c.File()
	c.Close()
	if err != nil {
		return nil, err
	}
	who := s.who
	if who == nil {
		who = peerUID
	}
	uid, err := who(f)
	if err != nil {
		s.Log.Error("who is at a control connection cannot be told", "error", err)
		uid = -1
	}
	conn, err := link.NewConn(f, imsg.Lockd, at.role)
	if err != nil {
		return nil, err
	}
	conn.Queue(maxUnread)
	if p := at.pace; p.Burst > 0 { // which is not reached by who waits for its answers
		conn.Limit(imsg.Pace{Burst: 2 * p.Burst, Every: p.Every / 2})
	}
	return &operator{service: s, at: at, conn: conn, uid: uid, pace: imsg.Meter{Pace: at.pace}}, nil
}

// serve answers until the connection ends or stays silent.
func (o *operator) serve() {
	s := o.service
	defer o.at.leave(o)
	idle := time.AfterFunc(idleTime, func() { o.conn.Close() })
	defer idle.Stop()
	err := o.conn.Serve(func(r link.Request) {
		if !o.at.asks(o) {
			r.Close()
			r.Fail(imsg.Busy)
			return
		}
		idle.Stop()
		go func() {
			give := o.inTurn(r)
			for !o.pace.Take(1, time.Now()) {
				time.Sleep(o.pace.Every)
			}
			o.at.answered(o)
			idle.Reset(idleTime)
			give()
		}()
	})
	if err == nil {
		return
	}
	if n := o.at.nonsense.due(s.Now()); n > 0 {
		s.Log.Warn("control connections are closed", "count", n, "error", err, "role", o.at.role)
	}
}

// inTurn is answer, when it is this question's turn. One that waits for an event works on
// nothing meanwhile.
func (o *operator) inTurn(r link.Request) (give func()) {
	if _, waits := r.Message.(*imsg.EventsAfter); !waits {
		end := o.at.turn(r.Until)
		if end == nil {
			r.Close()
			return func() { r.Fail(imsg.Timeout) }
		}
		defer end()
	}
	if imsg.Row(r.Message).Order() {
		o.logOrder(r.Message)
	}
	return o.answer(r)
}

// logOrder logs what changes something; who only looks, or has a file looked at, is not
// logged.
func (o *operator) logOrder(m imsg.Message) {
	order, client := orderOf(m)
	if order == "" {
		return
	}
	level := logs.LevelNotice
	if _, is := m.(*imsg.SetLogLevel); is { // after which lines are missing, or there are more
		level += logs.LevelAlways
	}
	attrs := []any{"uid", o.uid, "order", order}
	if client != "" {
		attrs = append(attrs, "client", client[:min(len(client), maxName)])
	}
	o.service.Log.Log(context.Background(), level, "operator's order", attrs...)
}

// orderOf is an order as an operator gives it, and whom it is about.
func orderOf(m imsg.Message) (order, client string) {
	switch m := m.(type) {
	case *imsg.Lock:
		order, client = "lock add", m.Name
		if m.For > 0 {
			order += " --for " + m.For.String()
		}
	case *imsg.Unlock:
		order, client = "lock remove", m.Name
	case *imsg.RateSetQuota:
		order, client = "rate set", m.Client
		for _, q := range m.Quotas {
			order += fmt.Sprintf(" %s=%d", q.Counter, q.Quota)
		}
	case *imsg.RateReset:
		order, client = "rate reset", m.Client
		if !m.Forget {
			order = "rate reset --keep-quotas"
		}
	case *imsg.HistoryForget:
		order, client = "history forget", m.About
	case *imsg.EndSession:
		order = fmt.Sprintf("kill %d", m.Number)
	case *imsg.Trace:
		order = fmt.Sprintf("trace --sessions %d --for %s", m.Sessions, m.For)
		client = imsg.NetworkText(m.Client, m.Bits)
	case *imsg.ExemptAdd:
		order, client = "exempt add --from "+m.From.String(), m.Who
		if m.For > 0 {
			order += " --for " + m.For.String()
		}
	case *imsg.ExemptRemove:
		order, client = "exempt remove", m.Who
	case *imsg.ReloadNow:
		order = "reload"
	case *imsg.UpgradeNow:
		order = "upgrade"
	case *imsg.SetLogLevel:
		order = "loglevel " + logs.Severities[logs.SeverityErr+m.Below]
		if m.For > 0 {
			order += " --for " + m.For.String()
		}
	case *imsg.StopNow:
		order = "stop"
		if m.Now {
			order = "stop --now"
		}
	}
	return order, client
}
