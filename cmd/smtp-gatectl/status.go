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
			c, err := t.look()
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
	Verdict    string            `json:"verdict" help:"well, degraded, or down: no session can succeed"`
	Findings   listOf[finding]   `json:"findings" help:"what is wrong, the worst first, 32 at most"`
	Version    string            `json:"version" help:"of the program that runs"`
	Config     string            `json:"config" help:"path of the configuration in force"`
	Generation int               `json:"generation" help:"how many configurations have been in force, this one counted"`
	Now        time.Time         `json:"now" help:"when this was asked"`
	Started    time.Time         `json:"started" help:"when this program was, by hand or by an upgrade"`
	Reloaded   time.Time         `json:"reloaded,omitzero" help:"when the configuration was last read again; absent if never"`
	Crashes    int               `json:"crashes" help:"how often a room has ended unasked"`
	LastCrash  time.Time         `json:"last_crash,omitzero" help:"when last; absent if never"`
	Listen     listOf[string]    `json:"listen" help:"addresses and ports that it listens at"`
	Engines    listOf[engine]    `json:"engines" help:"that messages are shown to"`
	Sessions   int               `json:"sessions" help:"how many live"`
	Limit      int               `json:"max_connections" help:"how many may, by limits.connections"`
	Load       float64           `json:"load" help:"the load average of the last minute"`
	Locks      int               `json:"locks" help:"how many files are in the lock directory"`
	Exempt     int               `json:"exemptions" help:"how many are in force"`
	Lacks      listOf[string]    `json:"sandbox_lacks" help:"layers of the sandbox that the kernel has not"`
	Rooms      listOf[room]      `json:"rooms" help:"each process of the family"`
	Counters   map[string]uint64 `json:"counters" help:"what was counted since the start; an upgrade goes on counting"`

	LogLevel string    `json:"log_level" help:"the least important level that is logged"`
	LogSet   bool      `json:"log_level_set" help:"whether smtp-gatectl loglevel has set it: then it is not the configuration's"`
	LogUntil time.Time `json:"log_level_until,omitzero" help:"when it is that again; absent: at the next reload"`

	Restarts  map[string]uint64 `json:"room_restarts" help:"how often each room has ended unasked"`
	LinesLost uint64            `json:"log_lines_lost" help:"lines of the log that were lost"`
	States    map[string]uint64 `json:"session_states" help:"how many sessions are in each state"`
	Lists     listOf[dnsList]   `json:"dns_lists" help:"the block lists"`
	Times     map[string]times  `json:"times" help:"how long things took, in seconds, since the start"`

	TLSPassed float64 `json:"tls_passed_share" help:"how much of all sessions since the start went on in a TLS that nobody here reads, 0 to 1"`

	Certificates listOf[certificate] `json:"certificates" help:"that clients are shown"`
	Traces       listOf[trace]       `json:"traces" help:"of clients' sessions that are under way"`
}

// engine is one that messages are shown to.
type engine struct {
	Engine string         `json:"engine" help:"its name"`
	Roles  listOf[string] `json:"roles" help:"what it is asked about: virus, spam"`
	Trial  bool           `json:"trial" help:"whether it finds test messages alone, and protects nobody"`
}

// enginesOf are those of a report.
func enginesOf(r *imsg.StatusReport) []engine {
	all := []engine{}
	for _, e := range r.Engines {
		one := engine{Engine: e.Engine.String(), Roles: []string{}, Trial: e.Engine == imsg.EngineBuiltin}
		for _, role := range []imsg.Roles{imsg.RoleVirus, imsg.RoleSpam} {
			if e.Roles&role != 0 {
				one.Roles = append(one.Roles, role.String())
			}
		}
		all = append(all, one)
	}
	return all
}

// engines words which there are.
func (s *status) engines() string {
	var words []string
	for _, e := range s.Engines {
		word := e.Engine + " for " + strings.Join(e.Roles, " and ")
		if e.Trial {
			word += " (test messages alone: no protection)"
		}
		words = append(words, word)
	}
	return or(strings.Join(words, ", "), "none: nothing is scanned")
}

// trace is one that an operator has ordered.
type trace struct {
	Client  string    `json:"client" help:"address or network"`
	Left    int       `json:"sessions_left" help:"that are to come"`
	Running int       `json:"sessions_running" help:"that are under way"`
	Until   time.Time `json:"until" help:"when it ends at the latest"`
	UID     int       `json:"uid" help:"who has ordered it; -1 if the system does not tell"`
}

// certificate is one that clients are shown.
type certificate struct {
	Name    string    `json:"name" help:"the first it is for; its file, if there is none"`
	End     time.Time `json:"end,omitzero" help:"when it ends; absent if there is none"`
	Problem string    `json:"problem,omitempty" help:"why the one on disk was not taken"`
}

// dnsList is what a block list did.
type dnsList struct {
	Zone     string `json:"zone" help:"its name"`
	Answered uint64 `json:"answered" help:"how often it did"`
	Silent   uint64 `json:"silent" help:"how often it did not"`
}

// times is a histogram: how many times were at most as long as each bound, in seconds, and
// how many longer.
type times struct {
	Sum    float64         `json:"sum" help:"of all"`
	Bounds listOf[float64] `json:"bounds" help:"upper ones, each of the times up to it and above the one before"`
	Counts listOf[uint64]  `json:"counts" help:"how many times up to each bound, and how many above the last"`
}

