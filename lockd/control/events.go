package control

import (
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// awaitEvents finds the next events that an operator wants, and waits for one if there is
// none: as long as it says, its question says, and it stays. There are only so many who wait.
func (o *operator) awaitEvents(r link.Request, m *imsg.EventsAfter) (*imsg.EventList, error) {
	if m.Wait > 0 {
		way, ok := o.at.follow(o)
		if way != nil {
			way.conn.Close()
		}
		if !ok {
			return nil, imsg.Busy
		}
	}
	ring := o.service.Events
	until := time.Now().Add(m.Wait)
	if r.Until.Before(until) {
		until = r.Until
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	list := &imsg.EventList{Last: m.After}
	for {
		grown := ring.Grown()
		page, last, lost := ring.After(list.Last, wanted(m), imsg.EventPage)
		list.Events, list.Last, list.Lost = page, last, list.Lost+lost
		if len(page) > 0 || lost > 0 && m.After > 0 {
			return list, nil
		}
		select {
		case <-grown:
		case <-late.C:
			return list, nil
		case <-o.conn.Done():
			return list, nil
		}
	}
}

// wanted tells which events are.
func wanted(m *imsg.EventsAfter) func(*imsg.Event) bool {
	net := netip.PrefixFrom(m.Client, m.Bits).Masked()
	return func(e *imsg.Event) bool {
		return m.Kinds.Has(e.Kind) && e.Time >= m.Since && (!m.Client.IsValid() || net.Contains(e.Client.Addr().WithZone(""))) &&
			(m.Login == "" || e.Login == m.Login || e.Claimed == m.Login)
	}
}
