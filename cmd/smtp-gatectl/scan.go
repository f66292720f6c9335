// The command scan: what the gateway would do with a message that is a file here.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// scanResult is what came of one file: its fields are the JSON form.
type scanResult struct {
	File    string             `json:"file" help:"as it was named, or found"`
	Size    int64              `json:"size" help:"octets"`
	Verdict string             `json:"verdict" help:"pass, refuse, defer: the client is to try again, or error: nobody has looked"`
	Reply   string             `json:"reply,omitempty" help:"what a client would hear; absent: what its server answers"`
	Engines listOf[scanEngine] `json:"engines" help:"what each engine says"`
	Skipped []scanSkip         `json:"skipped,omitempty" help:"what nobody was asked, and why"`
	Would   []string           `json:"would,omitempty" help:"rules of policy.monitor that would refuse it"`
	Problem string             `json:"problem,omitempty" help:"why nobody has looked"`

	Unscanned bool `json:"unscanned,omitempty" help:"it would pass although an engine that is to look at it came to no verdict"`
}

type scanEngine struct {
	Engine  string  `json:"engine" help:"its name; empty: nobody answered for the role"`
	Roles   string  `json:"roles" help:"what it was asked: virus, spam, or both"`
	Outcome string  `json:"outcome" help:"clean, caught, which is spam from the threshold on, failed, or timed out"`
	Name    string  `json:"name,omitempty" help:"of the virus"`
	Score   float64 `json:"score" help:"of spam, where that was asked"`
	Seconds float64 `json:"seconds" help:"how long it took"`
	Problem string  `json:"problem,omitempty" help:"why it came to no verdict"`
}

type scanSkip struct {
	Roles string `json:"roles" help:"virus or spam"`
	Cause string `json:"cause" help:"size or load"`
}

// The verdicts.
const (
	scanPass   = "pass"
	scanRefuse = "refuse"
	scanDefer  = "defer"
	scanError  = "error"
)

// scanEnd is what came of all files.
type scanEnd struct{ files, failed, refused int }

// Error implements error; nobody is shown it.
func (e scanEnd) Error() string {
	return fmt.Sprintf("of %s %d were not looked at and %d would be refused", plural(e.files, "file"), e.failed, e.refused)
}

func (e scanEnd) exitStatus() int {
	if e.failed > 0 {
		return exitFailed
	}
	return exitDegraded
}

func (t *tool) scanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scan PATH...",
		Short: "Have the scanners look at files, and tell what would become of such messages",
		Long: `scan has the daemon's scanners look at each file, and at each one below a folder, as at
a message that a client sends, and prints what each engine says, and what the gateway
would say. Nobody is locked, and nothing is kept, told or run.

Exit status: 0 each message would pass, 1 one could not be looked at or is deferred,
3 one would be refused.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := t.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			var end scanEnd
			for _, path := range args {
				err := walkFiles(path, func(name string, f *os.File, err error) error {
					r := scanResult{File: clean(name), Verdict: scanError}
					if err == nil {
						r, err = c.scan(context.Background(), name, f)
					}
					if err != nil {
						r.Problem = clean(err.Error())
					}
					end.add(&r)
					if perr := t.printScan(&r); perr != nil {
						return perr
					}
					if errors.Is(err, imsg.Gone) || errors.Is(err, imsg.ReadOnly) { // so it would be of all
						return err
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			if end.files == 0 {
				return errors.New("there is no file to look at")
			}
			if end.failed+end.refused > 0 {
				return end
			}
			return nil
		},
	}
}

func (e *scanEnd) add(r *scanResult) {
	e.files++
	switch r.Verdict {
	case scanRefuse:
		e.refused++
	case scanError, scanDefer:
		e.failed++
	}
}

// walkFiles shows each file at or below a path, open for reading, or why it cannot be. What
// lies below a folder and is neither file nor folder is left out.
func walkFiles(path string, show func(name string, f *os.File, err error) error) error {
	root := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		root += "/" // be it a symbolic link
	}
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return show(name, nil, err)
		}
		if name != root && !d.Type().IsRegular() || d.IsDir() {
			return nil
		}
		// A pipe that has taken a file's place meanwhile keeps nobody waiting.
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return show(name, nil, err)
		}
		defer f.Close()
		return show(name, f, nil)
	})
}

// scan has the daemon look at one file, for as long as there is a use for it.
func (c *control) scan(ctx context.Context, name string, f *os.File) (scanResult, error) {
	r := scanResult{File: clean(name), Verdict: scanError, Engines: []scanEngine{}}
	v, err := askUntil(ctx, c, &imsg.ScanNow{}, imsg.Longest, f)
	if err != nil {
		return r, err
	}
	if v.Errno != 0 {
		return r, refused{v.Errno, or(v.Detail, v.Errno.Error())}
	}
	r.Size, r.Reply, r.Unscanned = v.Size, v.Reply, v.Unscanned
	switch {
	case v.Reply == "":
		r.Verdict = scanPass
	case strings.HasPrefix(v.Reply, "4"):
		r.Verdict = scanDefer
	default:
		r.Verdict = scanRefuse
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		e := scanEngine{
			Roles: f.Roles.String(), Outcome: f.Outcome.String(), Name: f.Name, Score: f.Score,
			Seconds: f.Time.Seconds(), Problem: f.Problem,
		}
		if f.Engine != imsg.EngineOff {
			e.Engine = f.Engine.String()
		}
		r.Engines = append(r.Engines, e)
	}
	for _, s := range v.Skipped {
		r.Skipped = append(r.Skipped, scanSkip{s.Roles.String(), s.Cause})
	}
	for rule := range imsg.PolicyRules {
		if v.Would.Has(rule) {
			r.Would = append(r.Would, rule.String())
		}
	}
	return r, nil
}

// printScan prints what came of one file: for machines an object a line.
func (t *tool) printScan(r *scanResult) error {
	if t.json {
		return printJSONLine(t.out, r)
	}
	return r.print(t.out)
}

func (r *scanResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%s", r.File)
	if r.Problem != "" {
		_, err := fmt.Fprintf(w, ": nobody has looked: %s\n", r.Problem)
		return err
	}
	fmt.Fprintf(w, " (%s)\n", octets(r.Size))
	tw := columns(w)
	fmt.Fprintln(tw, "  ENGINE\tLOOKS FOR\tSAYS\tWORD\tSCORE\tTIME")
	for _, e := range r.Engines {
		word, score := e.Name, "-"
		if e.Problem != "" {
			word = e.Problem
		}
		if strings.Contains(e.Roles, imsg.RoleSpam.String()) && e.Problem == "" {
			score = fmt.Sprintf("%.1f", e.Score)
		}
		took := time.Duration(e.Seconds * float64(time.Second)).Round(time.Microsecond)
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", or(e.Engine, "no engine"), e.Roles, e.Outcome, or(word, "-"), score, took)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "  nobody looks for %s: %s\n", s.Roles, s.Cause)
	}
	if len(r.Would) > 0 {
		fmt.Fprintf(w, "  would be refused, were it not monitored: %s\n", strings.Join(r.Would, ", "))
	}
	says := r.Reply
	switch {
	case says != "":
	case r.Unscanned:
		says = "passes, although not all came to a verdict"
	default:
		says = "passes"
	}
	_, err := fmt.Fprintf(w, "  gateway: %s\n", says)
	return err
}
