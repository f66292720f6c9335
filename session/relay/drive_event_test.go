package relay

import "time"

// This file owns the events: which can happen now, and what each is.

// event is what has happened.
type event struct {
	what eventKind
	n    int
}

type eventKind uint8

const (
	clientSends eventKind = iota
	serverSends
	clientFilled
	serverFilled
	clientWoken
	serverWoken
	clientTaken
	serverTaken
	clientHears
	serverHears
	jobBegun
	jobDone
	answered
	shaken
	called
	clientCloses
	serverCloses
	ticks
	clientFails
	serverFails
	serverBlurts
	rarities
	eventKinds
)

var eventNames = [eventKinds]string{
	clientSends: "client sends", serverSends: "server sends", clientFilled: "client filled", serverFilled: "server filled",
	clientWoken: "client woken", serverWoken: "server woken", clientTaken: "client taken", serverTaken: "server taken",
	clientHears: "client hears", serverHears: "server hears", jobBegun: "job begun", jobDone: "job done", answered: "answered", shaken: "handshake", called: "called again",
	clientCloses: "client closes", serverCloses: "server closes", ticks: "ticks", clientFails: "client fails",
	serverFails: "server fails", serverBlurts: "server blurts", rarities: "rarity",
}

// weight is how likely an event is; 0, it cannot happen now.
func (d *drive) weight(k eventKind) int {
	r, w := d.relay, &d.wires[Client]
	if k == serverSends || k == serverFilled || k == serverWoken || k == serverTaken || k == serverHears || k == serverCloses {
		w = &d.wires[Server]
	}
	can := false
	switch k {
	case clientSends:
		can = !w.closed && d.client.ready()
	case serverSends:
		can = !w.closed && len(d.server.out) > 0
	case clientFilled, serverFilled:
		can = w.armed && (len(w.kernel) > 0 || w.closed || w.fate == Closed)
	case clientWoken:
		can = !w.armed && !w.gone && r.ReadsClient()
	case serverWoken:
		can = !w.armed && !w.gone && (r.ReadsServer() || w.fate >= Last)
	case clientTaken, serverTaken:
		can = w.writing == nil && w.pending > 0
	case clientHears, serverHears:
		can = w.writing != nil && w.stalled == 0
	case jobBegun:
		can = d.job == nil && r.shared.spoolBusy()
	case jobDone:
		can = d.job != nil
	case answered:
		can = len(d.open) > 0
	case shaken:
		can = d.handshakes != [2]bool{}
	case called:
		can = d.redials
	case clientCloses:
		can = !w.closed && d.client.eof
	case serverCloses:
		can = !w.closed && d.server.closing && len(d.server.out) == 0
	}
	if can {
		return 1
	}
	return 0
}

// happen has something happen.
func (d *drive) happen(k eventKind) {
	n := 0
	switch k {
	case clientSends:
		n = d.clientSends()
	case serverSends:
		n = d.serverSends()
	case clientFilled:
		d.fill(Client)
	case serverFilled:
		d.fill(Server)
	case clientWoken:
		d.read(Client)
	case serverWoken:
		d.read(Server)
	case clientTaken:
		d.take(Client)
	case serverTaken:
		d.take(Server)
	case clientHears:
		n = d.hear(Client)
	case serverHears:
		n = d.hear(Server)
	case jobBegun:
		d.beginJob()
	case jobDone:
		n = d.endJob()
	case answered:
		n = d.answerOne()
	case shaken:
		n = d.shakeHands()
	case called:
		n = d.callAgain()
	case clientCloses:
		d.wires[Client].closed = true
		d.wires[Client].reset = !d.calm && d.order.IntN(4) == 0
	case serverCloses:
		d.wires[Server].closed = true
	case ticks:
		n = d.tick(time.Duration(d.order.Int64N(1 + d.order.Int64N(4)*int64(time.Minute))))
	case clientFails:
		d.writeFails(Client)
	case serverFails:
		d.writeFails(Server)
	case serverBlurts:
		if !d.wires[Server].closed {
			d.server.blurt(d.order)
		}
	case rarities:
		n = d.rarity()
	}
	d.events = append(d.events, event{k, n})
	d.act()
}

// rarity is what happens once in a session, if at all.
func (d *drive) rarity() int {
	what := d.order.IntN(9)
	switch what {
	case 0:
		d.relay.Abort("admin")
	case 1, 2:
		d.finishing = true
		d.relay.Finish()
	case 3:
		d.locked = true
		d.relay.Lock()
	case 4, 5:
		d.wires[Client].stalled = d.order.IntN(600)
	case 6, 7:
		d.wires[Server].stalled = d.order.IntN(600)
	case 8:
		d.relay.Kill()
	}
	return what
}
