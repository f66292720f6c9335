//go:build linux

// What is sampled in a long run. This file owns the figures, their limits, and how they
// are shown.

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

var soakTable = flag.String("soak-table", "", "file that TestSoak writes its samples to, as tab-separated values")

// soakRoles are whose figures are sampled, those of all rooms of a kind together.
var soakRoles = []string{"parent", "session", "lookupd", "scand", "lockd", "keys", "action"}

// figure is what is sampled, and what its curve must keep to.
type figure struct {
	name string
	rule rule // nil: it is only shown
}

// roleFigures are those of each role. Memory is RssAnon of proc_pid_status(5), in KiB: heap
// and stacks, which are what grows. Pages of the program, which all rooms share, come and
// go with the page cache.
var roleFigures = []figure{
	{"anon", flat(25, 4<<10)}, {"fds", back(2)}, {"threads", flat(25, 6)}, {"goroutines", back(fewGoroutines)},
}

// pooledPipes are the descriptors of those that splice(2) goes through, two for a session
// that is only passed on. Go keeps them for the next ones until garbage is collected.
const pooledPipes = 4 * manyClients

// otherRules are for the figures of one role.
var otherRules = map[string]rule{"session.fds": back(pooledPipes)}

// fewGoroutines are what a kind of room may have more at rest than before: one that the
// runtime needs, or one that answers the parent.
const fewGoroutines = 4

// allFigures are those of the whole: mails and CPU time, in ms, since the sample before.
var allFigures = []figure{
	{"processes", back(0)},
	{"sessions", back(0)},
	{"spool", back(0)},
	{"locks", nil},
	{"accepted", nil},
	{"refused", nil},
	{"putoff", back(0)},
	{"cpu", nil},
}

// unknown is a figure that could not be read, or is not that of a family at rest.
const unknown = -1

// chart keeps what is sampled of a soaked family.
type chart struct {
	*soaker
	out     io.Writer // for people
	table   *os.File  // for programs; nil: none
	figures []figure  // with a name for each column
	samples [][]int   // of all figures
	before  struct {  // the last sample
		accepted, refused int64
		cpu               time.Duration
	}
}

func newChart(out io.Writer, s *soaker) (*chart, error) {
	c := &chart{soaker: s, out: out}
	fmt.Fprintf(out, "at rest (rooms: KiB of anonymous memory/descriptors/threads/goroutines; cpu: ms)\n%7s %-7s", "", "after")
	for _, role := range soakRoles {
		fmt.Fprintf(out, " %16s", role)
		for _, f := range roleFigures {
			f.name = role + "." + f.name
			if other := otherRules[f.name]; other != nil {
				f.rule = other
			}
			c.figures = append(c.figures, f)
		}
	}
	for _, f := range allFigures {
		if f.name == "putoff" && *soakKills > 0 {
			f.rule = nil
		}
		fmt.Fprintf(out, " %9s", f.name)
		c.figures = append(c.figures, f)
	}
	fmt.Fprintln(out)
	if *soakTable == "" {
		return c, nil
	}
	var err error
	if c.table, err = os.Create(*soakTable); err != nil {
		return nil, err
	}
	fmt.Fprint(c.table, "seconds\tafter")
	for _, f := range c.figures {
		fmt.Fprint(c.table, "\t", f.name)
	}
	_, err = fmt.Fprintln(c.table)
	return c, err
}

// close ends the table.
func (c *chart) close() {
	if c.table != nil {
		c.table.Close()
	}
}

// take samples a family at rest after a change. Unless it has settled, its numbers of
// goroutines are those of some moment before.
func (c *chart) take(at time.Duration, after string, settled bool) error {
	r, err := c.gate.ask()
	if err != nil {
		return err
	}
	var sample []int
	fmt.Fprintf(c.out, "%7s %-7s", at.Round(time.Second), after)
	for _, role := range soakRoles {
		sums, err := c.sumsOf(r.Rooms, role)
		if err != nil {
			return err
		}
		if !settled {
			sums[len(sums)-1] = unknown
		}
		sample = append(sample, sums...)
		fmt.Fprintf(c.out, " %16s", joined(sums, "/"))
	}
	sent, refused, cpu := c.sent.Load(), c.refused.Load(), c.spent()
	all := []int{
		len(offspring(c.gate.pid)), r.Sessions, c.files(), r.Locks, int(sent - c.before.accepted), int(refused - c.before.refused),
		int(c.later.Load()), int((cpu - c.before.cpu).Milliseconds()),
	}
	c.before.accepted, c.before.refused, c.before.cpu = sent, refused, cpu
	for _, n := range all {
		fmt.Fprintf(c.out, " %9d", n)
	}
	fmt.Fprintln(c.out)
	sample = append(sample, all...)
	c.samples = append(c.samples, sample)
	if c.table == nil {
		return nil
	}
	_, err = fmt.Fprintf(c.table, "%.0f\t%s\t%s\n", at.Seconds(), after, joined(sample, "\t"))
	return err
}

// joined writes figures in a line, and - for one that is unknown.
func joined(all []int, by string) string {
	words := make([]string, len(all))
	for i, n := range all {
		words[i] = "-"
		if n != unknown {
			words[i] = strconv.Itoa(n)
		}
	}
	return strings.Join(words, by)
}

// sumsOf adds up the figures of all rooms of a role.
func (c *chart) sumsOf(all []member, role string) ([]int, error) {
	sums := make([]int, len(roleFigures))
	for _, m := range all {
		if m.Room != role {
			continue
		}
		room, err := c.gate.look(m)
		if err != nil {
			return nil, err
		}
		anon, err1 := strconv.Atoi(strings.TrimSuffix(room.status["RssAnon"], " kB"))
		threads, err2 := strconv.Atoi(room.status["Threads"])
		files, err := os.ReadDir(room.dir + "/fd")
		open := len(files)
		if errors.Is(err, os.ErrPermission) { // of another user
			open, err = unknown, nil
		}
		if err := errors.Join(err1, err2, err); err != nil {
			return nil, err
		}
		for i, n := range []int{anon, open, threads, m.Goroutines} {
			sums[i] += n
			if n == unknown || sums[i] < 0 {
				sums[i] = unknown
			}
		}
	}
	return sums, nil
}

// judge draws the curves and tells which of them are not as they should be.
func (c *chart) judge() error {
	if len(c.samples) == 0 {
		return nil
	}
	var errs []error
	for i, f := range c.figures {
		curve := make([]int, len(c.samples))
		for n, sample := range c.samples {
			curve[n] = sample[i]
		}
		word := ""
		if f.rule != nil {
			word = "flat"
			if err := f.rule(curve); err != nil {
				word = err.Error()
				errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			}
		}
		low, high := extremes(curve)
		fmt.Fprintf(c.out, "%-18s %s %8d .. %-8d %s\n", f.name, sparkline(curve), low, high, word)
	}
	return errors.Join(errs...)
}
