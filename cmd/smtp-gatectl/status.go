// The command status: the family at a glance.

package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) statusCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is wrong, the rooms, the load and what was counted",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := t.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.status()
			if err != nil {
				return err
			}
			switch {
			case t.json:
				err = printJSON(t.out, s)
			case check:
				err = s.printFindings(t.out)
			default:
				err = s.print(t.out)
			}
			if err == nil && check && s.health != imsg.Well {
				err = unwell(s.health)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "print what is wrong alone, and tell it by the exit status: 0 well, 3 degraded, 4 down")
	return cmd
}

// status is a StatusReport as it is printed: its fields are the JSON form.
type status struct {
	health     imsg.Health
	found      int               // findings, of which Findings has the worst
	Verdict    string            `json:"verdict"`
	Findings   []finding         `json:"findings"`
	Version    string            `json:"version"`
	Config     string            `json:"config"`
	Generation int               `json:"generation"`
	Now        time.Time         `json:"now"`
	Started    time.Time         `json:"started"`
	Reloaded   time.Time         `json:"reloaded,omitzero"`
	Crashes    int               `json:"crashes"`
	LastCrash  time.Time         `json:"last_crash,omitzero"`
	Sessions   int               `json:"sessions"`
	Limit      int               `json:"max_connections"`
	Load       float64           `json:"load"`
	Locks      int               `json:"locks"`
	Lacks      []string          `json:"sandbox_lacks"`
	Rooms      []room            `json:"rooms"`
	Counters   map[string]uint64 `json:"counters"`
}

// room is one process of the family. UID and Root are what the kernel says of
// it, where we may ask; Goroutines what it has said itself, 0 before it was asked.
type room struct {
	Name       string    `json:"room"`
	Member     int       `json:"member"`
	PID        int       `json:"pid"`
	UID        *int      `json:"uid"`
	Root       string    `json:"root,omitempty"`
	Generation int       `json:"generation"`
	State      string    `json:"state"`
	Started    time.Time `json:"started"`
	Goroutines uint32    `json:"goroutines,omitempty"`
}

func (c *control) status() (*status, error) {
	r, err := ask(c, &imsg.Status{}, answerTime)
	if err != nil {
		return nil, fmt.Errorf("ask for the status: %w", err)
	}
	f := r.Family
	s := &status{
		health: r.Health, found: r.Found, Verdict: r.Health.String(), Findings: findingsOf(r),
		Version: f.Version, Config: f.Config, Generation: f.Generation,
		Now: moment(r.Now), Started: moment(f.Started), Reloaded: moment(f.Reloaded),
		Crashes: f.Crashes, LastCrash: moment(f.LastCrash),
		Sessions: r.Sessions, Limit: r.Limit, Load: r.Load, Locks: r.Locks,
		Lacks: []string{}, Rooms: []room{}, Counters: make(map[string]uint64),
	}
	for _, layer := range f.Lacks {
		s.Lacks = append(s.Lacks, clean(layer))
	}
	for _, m := range f.Rooms {
		uid, root := lookAt(m.PID)
		s.Rooms = append(s.Rooms, room{
			Name: m.Room.String(), Member: m.Member, PID: m.PID, UID: uid, Root: clean(root),
			Generation: m.Generation, State: m.State.String(), Started: moment(m.Started),
			Goroutines: m.Goroutines,
		})
	}
	for i, n := range r.Counters {
		if i < int(imsg.Counters) {
			s.Counters[imsg.Counter(i).String()] = n
		}
	}
	return s, nil
}

func (s *status) print(w io.Writer) error {
	if err := s.printFindings(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	tw := columns(w)
	if s.health == imsg.Down {
		fmt.Fprintf(tw, "verdict\tdown: no session can succeed\n")
	} else {
		fmt.Fprintf(tw, "verdict\t%s\n", s.Verdict)
	}
	fmt.Fprintf(tw, "smtp-gated\t%s, up %s since %s\n", s.Version, span(s.Now.Sub(s.Started)), stamp(s.Started))
	reloaded := "never reloaded"
	if !s.Reloaded.IsZero() {
		reloaded = "reloaded " + span(s.Now.Sub(s.Reloaded)) + " ago"
	}
	fmt.Fprintf(tw, "config\t%s, generation %d, %s\n", s.Config, s.Generation, reloaded)
	fmt.Fprintf(tw, "sessions\t%d of %d\n", s.Sessions, s.Limit)
	fmt.Fprintf(tw, "locks\t%d\n", s.Locks)
	fmt.Fprintf(tw, "load\t%.2f\n", s.Load)
	crashes := "none"
	if s.Crashes > 0 {
		crashes = fmt.Sprintf("%d, the last %s ago", s.Crashes, span(s.Now.Sub(s.LastCrash)))
	}
	fmt.Fprintf(tw, "crashes\t%s\n", crashes)
	if len(s.Lacks) == 0 {
		fmt.Fprintf(tw, "sandbox\tcomplete\n")
	}
	for _, layer := range s.Lacks {
		fmt.Fprintf(tw, "sandbox\tthe kernel lacks %s\n", layer)
	}
	for _, g := range imsg.CounterGroups {
		var words []string
		for _, c := range imsg.CountersWith(func(r imsg.CounterRow) bool { return r.Group == g }) {
			if g == imsg.CountedWould && s.Counters[c.String()] == 0 {
				continue // there are many, and most are not looked for
			}
			count := fmt.Sprint(s.Counters[c.String()])
			if g == imsg.CountedOctets {
				count = octets(int64(min(s.Counters[c.String()], math.MaxInt64)))
			}
			words = append(words, count+" "+imsg.CounterTable[c].Word)
		}
		if len(words) > 0 {
			fmt.Fprintf(tw, "%s\t%s\n", g, strings.Join(words, ", "))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return printRooms(w, s.Rooms, s.Now)
}

func printRooms(w io.Writer, rooms []room, now time.Time) error {
	tw := columns(w)
	fmt.Fprintln(tw, "ROOM\tPID\tUID\tROOT\tGEN\tSTATE\tUP")
	for _, r := range rooms {
		uid := "-"
		if r.UID != nil {
			uid = fmt.Sprint(*r.UID)
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", r.Name, r.PID, uid, or(r.Root, "-"), r.Generation, r.State, span(now.Sub(r.Started)))
	}
	return tw.Flush()
}
