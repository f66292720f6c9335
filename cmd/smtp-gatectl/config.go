// The command config: which configuration is in force, where each value comes from, and
// what a reload would change. This file owns that what is shown is that of the daemon which
// answers, and not one that was left behind.

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

const (
	// largestConfig is more than any that is written.
	largestConfig = 1 << 20
	// configTime is for a daemon to write what has just come into force.
	configTime = 2 * time.Second
)

func (t *tool) configCommand() *cobra.Command {
	var diff, origin bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration in force, and what a reload would change",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if diff && origin {
				return fmt.Errorf("%w: --diff and --origin do not go together", errUsage)
			}
			s, r, err := t.running()
			if err != nil {
				return err
			}
			switch {
			case diff:
				return t.showChanges(s.Config, r)
			case t.json:
				return printJSON(t.out, settingsOf(r))
			}
			return r.Show(t.out, origin)
		},
	}
	cmd.Flags().BoolVar(&diff, "diff", false, "show what a reload would change now, a line an option")
	cmd.Flags().BoolVar(&origin, "origin", false, "show behind each value in which line of the file it stands, or that it is the default")
	return cmd
}

// running asks the daemon who it is, and reads what its main process has written. That may
// just be coming into force.
func (t *tool) running() (*status, *config.Running, error) {
	paths, err := t.paths()
	if err != nil {
		return nil, nil, err
	}
	c, err := t.look()
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	for end := time.Now().Add(configTime); ; time.Sleep(configTime / 20) {
		s, err := c.status()
		if err != nil {
			return nil, nil, err
		}
		r, err := s.readRunning(paths[0])
		if err == nil || time.Now().After(end) || errors.Is(err, fs.ErrPermission) {
			return s, r, err
		}
	}
}

// readRunning reads the configuration in force beside the control socket: that of the
// daemon which answers, or, if another socket was named, that of its file.
func (s *status) readRunning(control string) (*config.Running, error) {
	r, err := s.readRunningAt(config.RunningFile(control))
	if errors.Is(err, fs.ErrNotExist) {
		if c, _, lerr := config.Load(s.Config); lerr == nil {
			r, err = s.readRunningAt(c.RunningFile())
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("only root and the daemon's own user may read which configuration is in force: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the daemon has not written which configuration is in force; its log says why: %w", err)
	}
	return r, err
}

func (s *status) readRunningAt(path string) (*config.Running, error) {
	f, err := host.OpenOwnName(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largestConfig))
	if err != nil {
		return nil, err
	}
	r, err := config.ParseRunning(path, text)
	if err != nil {
		return nil, err
	}
	for _, room := range s.Rooms {
		if room.Name == imsg.Parent.String() && (room.PID != r.PID || s.Generation != r.Generation) {
			return nil, fmt.Errorf("%s was left behind: it is of generation %d of process %d, in force is generation %d of process %d", path, r.Generation, r.PID, s.Generation, room.PID)
		}
	}
	return r, nil
}

// setting is one option in force; its fields are the JSON form. Values are as TOML writes
// them.
type setting struct {
	Option  string `json:"option"`
	Value   string `json:"value"`
	Secret  bool   `json:"secret"`
	Origin  string `json:"origin"`
	Restart bool   `json:"needs_restart"`
}

func settingsOf(r *config.Running) []setting {
	all := []setting{}
	for _, s := range r.Settings() {
		all = append(all, setting{s.Name, s.Value, s.Secret, s.Origin, s.Restart})
	}
	return all
}

// change is what a reload would change; its fields are the JSON form.
type change struct {
	Option  string `json:"option"`
	Running string `json:"running"`
	File    string `json:"file"`
	Restart bool   `json:"needs_restart"`
}

// showChanges compares what is in force with the file at path, as a reload would read it.
func (t *tool) showChanges(path string, r *config.Running) error {
	next, _, err := config.Read(path)
	if err != nil {
		return fmt.Errorf("%w, a reload would change nothing:\n%w", errConfig, err)
	}
	all := []change{}
	for _, c := range r.Changes(next) {
		all = append(all, change{c.Name, c.Running, c.File, c.Restart})
	}
	for _, name := range r.Uncomparable(next) {
		fmt.Fprintf(t.err, "smtp-gatectl: %s is a secret: whether the file has another is not known here\n", name)
	}
	if t.json {
		return printJSON(t.out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.out, "a reload would change nothing")
		return err
	}
	tw := columns(t.out)
	fmt.Fprintln(tw, "OPTION\tRUNNING\tFILE\t")
	for _, c := range all {
		mark := ""
		if c.Restart {
			mark = "needs a restart"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", c.Option, clean(c.Running), clean(c.File), mark)
	}
	return tw.Flush()
}
