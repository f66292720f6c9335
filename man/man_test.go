// Package man holds the manual pages. What they say of options and messages is
// generated from the tables that decide it, between two marks in each page:
//
//	go test ./man -update
package man

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

var update = flag.Bool("update", false, "write the generated parts into the pages")

// TestGenerated compares the generated part of each page with the table it comes from.
func TestGenerated(t *testing.T) {
	for page, part := range map[string]string{
		"smtp-gated.conf.5": options(config.Options(), legacy),
		"smtp-gated.toml.5": options(config.OptionsTOML(), toml),
		"smtp-gated.8":      messages() + extensions(),
		"smtp-gatectl.8":    metrics(),
	} {
		generated(t, page, "Generated", part)
	}
}

// generated holds the part of a page between two marks, of which the first says what it is.
func generated(t *testing.T, page, what, part string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := ".\\\" "+what+": go test ./man -update\n", ".\\\" End of what is generated\n"
	head, rest, ok1 := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Errorf("%s: the marks of the generated part are missing", page)
		return
	}
	if want := head + begin + part + end + tail; want != string(text) {
		if !*update {
			t.Errorf("%s is not what the table says: run go test ./man -update", page)
		} else if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestLists: the manual says of capabilities, of a room's words, of findings, of events, of
// states and of rules what their tables say.
func TestLists(t *testing.T) {
	var capabilities, words, findings, kinds, fields, rules, states strings.Builder
	for _, s := range imsg.StateTable {
		states.WriteString(".It Cm " + s.Name + "\n" + wrap(s.Help))
	}
	list(t, "smtp-gated.8", ".Bl -tag -width connect -compact\n", states.String())
	for _, k := range imsg.EventKindTable[1:] {
		kinds.WriteString(".It Cm " + k.Name + "\n" + wrap(k.Help))
	}
	for _, f := range imsg.EventFields {
		fields.WriteString(".It Cm " + f.Name + "\n" + wrap(f.Help))
	}
	for _, r := range imsg.PolicyRuleTable[1:] {
		rules.WriteString(".It Cm " + r.Name + "\n" + spoken(r.Help) + spoken(r.Remedy))
	}
	list(t, "smtp-gatectl.8", ".Bl -tag -width unscanned -compact\n", kinds.String())
	list(t, "smtp-gatectl.8", ".Bl -tag -width message_id -compact\n", fields.String())
	list(t, "smtp-gated.8", ".Bl -tag -width connections\n", rules.String())
	for _, c := range site.Capabilities {
		capabilities.WriteString(".It Dv " + c.Name + "\n" + wrap(sentence("to "+c.For)) + wrap(sentence(c.When)))
	}
	for _, w := range sandbox.Words {
		words.WriteString(".It Cm " + w.Word + "\n" + wrap(sentence(w.Allows)))
	}
	for i, f := range imsg.FindingTable[1:] {
		findings.WriteString(".It Cm " + f.Name + "\n" + spoken(f.Help) + wrap("Success: "+f.Ends) + spoken("Remedy: "+f.Remedy))
		for _, o := range imsg.ObjectRemedies[i+1] {
			findings.WriteString(spoken("Of " + o.Object + ": " + o.Remedy))
		}
	}
	list(t, "smtp-gated.8", ".Bl -tag -width CAP_NET_BIND_SERVICE\n", capabilities.String())
	list(t, "smtp-gated.8", ".Bl -tag -width stdio-splice\n", words.String())
	list(t, "smtp-gated.8", ".Bl -tag -width passed-unscanned\n", findings.String())
}

// list holds the list that begins in a page.
func list(t *testing.T, page, begin, says string) {
	t.Helper()
	const end = ".El\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, _ := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no list that begins with %s", page, begin)
	}
	if want := head + begin + says + end + tail; want != string(text) {
		if !*update {
			t.Errorf("%s is not what the table says: run go test ./man -update", page)
		} else if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestGroff has groff set the pages as man does, as wide as a terminal: a table that has no
// room is words all over the place, and warnings before the page.
func TestGroff(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		imsgtest.Lacks(t, "groff is not installed")
	}
	pages, err := filepath.Glob("*.[1-9]")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		cmd := exec.Command("groff", "-mdoc", "-Tutf8", "-rLL=78n", page)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil || said.Len() > 0 {
			t.Errorf("%s: %v\n%s", page, err, &said)
		}
	}
}

// TestLint has mandoc judge the pages.
func TestLint(t *testing.T) {
	if _, err := exec.LookPath("mandoc"); err != nil {
		if os.Getenv("GATED_REQUIRE") == "all" {
			t.Fatal("mandoc is not installed")
		}
		t.Skip("mandoc is not installed")
	}
	pages, err := filepath.Glob("*.[1-9]")
	if err != nil || len(pages) < 4 {
		t.Fatalf("pages are %v, error %v", pages, err)
	}
	// References to pages that are not installed here are no fault of ours, nor is it that
	// those of ours are, of which an index does not know yet.
	out, _ := exec.Command("mandoc", append([]string{"-Tlint"}, pages...)...).CombinedOutput()
	for line := range bytes.Lines(out) {
		if !bytes.Contains(line, []byte("referenced manual not found")) && !bytes.Contains(line, []byte("outdated mandoc.db")) {
			t.Errorf("%s", bytes.TrimSpace(line))
		}
	}
}

