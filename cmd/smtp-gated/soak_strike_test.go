//go:build linux

// What befalls the rooms in a long run on demand. This file owns which room is struck, and
// when.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

var soakKills = flag.Int("soak-kills", 0, "how often at most TestSoak kills or stops a process of a room, at any moment; then clients may be put off and cut off")

// striker kills processes of rooms, and stops them for up to a second. Its lock is held by
// whoever wants them left alone.
type striker struct {
	sync.Mutex
	gate   *gate
	struck map[string]*[2]int // by room: killed, stopped
}

func newStriker(g *gate) *striker {
	s := &striker{gate: g, struck: map[string]*[2]int{}}
	for _, room := range soakRoles[1:] { // behind the parent
		s.struck[room] = new([2]int)
	}
	s.Lock()
	return s
}

// run strikes so often, spread over a time, but for those that would come later because the
// rooms were left alone meanwhile.
func (s *striker) run(ctx context.Context, times int, over time.Duration) {
	for range times {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rand.N(2 * over / time.Duration(times))):
		}
		s.Lock()
		s.strike()
		s.Unlock()
	}
}

// strike is one of them; each room is as likely as any other.
func (s *striker) strike() {
	rooms := map[string][]int{}
	for _, pid := range childrenOf(s.gate.pid) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		for room := range s.struck {
			if comms[room] == strings.TrimSuffix(string(comm), "\n") {
				rooms[room] = append(rooms[room], pid)
			}
		}
	}
	if len(rooms) == 0 {
		return // all are just being replaced
	}
	names := slices.Collect(maps.Keys(rooms))
	room := names[rand.N(len(names))]
	pid := rooms[room][rand.N(len(rooms[room]))]
	if rand.N(2) == 0 {
		syscall.Kill(pid, syscall.SIGKILL)
		s.struck[room][0]++
		return
	}
	syscall.Kill(pid, syscall.SIGSTOP)
	time.Sleep(rand.N(time.Second))
	syscall.Kill(pid, syscall.SIGCONT)
	s.struck[room][1]++
}

// tell tells how often each room was struck.
func (s *striker) tell(out io.Writer) {
	all := [2]int{}
	for _, room := range soakRoles {
		if n := s.struck[room]; n != nil {
			fmt.Fprintf(out, "%-18s killed %4d, stopped %4d\n", room, n[0], n[1])
			all[0] += n[0]
			all[1] += n[1]
		}
	}
	fmt.Fprintf(out, "%-18s killed %4d, stopped %4d\n", "all rooms", all[0], all[1])
}

// isOfStrikes tells whether what a client met may come of it that rooms are struck: any end
// of its session and any refusal, but not that it waits for ever.
func isOfStrikes(err error) bool {
	var timeout net.Error
	return *soakKills > 0 && !(errors.As(err, &timeout) && timeout.Timeout())
}
