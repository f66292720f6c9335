//go:build liar

// A room that lies. Built with -tags liar this is the daemon as it is shipped, but that
// a room whose socket it finds beside the configuration tells lies when TestLiars orders
// them. It lives its real life, in its real sandbox; what it says and hears passes a
// relay, which is where the lies come in.
//
// This file owns the orders. Nothing of it is in the programs that are shipped.

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// spareLinks are made before the sandbox, which allows no pair of sockets.
const spareLinks = 48

func init() {
	if len(os.Args) < 3 || os.Args[1] != "-x" {
		return
	}
	self, ok := imsg.ParseRoom(os.Args[2])
	live := rooms[self]
	if !ok || live == nil {
		return
	}
	orders, dir := accomplice(self)
	if orders == nil {
		return
	}
	l, err := newLiar(self, spareLinks)
	if err == nil {
		err = l.stock(dir)
	}
	if err != nil {
		panic(err)
	}
	rooms[self] = func(parent *os.File, root *os.Root) error {
		inner, err := l.splice(parent, imsg.Parent, 0)
		if err != nil {
			return err
		}
		go l.obey(orders)
		return live(inner, root)
	}
}

// accomplice connects to the test, if it wants this room to lie. The test listens beside
// the configuration, which the parent's command line names.
func accomplice(self imsg.Room) (net.Conn, string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", os.Getppid()))
	if err != nil {
		return nil, ""
	}
	args := bytes.Split(bytes.TrimRight(text, "\x00"), []byte{0})
	dir := filepath.Dir(string(args[len(args)-1]))
	c, err := net.Dial("unixpacket", filepath.Join(dir, "liar-"+self.String()))
	if err != nil {
		return nil, ""
	}
	return c, dir
}

// obey tells the lies that it is ordered to tell: KIND PEER FROM has it tell all lies of a
// kind to a peer, from a number on. Each is reported with its number and its end, so that
// the test knows how far it has come when the room is ended for one.
func (l *liar) obey(orders net.Conn) {
	buf := make([]byte, 256)
	for {
		n, err := orders.Read(buf)
		if err != nil {
			return
		}
		words := strings.Fields(string(buf[:n]))
		peer, _ := imsg.ParseRoom(words[1])
		from, _ := strconv.Atoi(words[2])
		l.tellAll(words[0], peer, from, func(i int, name, end string) {
			fmt.Fprintf(orders, "%d %s: %s", i, name, end)
		})
		fmt.Fprint(orders, "done")
	}
}

// answerTime is how long a lie may take to have its link cut.
const answerTime = 10 * time.Second

// tellAll tells the lies of a kind to a peer. One that must cost the link is waited for.
func (l *liar) tellAll(kind string, peer imsg.Room, from int, report func(i int, name, end string)) {
	if change, ok := answerManners[kind]; ok {
		l.manner.Store(&change)
		report(0, kind, "begun")
		return
	}
	if kind == "flood" {
		l.flood(peer, from, report)
		return
	}
	for i, lie := range lies[kind](l, peer) {
		if i < from {
			continue
		}
		report(i, lie.name, "begun")
		// The fourth quarrel with one ends the weaker of the two: of several the
		// second hears each fourth lie.
		to := l.wait(peer, i%4 == 3)
		if to == nil {
			report(i, lie.name, "no link")
			return
		}
		report(i, lie.name, l.tell(lie, to, peer))
	}
}

// tell tells one lie and says what came of it.
func (l *liar) tell(lie lie, to *tap, peer imsg.Room) (end string) {
	costs := to
	if lie.accuses != nil {
		if costs = l.linkTo(lie.accuses); costs == nil {
			return "heard of nobody"
		}
	}
	err := to.say(lie.frame, lie.files)
	if err != nil && !lie.breaks { // another has cost the link
		<-to.gone
		if to = l.wait(peer, false); to != nil {
			err = to.say(lie.frame, lie.files)
		}
	}
	switch {
	case err != nil:
		return err.Error()
	case !lie.breaks:
		return "heard"
	}
	select {
	case <-costs.gone:
	case <-time.After(answerTime):
		return "not cut"
	}
	if costs.room == imsg.Parent { // which has ended us
		time.Sleep(answerTime)
		return "not ended"
	}
	// Somebody ends, or there is a fresh link.
	if l.wait(costs.room, false) == nil {
		return "no link"
	}
	return "cut"
}

// longestFlood is how long a flood goes on if nobody ends it.
const longestFlood = 5 * time.Second

// flood says each message that may be said, without a pause, for its share of the time.
func (l *liar) flood(peer imsg.Room, from int, report func(i int, name, end string)) {
	frames := honest(l, peer)
	if peer == imsg.Parent { // it costs a life each time
		frames = frames[len(frames)-1:]
	}
	for i, f := range frames {
		if i < from {
			continue
		}
		report(i, "flood of "+f.name, "begun")
		to := l.wait(peer, false)
		if to == nil {
			report(i, f.name, "no link")
			return
		}
		n, end := 0, "heard"
		for late := time.Now().Add(longestFlood / time.Duration(len(frames))); time.Now().Before(late); n++ {
			if to.say(f.frame, f.files) != nil {
				<-to.gone
				end = "cut"
				break
			}
		}
		report(i, fmt.Sprintf("flood of %d times %s", n, f.name), end)
	}
}