// TestOrders: who reads about the control socket is told of each order, and of no other.
func TestOrders(t *testing.T) {
	commands := map[string]string{
		"EndSession": "kill", "Lock": "lock add", "Unlock": "lock remove", "ReloadNow": "reload", "UpgradeNow": "upgrade", "StopNow": "stop",
		"SetLogLevel": "loglevel", "RateSetQuota": "rate set", "RateReset": "rate reset", "HistoryForget": "history forget", "ScanNow": "scan",
		"Trace": "trace", "ExemptAdd": "exempt add", "ExemptRemove": "exempt remove",
	}
	text, err := os.ReadFile("smtp-gatectl.8")
	if err != nil {
		t.Fatal(err)
	}
	_, said, _ := strings.Cut(string(text), "may give each of these orders:\n")
	said, _, _ = strings.Cut(said, "He can ")
	orders := 0
	for i := range imsg.Table {
		e := &imsg.Table[i]
		if !e.Order() {
			continue
		}
		orders++
		if command := commands[e.Name]; command == "" || !regexp.MustCompile(`(?m)^\.Ic `+command+`( [,.])?$`).MatchString(said) {
			t.Errorf("smtp-gatectl(8) does not say that %s, command %q, is an order", e.Name, command)
		}
	}
	if n := strings.Count(said, ".Ic "); n != orders {
		t.Errorf("there are %d orders, and smtp-gatectl(8) has %d", orders, n)
	}
}

// TestSeeAlso: what a page refers to by one of our names is a page of ours, and
// smtp-gated(8) leads to all of them.
func TestSeeAlso(t *testing.T) {
	pages, err := filepath.Glob("*.[1-9]")
	if err != nil || len(pages) < 7 {
		t.Fatalf("pages are %v, error %v", pages, err)
	}
	refers := regexp.MustCompile(`(?m)^\.Xr (smtp-gat\S+) ([1-9])`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, also, _ := strings.Cut(string(text), "\n.Sh SEE ALSO\n")
		var found []string
		for _, m := range refers.FindAllStringSubmatch(string(text), -1) {
			if other := m[1] + "." + m[2]; !slices.Contains(pages, other) {
				t.Errorf("%s refers to %s, which is no page", page, other)
			}
		}
		for _, m := range refers.FindAllStringSubmatch(also, -1) {
			found = append(found, m[1]+"."+m[2])
		}
		for _, other := range pages {
			if page == "smtp-gated.8" && other != page && !slices.Contains(found, other) {
				t.Errorf("%s does not lead to %s", page, other)
			}
		}
	}
}

// syntax is one of the two an option can be set in.
type syntax struct {
	name     func(config.Option) string
	title    func(section string) string
	accepted func(config.Option) string
	init     func(config.Option) string
	other    func(config.Option) string

	toml      bool
	elsewhere string // begins what is said of another default in the other syntax
}

var legacy = syntax{
	name:     func(o config.Option) string { return o.Name },
	title:    func(section string) string { return strings.ReplaceAll(section, ".", ", ") },
	accepted: config.Option.Accepted,
	init:     config.Option.Default,
	other: func(o config.Option) string {
		if len(o.Also) == 0 {
			return ""
		}
		return "Also spelled\n.Ic " + strings.Join(o.Also, " , ") + " .\n"
	},
	elsewhere: "In TOML:\n",
}

var toml = syntax{
	name:     func(o config.Option) string { return o.Path[strings.LastIndexByte(o.Path, '.')+1:] },
	title:    func(section string) string { return "[" + section + `]\&` },
	accepted: config.Option.AcceptedTOML,
	init:     config.Option.TOML,
	other:    func(o config.Option) string { return "In the old syntax\n.Ic " + o.Name + " .\n" },

	toml:      true,
	elsewhere: "In the old syntax, as in 1.4:\n",
}

// options describes every option, a subsection for each section.
func options(table []config.Option, s syntax) string {
	var b strings.Builder
	section := ""
	for _, o := range table {
		if next := o.Path[:strings.LastIndexByte(o.Path, '.')]; next != section {
			if section != "" {
				b.WriteString(".El\n" + s.arrays(section))
			}
			section = next
			fmt.Fprintf(&b, ".Ss %s\n.Bl -tag -width Ds\n", s.title(section))
		}
		fmt.Fprintf(&b, ".It Ic %s\n", roff(s.name(o)))
		b.WriteString(wrap(config.Speak(sentence(o.Help), s.toml)))
		if section != "messages" {
			b.WriteString(wrap("Accepted: " + s.accepted(o) + "."))
		}
		if o.Restart {
			b.WriteString("A change needs a restart.\n")
		}
		if o.Remote {
			b.WriteString("For the remote modes.\n")
		}
		b.WriteString(s.other(o))
		if init := s.init(o); init != "" && init != `""` && init != "[]" {
			b.WriteString("Default:\n" + wrap(init))
		}
		if o.Aged() {
			b.WriteString(s.elsewhere + wrap(o.DefaultIn(!s.toml)))
		}
	}
	b.WriteString(".El\n")
	return b.String()
}

