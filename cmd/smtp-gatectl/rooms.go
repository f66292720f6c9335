// The command rooms: what each process of the family is, may and takes.

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

func (t *tool) roomsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rooms",
		Short: "Show what each room is held by, and what it takes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var now time.Time
			find := func(c *control) ([]roomProcess, error) {
				s, err := c.status()
				if err != nil {
					return nil, err
				}
				now = s.Now
				return s.processes(inspect), nil
			}
			return show(t, find, func(w io.Writer, list []roomProcess) error { return printProcesses(w, list, now) })
		},
	}
}

// roomProcess is a room and its process: its fields are the JSON form. What may not be
// looked at, or is not shown on this system, is null.
type roomProcess struct {
	Name       string    `json:"room"`
	Member     int       `json:"member"`
	PID        int       `json:"pid"`
	Generation int       `json:"generation"`
	State      string    `json:"state"`
	Started    time.Time `json:"started"`
	Restarts   uint64    `json:"restarts"` // of all rooms of the name
	process
}

// process is what the kernel shows of one.
type process struct {
	UID      *int     `json:"uid"`
	Layers   []string `json:"layers"` // of the sandbox that hold it
	Memory   *int64   `json:"memory"` // resident, in octets
	Peak     *int64   `json:"memory_peak"`
	Files    *int64   `json:"descriptors"`
	MaxFiles *int64   `json:"descriptors_max"`
}

// The layers that are told from each other by name.
const (
	seccomp  = "seccomp"
	landlock = "landlock"
)

// processes looks at each room.
func (s *status) processes(look func(pid int) process) []roomProcess {
	list := []roomProcess{}
	for _, r := range s.Rooms {
		p := look(r.PID)
		// The kernel shows no Landlock. It comes with the filter, where there is any.
		if slices.Contains(p.Layers, seccomp) && !slices.Contains(s.Lacks, sandbox.LacksLandlock) {
			p.Layers = append(p.Layers, landlock)
		}
		list = append(list, roomProcess{
			Name: r.Name, Member: r.Member, PID: r.PID, Generation: r.Generation, State: r.State, Started: r.Started,
			Restarts: s.Restarts[r.Name], process: p,
		})
	}
	return list
}

func printProcesses(w io.Writer, list []roomProcess, now time.Time) error {
	tw := columns(w)
	fmt.Fprintln(tw, "ROOM\tPID\tUID\tSTATE\tGEN\tUP\tRESTARTS\tMEMORY\tPEAK\tFILES\tHELD BY")
	for _, r := range list {
		files := "-"
		if r.Files != nil {
			files = fmt.Sprint(*r.Files)
		}
		if r.Files != nil && r.MaxFiles != nil {
			files += " of " + fmt.Sprint(*r.MaxFiles)
		}
		held := strings.Join(r.Layers, " ")
		if r.Layers != nil && held == "" {
			held = "nothing"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", r.Name, r.PID, known(r.UID, number), r.State, r.Generation,
			span(now.Sub(r.Started)), r.Restarts, known(r.Memory, octets), known(r.Peak, octets), files, or(held, "-"))
	}
	return tw.Flush()
}

// known words what may not be known.
func known[T any](v *T, word func(T) string) string {
	if v == nil {
		return "-"
	}
	return word(*v)
}

func number(n int) string { return fmt.Sprint(n) }
