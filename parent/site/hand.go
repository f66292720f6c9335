// What a room is handed of what a configuration says, beside what lasts. This file
// owns that nothing that is handed over stays open here.

package site

import (
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Tell tells a room something; the files stay the caller's.
type Tell func(msg imsg.Notice, files ...*os.File)

// HandRates hands over the store of rate limits, if there is to be one, opened anew:
// two that share an offset and a lock could not tell each other apart. A room does
// without one that cannot be opened.
func (s *Site) HandRates(tell Tell) {
	f, err := s.openRates()
	if err != nil {
		s.Log.Error("rate limits will be forgotten: their store cannot be opened", "error", err)
	}
	if f != nil {
		tell(&imsg.RateStore{}, f)
		f.Close()
	}
}

// HandFilter hands over the packet filter's device, in the modes that ask it, opened
// anew: we keep none.
func (s *Site) HandFilter(tell Tell) error {
	f, err := s.openFilter()
	if f != nil {
		tell(&imsg.NatDevice{}, f)
		f.Close()
	}
	return err
}

// HandSockets hands a room the sockets for sessions it asks for, unless it can need
// none, which is false.
func (s *Site) HandSockets(tell Tell, ask *imsg.Sockets) bool {
	out := s.outgoing()
	if !out.Needed() {
		return false
	}
	for range ask.N {
		f, err := out.Make(ask.IPv6)
		if err != nil {
			s.noSocket.say(s.Log, err)
			return true // the session's patience ends by itself
		}
		tell(&imsg.Socket{IPv6: ask.IPv6}, f)
		f.Close()
	}
	return true
}

// noSocket is how often it is said that a socket cannot be made: who waits for one asks
// again, and one that was taken over may do so without end.
type noSocket struct {
	imsg.Meter
	unsaid int
}

var noSocketPace = imsg.Pace{Burst: 5, Every: time.Minute}

func (n *noSocket) say(log *Log, err error) {
	n.Pace = noSocketPace
	if !n.Take(1, time.Now()) {
		n.unsaid++
		return
	}
	log.Error("make a socket for a session", "error", err, "not_logged_before", n.unsaid)
	n.unsaid = 0
}
