package control

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
)

// The state file, as status scripts know it. This file owns its two forms and
// the table of sessions; the parent owns its name. Only characters of a small
// set occur in it, so that no script trips over what a client said.

// state is what one state file tells.
type state struct {
	config   imsg.LockdConfig
	family   imsg.Family
	now      time.Time
	resource string
	live     int
	counters counters.Entry
	sessions []imsg.LiveSession // nil without the slots form
}

// Dump answers the parent's question for the state file: it writes that into the
// descriptor that came. It asks the workers, and the file may lie on a slow disk.
func (s *Service) Dump(r link.Reply[imsg.Done]) {
	defer r.Close()
	all := s.sessions()
	all.refresh()
	now := s.House.Overview()
	file := state{
		config: now.Config, family: now.Family, now: s.Now(), resource: resource(),
		live: now.Live, counters: s.Counters.Entry(),
	}
	if file.config.StateFile&imsg.StateSlots != 0 {
		for after, more := uint64(0), true; more; {
			var page []imsg.LiveSession
			page, more = all.page(after)
			if len(page) > 0 {
				after = page[len(page)-1].Number
			}
			file.sessions = append(file.sessions, page...)
		}
	}
	if err := file.write(r.Files[0]); err != nil {
		s.Log.Error("state file cannot be written", "error", err)
		r.Answer(&imsg.Done{Errno: imsg.Resource})
		return
	}
	r.Answer(&imsg.Done{})
}

// resource is getrusage(2) of this room, in the order maxrss/ixrss/idrss/isrss.
func resource() string {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return "0/0/0/0"
	}
	return fmt.Sprintf("%d/%d/%d/%d", u.Maxrss, u.Ixrss, u.Idrss, u.Isrss)
}

func (s *state) write(w io.Writer) error {
	var out bytes.Buffer
	if s.config.StateFile&imsg.StateFlat != 0 {
		s.flat(&out)
	} else {
		s.human(&out)
	}
	if _, err := w.Write(bytes.Map(tame, out.Bytes())); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	return nil
}

// tame replaces what may not occur in a state file.
func tame(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(":;()/_. -\n", r) {
		return r
	}
	return '_'
}

// moment is a time as C's %c writes it in the C locale; one that never was is
// the epoch.
func moment(nanoseconds int64) string { return time.Unix(0, nanoseconds).Local().Format(time.ANSIC) }

func seconds(nanoseconds int64) int64 { return nanoseconds / int64(time.Second) }

func (s *state) uptime() (ticks int64, text string) {
	t := seconds(s.now.UnixNano() - s.family.Started)
	return t, fmt.Sprintf("%dd %dh %dm %ds", t/86400, t/3600%24, t/60%60, t%60)
}

// countedIn lists the counters whose key in the flat form begins with group, in
// order.
func countedIn(group string) []imsg.Counter {
	return imsg.CountersWith(func(r imsg.CounterRow) bool { return strings.HasPrefix(r.State, group+".") })
}

// count words some counters as a/b/c.
func (s *state) count(which []imsg.Counter) string {
	var b strings.Builder
	for i, c := range which {
		if i > 0 {
			b.WriteByte('/')
		}
		fmt.Fprint(&b, s.counters.Counts[c])
	}
	return b.String()
}

