// Rooms that lie. This file owns who lies to whom, and what the rules let that cost.

package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// plot is a room that lies to another, in a family of its own: a room that dies often
// is started again more and more slowly.
type plot struct {
	liar, peer string
	kinds      []string // of lies
	manners    []string // of how it answers, one after the other
	// innocents is how many other rooms a liar may take with it in one life, as the rules
	// of parent/conduct/quarrels.go have it: one, or two that are weaker and against whom
	// there is the word of the liar that it has replaced.
	innocents int
	locks     bool // that a client is locked is what its word may bring about
	forges    bool // what passes for clean is its word, too
}

var (
	cutting  = []string{"bad-fields", "rubbish", "size", "type", "descriptors"}
	harmful  = slices.Concat([]string{"fields", "answers"}, cutting, []string{"flood"})
	toParent = slices.Concat([]string{"answers"}, cutting, []string{"flood"})
	answers  = []string{"twice", "other", "forger", "silent"}
)

// Of two that quarrel nobody knows which lies. A liar that is replaced by another is
// believed by and by: each counts against the one they all quarrel with.
var plots = []plot{
	{liar: "session", peer: "parent", kinds: toParent},
	{liar: "session", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "session", peer: "lockd", kinds: slices.Concat([]string{"others"}, harmful), manners: answers, innocents: 1, locks: true},
	{liar: "session", peer: "scand", kinds: harmful, innocents: 1},
	{liar: "session", peer: "lookupd", kinds: harmful, innocents: 1},
	{liar: "session", peer: "keys", kinds: harmful, innocents: 1},
	{liar: "keys", peer: "parent", kinds: toParent},
	{liar: "keys", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "keys", peer: "session", kinds: harmful, manners: slices.Concat(answers, []string{"stale", "garble", "long"}), innocents: 2},
	{liar: "keys", peer: "lockd", kinds: harmful, innocents: 1},
	{liar: "lookupd", peer: "parent", kinds: toParent},
	{liar: "lookupd", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "lookupd", peer: "session", kinds: harmful, manners: answers, innocents: 2},
	{liar: "scand", peer: "parent", kinds: toParent},
	{liar: "scand", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "scand", peer: "session", kinds: harmful, manners: answers, innocents: 2, locks: true, forges: true},
	{liar: "action", peer: "parent", kinds: toParent},
	{liar: "action", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "action", peer: "lockd", kinds: harmful, innocents: 1},
	// lockd keeps what all share: four must stand against it.
	{liar: "lockd", peer: "parent", kinds: toParent, locks: true},
	{liar: "lockd", peer: "parent", kinds: []string{"accuse"}, innocents: 4, locks: true},
	{liar: "lockd", peer: "session", kinds: harmful, manners: answers, innocents: 4, locks: true, forges: true},
	{liar: "lockd", peer: "action", kinds: harmful, innocents: 4, locks: true},
}

// What a family may cost that has a liar.
const (
	floodCPU = time.Second // of the parent, for a flood
	growth   = 32 << 20    // of each room that lives on, in octets
)

const believing = "max_per_host 0\nlock_on virus\naction_script /bin/true\n" +
	"dnsbl bl.test\nnameservers 127.0.0.1:1\ntimeout_lookup 2\ntimeout_scanner 3\ntimeout_spam 3\n"

// TestLiars has one room after the other lie to each peer it has, in all it can say: the
// liar is ended and replaced, all others live on, no more memory is used, no client is
// locked or freed by a room that may not, and mail flows. -v prints a table.
func TestLiars(t *testing.T) {
	t.Parallel()
	daemon := buildLiar(t)
	var mu sync.Mutex
	var rows []string
	t.Cleanup(func() {
		slices.Sort(rows)
		t.Logf("what became of lies:\n%s", aligned(rows))
	})
	// Most of its time it waits for rooms that died too early to be replaced at once.
	// What a room may say does not depend on who it is: one way is enough.
	rooted := os.Geteuid() == 0
	for _, p := range plots {
		if slices.Contains(longPlots, p.name()) && !*long {
			continue
		}
		t.Run(p.name(), func(t *testing.T) {
			t.Parallel()
			told := p.play(t, daemon, rooted)
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, told...)
		})
	}
}

// longPlots take minutes each, for what they say is answered late or not at all.
var longPlots = []string{"session to lookupd fields", "session to lockd others", "lookupd to session fields"}

var long = flag.Bool("long", false, "have TestLiars play the plots that take minutes, too")

func (p plot) name() string { return p.liar + " to " + p.peer + " " + p.kinds[0] }

// keys tells whether mails under TLS are to pass, too.
func (p plot) keys() bool { return p.liar == "keys" || p.peer == "keys" }

func aligned(rows []string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "liar\tto\tlies\tas\ttold\tcut for\tits deaths\tothers' deaths\tlocks by its word\tparent's CPU\tlargest growth")
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	w.Flush()
	return text.String()
}

// buildLiar returns the daemon whose rooms can lie.
func buildLiar(t *testing.T) string {
	t.Helper()
	path := filepath.Join(imsgtest.Folder(t), "smtp-gated")
	build := exec.Command(needProgram(t, "go"), "build", "-tags", "liar", "-trimpath", "-buildvcs=false", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the liar: %v\n%s", err, out)
	}
	return path
}

// play has the liar of a family tell all it has to tell, and returns the rows of the table.
func (p plot) play(t *testing.T, daemon string, rooted bool) (rows []string) {
	g, m := rehearse(t, rooted)
	// A name of its own, so that whatever it leaves behind can be found.
	g.daemon = g.path("smtp-gated")
	must(t, copyProgram(daemon, g.daemon))
	must(t, g.certified(believing))
	h := &theatre{gate: g, plot: p, t: t, births: make(chan *net.UnixConn, 64)}
	h.listen()
	must(t, g.start())
	must(t, h.offend("127.0.2.1"))
	h.crowds = []*crowd{g.crowd(m, 2, 20*time.Millisecond, verdicts[0])}
	if p.keys() {
		g.tls = anyServer
		h.crowds = append(h.crowds, g.crowd(m, 2, 20*time.Millisecond, verdicts[0]))
	}
	must(t, h.moves())
	h.meet()
	h.look()
	for _, kind := range p.kinds {
		rows = append(rows, h.act(kind, func() (int, int, int) { return h.tell(kind) }))
		t.Log(rows[len(rows)-1])
		must(t, h.moves())
	}
	for _, c := range h.crowds {
		must(t, c.stop())
	}
	if len(p.manners) > 0 {
		rows = append(rows, h.act("answering", h.answer))
	}
	if !p.forges {
		noneBad(t, m)
	}
	must(t, eventually("the replacement does not work", func() bool { return sendClean(g) == nil }))
	must(t, g.terminate())
	h.leavesNobody()
	if strings.Contains(g.log(), "BUG") {
		t.Errorf("a bug is logged")
	}
	return rows
}
