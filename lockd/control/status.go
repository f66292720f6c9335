package control

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// directoryTime is how long a status waits for the number of locks.
const directoryTime = 3 * time.Second

// status sums up the room, also of a family whose lock directory does not answer.
func (s *Service) status() *imsg.StatusReport {
	locks := make(chan int, 1)
	s.House.Aside(DirectoryTurn, func() {
		names, err := s.Locks.Names()
		if err != nil {
			s.Log.Error("status is incomplete", "error", err)
		}
		locks <- len(names)
	})
	states := s.sessions().refresh()
	count := 0
	select {
	case count = <-locks:
	case <-time.After(directoryTime):
		s.Log.Error("status is incomplete: the lock directory does not answer")
	}
	counts := s.Counters.Entry().Counts
	now := s.House.Overview()
	lists := s.Counters.Lists(now.Config.Depends.Zones)
	return &imsg.StatusReport{
		Family:   now.Family,
		Health:   now.Health,
		Found:    len(now.Findings),
		Findings: now.Findings[:min(len(now.Findings), imsg.StatusFindings)],
		Now:      s.Now().UnixNano(),
		Engines:  now.Config.Depends.Engines,
		Sessions: now.Live,
		Limit:    now.Config.MaxConnections,
		Load:     now.Load,
		Locks:    count,
		Exempt:   s.Exempt.Len(),
		States:   states,
		Lists:    lists,
		Counters: counts[:],

		Certificates: now.Certificates,
		Traces:       now.Traces,
	}
}
