package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// BenchmarkCompare is the gateway beside HAProxy in TCP mode and no gateway at all: side by
// side, in turns, as ratios of one run. It is never a timed test: what takes how long fails
// nothing, what is not delivered does. The clamd behind us is not ours, and its CPU is not
// counted.
//
// With another program of ours, an older one say, that one is beside them, too.
//
//	make bench [ROUNDS=3] [BENCH_JSON=file] [BENCH_OTHER=/folder/smtp-gated]
func BenchmarkCompare(b *testing.B) {
	c := &comparison{Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	haproxy := needProgram(b, "haproxy")
	if version, _, found := strings.Cut(output(haproxy, "-v"), " - "); found {
		c.Machine += ", " + version
	}
	b.Run("load", func(b *testing.B) {
		for _, tool := range loaders() {
			if tool.needs != "" && findProgram(tool.needs) == "" {
				c.note("no " + tool.needs + ": its rows are left out")
				continue
			}
			b.Run(tool.name, func(b *testing.B) { c.loads(b, tool) })
		}
	})
	b.Run("accept", c.accept)
	b.Run("idle", c.idle)
	c.print(os.Stdout)
	if file := os.Getenv("BENCH_JSON"); file != "" {
		text, err := json.MarshalIndent(c, "", "  ")
		must(b, err)
		must(b, os.WriteFile(file, append(text, '\n'), 0o644))
	}
}

func output(program string, args ...string) string {
	out, _ := exec.Command(program, args...).Output()
	return string(out)
}

// comparison is what was measured: medians of so many rounds, in its JSON form. Times are
// in seconds, memory is in KiB; ratios are to HAProxy in the same round.
type comparison struct {
	Machine string      `json:"machine"`
	Rounds  int         `json:"rounds"`
	Loads   []loadRow   `json:"loads"`
	Accept  []acceptRow `json:"accept"`
	Idle    []idleRow   `json:"idle"`
	Notes   []string    `json:"notes"` // what was left out, and why
}

// load is what is sent in one go.
type load struct {
	name                            string
	sessions, mails, size, parallel int // mails in each session
}

func compared() []load {
	return []load{
		{"short", 1000, 1, 4096, 20},
		{"many", 20, 150, 1024, 20},
		{"big", 4, 5, 5_000_000, 4},
		{"serial", 300, 1, 4096, 1},
	}
}

func (l load) String() string {
	return fmt.Sprintf("%s: %d sessions, mails each %d, octets %d, at once %d", l.name, l.sessions, l.mails, l.size, l.parallel)
}

// loader sends mails, and has a sink for them.
type loader struct {
	name  string
	needs string // a program that is not ours
	sink  func(b *testing.B) (address string)
	send  func(b *testing.B, l load, to way) sample
}

// sample is what was measured once, in seconds; what a loader does not tell is 0.
type sample struct{ wall, cpu, median, p99 float64 }

func loaders() []loader {
	return []loader{{"smtp-gatectl", "", gatectlSink, sendByGatectl}, {"smtp-source", "smtp-source", postfixSink, sendBySource}}
}

// benched is what smtp-gatectl bench says, as far as it is asked here.
type benched struct {
	Complete bool
	Seconds  float64
	Rates    struct{ Sessions float64 }
	Latency  struct {
		Greeting  quantiles
		EndOfData quantiles `json:"end_of_data"`
	}
}

type quantiles struct{ Median, P99 float64 }

// gatectlBench sends; all must arrive.
func gatectlBench(b *testing.B, args ...string) (r benched) {
	b.Helper()
	out, err := exec.Command(program("smtp-gatectl"), append([]string{"bench", "--json"}, args...)...).Output()
	if wrong := json.Unmarshal(out, &r); err != nil || wrong != nil || !r.Complete {
		b.Fatalf("smtp-gatectl bench %v: %v, %v\n%s", args, err, wrong, out)
	}
	return r
}

func gatectlSink(b *testing.B) string {
	address := imsgtest.Port(b).String()
	listening(b, address, program("smtp-gatectl"), "bench", "--sink", address)
	return address
}

func sendByGatectl(b *testing.B, l load, to way) sample {
	r := gatectlBench(b, "--sessions", strconv.Itoa(l.sessions), "--mails", strconv.Itoa(l.mails),
		"--size", strconv.Itoa(l.size), "--parallel", strconv.Itoa(l.parallel), to.address)
	return sample{wall: r.Seconds, median: r.Latency.EndOfData.Median, p99: r.Latency.EndOfData.P99}
}

func postfixSink(b *testing.B) string {
	address := imsgtest.Port(b).String()
	args := []string{"-m", "4000", address, "1000"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	listening(b, address, needProgram(b, "smtp-sink"), args...)
	return address
}

func sendBySource(b *testing.B, l load, to way) sample {
	args := []string{"-s", strconv.Itoa(l.parallel), "-m", strconv.Itoa(l.sessions * l.mails), "-l", strconv.Itoa(l.size)}
	if l.mails > 1 {
		args = append(args, "-d")
	}
	cmd := exec.Command(needProgram(b, "smtp-source"), append(args, to.address)...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("smtp-source to %s: %v\n%s", to.name, err, out)
	}
	return sample{wall: time.Since(start).Seconds()}
}

// loadRow is a load that went a way. Added is to the direct way, in the same round.
type loadRow struct {
	Loader   string  `json:"loader"`
	Load     string  `json:"load"`
	Way      string  `json:"way"`
	Wall     float64 `json:"wall"`
	XWall    float64 `json:"wall_ratio"`
	CPU      float64 `json:"cpu"` // of all processes of the way
	XCPU     float64 `json:"cpu_ratio"`
	Mails    float64 `json:"mails_per_second"`
	Median   float64 `json:"end_of_data_median"`
	AddedMid float64 `json:"added_median"`
	AddedP99 float64 `json:"added_p99"`

	about string // of the load
}

func (c *comparison) loads(b *testing.B, tool loader) {
	ways := c.ways(b, tool.sink(b))
	for _, l := range compared() {
		b.Run(l.name, func(b *testing.B) {
			rounds := make([][]sample, len(ways))
			for range b.N {
				for i, to := range ways {
					before := cpuOf(b, to.pids...)
					s := tool.send(b, l, to)
					s.cpu = cpuOf(b, to.pids...) - before
					rounds[i] = append(rounds[i], s)
				}
			}
			c.measured(b)
			c.Loads = slices.DeleteFunc(c.Loads, func(r loadRow) bool { return r.Loader == tool.name && r.Load == l.name })
			for i, to := range ways {
				row := loadRow{
					Loader: tool.name, Load: l.name, Way: to.name, about: l.String(),
					Wall:   middle(b.N, func(n int) float64 { return rounds[i][n].wall }),
					XWall:  middle(b.N, func(n int) float64 { return rounds[i][n].wall / rounds[theirs][n].wall }),
					CPU:    middle(b.N, func(n int) float64 { return rounds[i][n].cpu }),
					XCPU:   middle(b.N, func(n int) float64 { return rounds[i][n].cpu / rounds[theirs][n].cpu }),
					Median: middle(b.N, func(n int) float64 { return rounds[i][n].median }),
				}
				row.Mails = float64(l.sessions*l.mails) / row.Wall
				row.AddedMid = middle(b.N, func(n int) float64 { return rounds[i][n].median - rounds[0][n].median })
				row.AddedP99 = middle(b.N, func(n int) float64 { return rounds[i][n].p99 - rounds[0][n].p99 })
				c.Loads = append(c.Loads, row)
			}
		})
	}
}

// theirs is which of the ways is HAProxy's; the first is the direct one.
const theirs = 1

func (c *comparison) ways(b *testing.B, sink string) []way {
	const sessions = 2100
	ways := []way{{name: "direct", address: sink}, throughHAProxy(b, sink, sessions)}
	socket := ""
	if findProgram("clamd") == "" {
		c.note("no clamd: its row is left out")
	} else {
		socket, _ = startClamd(b)
	}
	for _, daemon := range slices.Compact([]string{"", os.Getenv("BENCH_OTHER")}) {
		who := "ours"
		if daemon != "" {
			who = "other"
		}
		for _, of := range []struct{ what, own string }{
			{"", unscanned},
			{", log at info", unscanned + "log_level info\n"},
			{", builtin", builtinScan},
			{", clamd", clamdScan + socket + "\n"},
		} {
			if socket != "" || of.what != ", clamd" {
				ways = append(ways, throughUs(b, who+of.what, daemon, sink, sessions, of.own))
			}
		}
	}
	return ways
}

func (c *comparison) note(text string) {
	if !slices.Contains(c.Notes, text) {
		c.Notes = append(c.Notes, text)
	}
}

// measured ends rounds. Go runs one to warm up and then all: the rows of these come in the
// place of that one's.
func (c *comparison) measured(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	c.Rounds = b.N
}

// middle is the median of n values.
func middle(n int, value func(int) float64) float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = value(i)
	}
	slices.SortFunc(all, cmp.Compare)
	return all[n/2]
}