func (s *state) human(w io.Writer) {
	_, uptime := s.uptime()
	for _, line := range [...][2]string{
		{"Version:", s.config.Version},
		{"Compile date:", s.config.CompileDate},
		{"Dump time:", moment(s.now.UnixNano())},
		{"Start time:", moment(s.family.Started)},
		{"Restart time:", moment(s.family.Reloaded)},
		{"Last crash:", moment(s.family.LastCrash)},
		{"Last BUG:", moment(s.counters.LastBug)},
	} {
		fmt.Fprintf(w, "%-14s%s\n", line[0], line[1])
	}
	for _, line := range [...][3]string{
		{"Uptime:", uptime},
		{"Resource:", s.resource, "maxrss/ixrss/idrss/isrss"},
		{"Children:", fmt.Sprintf("%d/%d/%d/%d", s.live, s.counters.Peak, s.family.Crashes, s.counters.Counts[imsg.CountBugs]), "current/max/crashed/bugs"},
		// Five numbers under six names: scripts count the slashes.
		{"Found:", s.count(slices.DeleteFunc(countedIn("found"), func(c imsg.Counter) bool { return c == imsg.CountEarlyTalk })), "viruses/spam/no-auth/spf/regex/earlytalk"},
		{"Requests:", s.count(countedIn("requests")), "total/direct/empty"},
		{"Rejects:", s.count(countedIn("rejects")), "host/ident/lock/dnsbl/rate/ratelimit/other"},
		{"Errors:", s.count(countedIn("errors")), "pipeline"},
		{"Auth:", s.count(countedIn("auth")), "accepted/rejected"},
	} {
		fmt.Fprintf(w, "%-10s%s", line[0], line[1])
		if line[2] != "" {
			fmt.Fprintf(w, " (%s)", line[2])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\nslot pid state flags time source target trns cli_rx srv_rx kbps ident\n")
	for i, l := range s.sessions {
		age := max(0, seconds(s.now.UnixNano()-l.Started))
		fmt.Fprintf(w, "%d %d %s %s %02d:%02d %s %s %d %d %d %.1f %s\n", i, l.Number, l.State, flags(l.Auth), age/60, age%60,
			l.Client.Addr(), target(l.Target), l.Transactions, l.ClientBytes, l.ServerBytes,
			float64(l.ClientBytes)/128/float64(max(1, age)), oneWord(l.Ident))
	}
}

// oneWord keeps what a router calls an ident from making columns or lines.
func oneWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return '_'
		}
		return r
	}, s)
}

// flags is A for an authenticated session, a for one whose server offered it.
func flags(a imsg.AuthFlags) string {
	switch {
	case a&imsg.AuthAccepted != 0:
		return "A"
	case a&imsg.AuthSupported != 0:
		return "a"
	}
	return "."
}

func target(a netip.AddrPort) string {
	if !a.IsValid() {
		return "0.0.0.0"
	}
	return a.Addr().String()
}

func (s *state) flat(w io.Writer) {
	line := func(key string, value any) { fmt.Fprintf(w, "%s: %v\n", key, value) }
	at := func(key string, nanoseconds int64) {
		line(key+".unix", seconds(nanoseconds))
		line(key+".string", moment(nanoseconds))
	}
	count := func(group string) {
		for _, c := range countedIn(group) {
			line(imsg.CounterTable[c].State, s.counters.Counts[c])
		}
	}
	ticks, uptime := s.uptime()

	line("version", s.config.Version)
	at("time.dump", s.now.UnixNano())
	at("time.start", s.family.Started)
	at("time.restart", s.family.Reloaded)
	line("uptime.ticks", ticks)
	line("uptime.string", uptime)
	fmt.Fprintf(w, "%-10s%s (maxrss/ixrss/idrss/isrss)\n", "Resource:", s.resource)
	line("children.current", s.live)
	line("children.max", s.counters.Peak)
	line("children.crashes", s.family.Crashes)
	line("children.crash_last", seconds(s.family.LastCrash))
	count("children")
	line("children.bug_last", seconds(s.counters.LastBug))
	for _, group := range []string{"found", "requests", "rejects", "errors", "auth"} {
		count(group)
	}
	for i, l := range s.sessions {
		slot := fmt.Sprintf("slot.%d.", i)
		line(slot+"pid", l.Number)
		at(slot+"start", l.Started)
		line(slot+"state", l.State)
		line(slot+"src.ip", l.Client.Addr())
		line(slot+"flags", flags(l.Auth))
	}
}
