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
	conn    *link.Conn
	uid     int      // who connected; -1 if the system does not tell
	names   []string // of the lock directory, while its list is under way

	asking bool      // it waits for an answer; the listener's
	since  time.Time // it does not any more; the listener's
}

func (s *Service) newOperator(c *net.UnixConn) (*operator, error) {
	f, err := c.File()
	c.Close()
	if err != nil {
		return nil, err
	}
	uid, err := peerUID(f)
	if err != nil {
		s.Log.Error("who is at a control connection cannot be told", "error", err)
		uid = -1
	}
	conn, err := link.NewConn(f, imsg.Lockd, imsg.Control)
	if err != nil {
		return nil, err
	}
	return &operator{service: s, conn: conn, uid: uid}, nil
}

// serve answers until the connection ends or stays silent.
func (o *operator) serve() {
	s := o.service
	defer s.listener.leave(o)
	idle := time.AfterFunc(idleTime, func() { o.conn.Close() })
	defer idle.Stop()
	err := o.conn.Serve(func(r link.Request) {
		if !s.listener.asks(o) {
			r.Fail(imsg.Busy)
			return
		}
		idle.Stop()
		go func() {
			o.logOrder(r.Message)
			give := o.answer(r)
			s.listener.answered(o)
			idle.Reset(idleTime)
			give()
		}()
	})
	if err == nil {
		return
	}
	if n := s.listener.nonsense.due(s.Now()); n > 0 {
		s.Log.Warn("control connections are closed", "count", n, "error", err)
	}
}

// logOrder logs what changes something; who only looks is not logged.
func (o *operator) logOrder(m imsg.Message) {
	var order, client string
	switch m := m.(type) {
	case *imsg.Lock:
		order, client = "lock add", m.Name
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
	case *imsg.ReloadNow:
		order = "reload"
	case *imsg.UpgradeNow:
		order = "upgrade"
	case *imsg.StopNow:
		order = "stop"
		if m.Now {
			order = "stop --now"
		}
	default:
		return
	}
	attrs := []any{"uid", o.uid, "order", order}
	if client != "" {
		attrs = append(attrs, "client", client[:min(len(client), maxName)])
	}
	o.service.Log.Log(context.Background(), logs.LevelNotice, "operator's order", attrs...)
}
