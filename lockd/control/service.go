// Package control is the operator's side of lockd: the control socket and the read socket,
// what is asked over them, and the state file. It changes nothing but by the calls of those who own it,
// and holds no lock while it waits: a slow disk, a silent worker or a silent operator is
// nobody else's business.
package control

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
	"github.com/smtp-gated/smtp-gated/lockd/events"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
	"github.com/smtp-gated/smtp-gated/lockd/history"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// Service serves operators. Its fields are set before the first call.
type Service struct {
	House    House
	Parent   link.Caller // is asked for a reload or a stop
	Locks    *locks.Directory
	Refusals *locks.Refusals
	Rates    *rates.Limiter
	Counters *counters.Counters
	Events   *events.Ring
	History  *history.History
	Exempt   *exemptions.List
	Happened func(imsg.Event) // hears what operators do
	Log      *slog.Logger
	Now      func() time.Time

	operators, readers controlListener
	who                func(*os.File) (uid int, err error) // connected; nil: peerUID

	orderMu sync.Mutex
	orders  imsg.Meter // of what the parent is asked
}

// Open serves the listening socket f, which it takes over, for a role. An older one of its
// is closed.
func (s *Service) Open(role imsg.Room, f *os.File) error {
	there, known := seating[role]
	if !known {
		f.Close()
		return fmt.Errorf("a socket for %s", role)
	}
	return s.listener(role).open(f, s, there)
}

// Close accepts nobody any more.
func (s *Service) Close() {
	for role := range seating {
		s.listener(role).close()
	}
}

func (s *Service) listener(role imsg.Room) *controlListener {
	if role == imsg.Reader {
		return &s.readers
	}
	return &s.operators
}

// naming is what makes one client of many addresses as it stands now, and the
// configuration that says so.
func (s *Service) naming() (locks.Naming, imsg.LockdConfig) {
	c := s.House.Overview().Config
	return locks.Naming{Mode: c.Mode, PrefixIPv6: c.ClientPrefixIPv6}, c
}
