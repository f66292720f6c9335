package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// This file owns what sessions cost that do nothing, ours and HAProxy's.

// manySources are where many sessions come from: with one address, choosing a port among
// thousands that are in use, or were a minute ago, takes the kernel longer than all else.
const manySources = "127.1.0.0/16"

// acceptShort sessions are opened, of one mail each, while acceptIdle do nothing.
const acceptShort, acceptIdle = 1000, 2000

// acceptRow is how fast they went.
type acceptRow struct {
	Way    string  `json:"way"`
	Rate   float64 `json:"sessions_per_second"`
	XRate  float64 `json:"rate_ratio"`
	Median float64 `json:"greeting_median"`
	P99    float64 `json:"greeting_p99"`
}

func (c *comparison) accept(b *testing.B) {
	if short := descriptorsShort(acceptIdle); short != "" {
		c.note("idle: " + short)
		return
	}
	sink := gatectlSink(b)
	ways := []way{
		{name: "direct", address: sink},
		throughHAProxy(b, sink, acceptIdle),
		throughUs(b, "ours", "", sink, acceptIdle, unscanned),
	}
	rounds := make([][]benched, len(ways))
	for range b.N {
		for i, to := range ways {
			rounds[i] = append(rounds[i], gatectlBench(b,
				"--source", manySources, "--idle", strconv.Itoa(acceptIdle), "--sessions", strconv.Itoa(acceptShort), to.address))
		}
	}
	c.measured(b)
	c.Accept = nil
	for i, to := range ways {
		c.Accept = append(c.Accept, acceptRow{
			to.name,
			middle(b.N, func(n int) float64 { return rounds[i][n].Rates.Sessions }),
			middle(b.N, func(n int) float64 { return rounds[i][n].Rates.Sessions / rounds[theirs][n].Rates.Sessions }),
			middle(b.N, func(n int) float64 { return rounds[i][n].Latency.Greeting.Median }),
			middle(b.N, func(n int) float64 { return rounds[i][n].Latency.Greeting.P99 }),
		})
	}
}

// idleRow is the memory of so many idle sessions, in KiB: what a session takes over the
// empty processes, and its part of all.
type idleRow struct {
	Way      string  `json:"way"`
	Sessions int     `json:"sessions"`
	Empty    float64 `json:"empty"`
	Over     float64 `json:"over_per_session"`
	All      float64 `json:"all_per_session"`
}

func (c *comparison) idle(b *testing.B) {
	for _, sessions := range []int{2000, 7000, 10000} {
		if short := descriptorsShort(sessions); short != "" {
			c.note(short)
			continue
		}
		b.Run(strconv.Itoa(sessions), func(b *testing.B) {
			// All anew each time: memory once taken is kept, and ports are for a minute.
			starts := []func() way{
				func() way { return throughHAProxy(b, gatectlSink(b), sessions) },
				func() way { return throughUs(b, "ours", "", gatectlSink(b), sessions, unscanned) },
			}
			rows := make([][]idleRow, len(starts))
			for range b.N {
				for i, start := range starts {
					to := start()
					empty := pssOf(b, to.pids...)
					release := holdIdle(b, to, sessions)
					full := pssOf(b, to.pids...)
					release()
					to.stop()
					rows[i] = append(rows[i], idleRow{to.name, sessions, empty, (full - empty) / float64(sessions), full / float64(sessions)})
				}
			}
			c.measured(b)
			c.Idle = slices.DeleteFunc(c.Idle, func(r idleRow) bool { return r.Sessions == sessions })
			for _, all := range rows {
				c.Idle = append(c.Idle, idleRow{
					all[0].Way, sessions,
					middle(b.N, func(n int) float64 { return all[n].Empty }),
					middle(b.N, func(n int) float64 { return all[n].Over }),
					middle(b.N, func(n int) float64 { return all[n].All }),
				})
			}
		})
	}
}

// descriptorsShort says why there cannot be so many sessions: any process that relays them
// has two descriptors for each.
func descriptorsShort(sessions int) string {
	wanted, have := uint64(2*(sessions+100)), descriptors()
	if wanted <= have {
		return ""
	}
	return fmt.Sprintf("%d idle sessions are left out: they take %d descriptors of a process, and the limit is %d", sessions, wanted, have)
}

// holdIdle opens sessions that do nothing until they are released.
func holdIdle(b *testing.B, to way, sessions int) (release func()) {
	b.Helper()
	cmd := exec.Command(program("smtp-gatectl"), "bench", "--json", "--source", manySources,
		"--idle", strconv.Itoa(sessions), "--sessions", "0", "--duration", "1h", to.address)
	says, err := cmd.StderrPipe()
	must(b, err)
	must(b, cmd.Start())
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, fmt.Sprintf("%d of %[1]d ", sessions)) {
		cmd.Process.Kill()
		cmd.Wait()
		b.Fatalf("%s: %q, error %v", to.name, line, err)
	}
	return func() {
		must(b, cmd.Process.Signal(syscall.SIGINT))
		rest, _ := io.ReadAll(says)
		if err := cmd.Wait(); err != nil {
			b.Fatalf("%s did not hold them: %v\n%s", to.name, err, rest)
		}
	}
}