// room is one process of the family. UID and Root are what the kernel says of
// it, where we may ask; Goroutines what it has said itself, 0 before it was asked.
type room struct {
	Name       string    `json:"room" help:"the room"`
	Member     int       `json:"member" help:"its number among the rooms of that name"`
	PID        int       `json:"pid" help:"its process"`
	UID        *int      `json:"uid" help:"its user, as the kernel says; null where we may not look"`
	Root       string    `json:"root,omitempty" help:"its root directory, likewise"`
	Generation int       `json:"generation" help:"whose configuration it has"`
	State      string    `json:"state" help:"starting, running, or draining: it takes nothing new"`
	Started    time.Time `json:"started" help:"when it was"`
	Goroutines uint32    `json:"goroutines,omitempty" help:"threads of its program when it was last asked whether it works, which is each ten seconds"`
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
		Listen: []string{}, Engines: enginesOf(r),
		Sessions: r.Sessions, Limit: r.Limit, Load: r.Load, Locks: r.Locks, Exempt: r.Exempt,
		Lacks: []string{}, Rooms: []room{}, Counters: make(map[string]uint64),
		Restarts: make(map[string]uint64), LinesLost: f.LinesLost, States: statesOf(r), Lists: []dnsList{}, Times: make(map[string]times),
		TLSPassed: tlsShare(r), LogLevel: or(f.LogLevel, unknownState), LogSet: f.LogSet, LogUntil: moment(f.LogUntil),
	}
	for _, l := range f.Listen {
		s.Listen = append(s.Listen, clean(l))
	}
	for i, n := range f.Restarts {
		if i > 0 && n > 0 {
			s.Restarts[imsg.Room(i).String()] = n
		}
	}
	for _, l := range r.Lists {
		s.Lists = append(s.Lists, dnsList{clean(l.Zone), l.Answered, l.Silent})
	}
	for h := range imsg.Histograms {
		counts, sum := h.Of(r.Counters)
		if counts == nil {
			continue
		}
		t := times{Sum: sum.Seconds(), Counts: counts}
		for _, d := range imsg.TimeBounds {
			t.Bounds = append(t.Bounds, d.Seconds())
		}
		s.Times[h.String()] = t
	}
	for _, layer := range f.Lacks {
		s.Lacks = append(s.Lacks, clean(layer))
	}
	s.Certificates = []certificate{}
	for i := range r.Certificates {
		c := &r.Certificates[i]
		one := certificate{Name: clean(c.Name), Problem: clean(c.Problem)}
		if c.End != 0 {
			one.End = time.Unix(c.End, 0)
		}
		s.Certificates = append(s.Certificates, one)
	}
	s.Traces = []trace{}
	for _, t := range r.Traces {
		s.Traces = append(s.Traces, trace{imsg.NetworkText(t.Client, t.Bits), t.Left, t.Running, moment(t.Until), t.UID})
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

// unknownState is that of sessions whose worker did not say what they do.
const unknownState = "unknown"

// statesOf counts the live sessions by what they do.
func statesOf(r *imsg.StatusReport) map[string]uint64 {
	states := make(map[string]uint64)
	known := uint64(0)
	for state := range imsg.States {
		var n uint64
		if int(state) < len(r.States) {
			n = r.States[state]
		}
		states[state.String()] = n
		known += n
	}
	states[unknownState] = uint64(r.Sessions) - min(known, uint64(r.Sessions))
	return states
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
	fmt.Fprintf(tw, "listens\t%s\n", or(strings.Join(s.Listen, ", "), "nowhere"))
	fmt.Fprintf(tw, "engines\t%s\n", s.engines())
	fmt.Fprintf(tw, "log\t%s\n", s.logLevel())
	fmt.Fprintf(tw, "sessions\t%d of %d\n", s.Sessions, s.Limit)
	fmt.Fprintf(tw, "locks\t%d\n", s.Locks)
	if s.Exempt > 0 {
		fmt.Fprintf(tw, "exemptions\t%d\n", s.Exempt)
	}
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
	for _, c := range s.Certificates {
		left := "there is none"
		if !c.End.IsZero() {
			left = "ends " + stamp(c.End)
		}
		if c.Problem != "" {
			left += ", not renewed: " + c.Problem
		}
		fmt.Fprintf(tw, "certificate\t%s, %s\n", c.Name, left)
	}
	for _, c := range s.Traces {
		fmt.Fprintf(tw, "trace\t%s, %s to come, %d under way, until %s, by uid %d\n", c.Client, plural(c.Left, "session"), c.Running, stamp(c.Until), c.UID)
	}
	for _, g := range imsg.CounterGroups {
		var words []string
		for _, c := range imsg.CountersWith(func(r imsg.CounterRow) bool { return r.Group == g }) {
			if g.Sparse() && s.Counters[c.String()] == 0 {
				continue
			}
			count := fmt.Sprint(s.Counters[c.String()])
			if g == imsg.CountedOctets {
				count = octets(int64(min(s.Counters[c.String()], math.MaxInt64)))
			}
			words = append(words, count+" "+imsg.CounterTable[c].Word)
		}
		if g == imsg.CountedRefused {
			words = append(words, fmt.Sprint(s.overQuota(), " over quota"))
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

// overQuota is how many uses a quota has refused, but for those that other counters of
// what was refused have: of connections and servers, and of what the server refused.
func (s *status) overQuota() (n uint64) {
	for _, r := range []imsg.Rate{
		imsg.RateMessages, imsg.RateRecipients, imsg.RateBytes, imsg.RateTLSSessions, imsg.RateTLSBytes, imsg.RateTLSServers,
	} {
		n += s.Counters[imsg.CountQuota(r).String()]
	}
	return n
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