func (c *comparison) print(w io.Writer) {
	fmt.Fprintf(w, "\nBenchmarks, side by side, %s.\nMedians of rounds: %d. An x is how many times HAProxy's in the same round.\n", c.Machine, c.Rounds)
	for _, note := range c.Notes {
		fmt.Fprintln(w, note)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	defer tw.Flush()
	title := ""
	for _, r := range c.Loads {
		if of := r.Loader + ", " + r.about; of != title {
			title = of
			fmt.Fprintf(tw, "\n%s\n\twall ms\tx\tCPU ms\tx\tmails/s\tend of data µs\tadded µs\tadded p99 µs\t\n", title)
		}
		fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%s\t%s\t%.0f\t%s\t%s\t%s\t\n", r.Way, r.Wall*1e3, r.XWall,
			cell("%.0f", r.CPU*1e3), cell("%.2f", r.XCPU), r.Mails, cell("%.0f", r.Median*1e6), cell("%.0f", r.AddedMid*1e6), cell("%.0f", r.AddedP99*1e6))
	}
	if len(c.Accept) > 0 {
		fmt.Fprintf(tw, "\n%d short sessions beside %d idle ones\n\tsessions/s\tx\tgreeting µs\tp99 µs\t\n", acceptShort, acceptIdle)
	}
	for _, r := range c.Accept {
		fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%.0f\t%.0f\t\n", r.Way, r.Rate, r.XRate, r.Median*1e6, r.P99*1e6)
	}
	if len(c.Idle) > 0 {
		fmt.Fprintln(tw, "\nmemory (PSS) of all processes with idle sessions\n\tsessions\tempty MiB\tKiB/session over empty\tKiB/session of all\t")
	}
	for _, r := range c.Idle {
		fmt.Fprintf(tw, "%s\t%d\t%.1f\t%.1f\t%.1f\t\n", r.Way, r.Sessions, r.Empty/1024, r.Over, r.All)
	}
}

// cell is a number, or a mark where there is none.
func cell(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
