// Package control is the operator's side of lockd: the control socket, what is asked
// over it, and the state file. It changes nothing but by the calls of those who own it,
// and holds no lock while it waits: a slow disk, a silent worker or a silent operator is
// nobody else's business.
package control

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
	"github.com/smtp-gated/smtp-gated/lockd/events"
	"github.com/smtp-gated/smtp-gated/lockd/history"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// Service serves operators. Its fields are set before the first call.
type Service struct {
	House    House
	Parent   link.Caller // is asked for a reload or a stop
	Locks    *locks.Directory
	Rates    *rates.Limiter
	Counters *counters.Counters
	Events   *events.Ring
	History  *history.History
	Happened func(imsg.Event) // hears what operators do
	Log      *slog.Logger
	Now      func() time.Time

	listener controlListener

	orderMu sync.Mutex
	orders  imsg.Meter // of what the parent is asked
}

// Open serves the listening socket f, which it takes over. An older one is closed.
func (s *Service) Open(f *os.File) error { return s.listener.open(f, s) }

// Close accepts operators no more.
func (s *Service) Close() { s.listener.close() }

// naming is what makes one client of many addresses as it stands now, and the
// configuration that says so.
func (s *Service) naming() (locks.Naming, imsg.LockdConfig) {
	c := s.House.Overview().Config
	return locks.Naming{Mode: c.Mode, PrefixIPv6: c.ClientPrefixIPv6}, c
}