// arrays describes the arrays of tables that belong to a section.
func (s syntax) arrays(section string) string {
	var b strings.Builder
	for _, a := range config.Arrays() {
		if !s.toml || a.Path[:strings.LastIndexByte(a.Path, '.')] != section {
			continue
		}
		fmt.Fprintf(&b, ".Ss [[%s]]\\&\n", a.Path)
		b.WriteString(wrap("Any number of tables: " + a.Help + "."))
		b.WriteString("The old syntax has none.\n.Bl -tag -width Ds\n")
		for _, o := range a.Keys {
			fmt.Fprintf(&b, ".It Ic %s\n", roff(s.name(o)))
			b.WriteString(wrap(sentence(o.Help)) + wrap("Accepted: "+o.AcceptedTOML()+"."))
			if o.Needed {
				b.WriteString("Must be there.\n")
			}
		}
		b.WriteString(".El\n")
	}
	return b.String()
}

// metrics lists what exporter serves, and what the values of labels mean.
func metrics() string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for m := imsg.NoMetric + 1; m < imsg.Metrics; m++ {
		row := imsg.MetricTable[m]
		fmt.Fprintf(&b, ".It Cm %s , No a %s", row.Name, row.Kind)
		if len(row.Labels) > 0 {
			fmt.Fprintf(&b, " by %s", strings.Join(row.Labels, " and "))
		}
		b.WriteString("\n" + wrap(row.Help))
		counters := imsg.CountersWith(func(r imsg.CounterRow) bool { return r.Metric == m && len(r.Labels) > 0 })
		if len(counters) == 0 {
			continue
		}
		b.WriteString(".Bl -tag -width Ds -compact\n")
		for _, c := range counters {
			r := imsg.CounterTable[c]
			fmt.Fprintf(&b, ".It Cm %s\n%s", strings.Join(r.Labels, " "), wrap(r.Help))
		}
		b.WriteString(".El\n")
	}
	b.WriteString(".El\n")
	return b.String()
}

// messages lists who says what to whom.
func messages() string {
	var b strings.Builder
	// groff breaks lines in the last column alone, so who hears is told there.
	b.WriteString(".Bl -column \"SessionConfig\" \"ExemptionList\" \"control, reader\"\n")
	b.WriteString(".It Sy message Ta Sy answer Ta Sy from Ta Sy to\n")
	for _, e := range imsg.Table {
		answer := "\\-"
		if e.Way == imsg.Ask {
			answer = e.Answer
		}
		fmt.Fprintf(&b, ".It %s Ta %s Ta %s Ta %s\n", e.Name, answer, who(e.From), who(e.To))
	}
	b.WriteString(".El\n")
	return b.String()
}

// who has a short word for all rooms.
func who(rooms imsg.Rooms) string {
	const all imsg.Rooms = 1<<imsg.AllRooms - 2 // no room has number 0
	if rooms&all == all {
		return strings.TrimSuffix("all rooms, "+(rooms&^all).String(), ", ")
	}
	return rooms.String()
}

// extensions describes what becomes of each EHLO keyword.
func extensions() string {
	var b strings.Builder
	b.WriteString(".Sh EXTENSIONS\n")
	b.WriteString(wrap("Which extensions of SMTP a server offers is told to the client in the reply to EHLO. " +
		"What changes how many replies come, which codes they bear, or whether octets are commands is masked unless the gateway follows it: " +
		"the fourth letter of its keyword becomes an asterisk, its commands are answered with 502 (STARTTLS with 454) and its parameters of MAIL and RCPT with 555. " +
		"Keywords that do not stand here pass."))
	b.WriteString(".Bl -tag -width Ds\n")
	for _, x := range smtp.Extensions {
		fmt.Fprintf(&b, ".It Ic %s\n", roff(x.Keyword))
		text := sentence(x.Source + ": " + x.Treatment.String() + " (" + x.Why + ")")
		if refused := slices.Concat(x.Verbs, x.Params); len(refused) > 0 {
			text += " Refused then: " + strings.Join(refused, ", ") + "."
		}
		b.WriteString(wrap(text))
	}
	b.WriteString(".El\n")
	return b.String()
}

// spoken wraps a text that names options: as TOML does, for pages are for both syntaxes.
func spoken(text string) string { return wrap(config.Speak(text, true)) }

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// roff keeps text from being taken for something else.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// wrap breaks text into lines that a diff shows well; a sentence begins a line.
func wrap(text string) string {
	var b strings.Builder
	n := 0
	words := strings.Fields(text)
	for i, w := range words {
		w = roff(w)
		last := i == len(words)-1
		b.WriteString(w)
		n += len(w)
		switch {
		case last || n > 64 || strings.HasSuffix(w, ".") && !slices.Contains([]string{"e.g.", "i.e."}, w):
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
	}
	return b.String()
}
