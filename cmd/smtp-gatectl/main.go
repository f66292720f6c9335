// Command smtp-gatectl is the operator's tool: it shows what the family does,
// steers it over the control socket, checks a configuration before it is put in
// force, and demonstrates the whole on one machine.
//
// This file owns the command line and the exit status. It must never speak to
// the daemon itself: that is control.go.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // the daemon is not there, or did not do what was asked
	exitUsage  = 2 // the command line or the checked configuration is wrong

	exitDegraded = 3 // status --check: something is wrong; scan: a message would be refused
	exitDown     = 4 // and no session can succeed
)

func main() {
	if code, is := helperMain(os.Args[1:]); is {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// errConfig is wrapped by complaints about a configuration, errUsage by those
// about an argument.
var (
	errConfig = errors.New("configuration is wrong")
	errUsage  = errors.New("wrong argument")
)

// tool is what all commands share.
type tool struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	socket   string   // control socket, if given
	config   string   // configuration that names it, if given
	known    []string // where it was found to be
	started  bool     // a command has begun: errors are no longer about usage
}

// run is main without the process around it.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	t := &tool{in: in, out: out, err: errs}
	root := t.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	c, err := root.ExecuteC()
	var outcome interface{ exitStatus() int }
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &outcome): // which was printed
		return outcome.exitStatus()
	case !t.started || errors.Is(err, errUsage):
		fmt.Fprintf(errs, "smtp-gatectl: %v\nTry `%s --help`.\n", err, c.CommandPath())
		return exitUsage
	case errors.Is(err, errConfig):
		fmt.Fprintf(errs, "smtp-gatectl: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(errs, "smtp-gatectl: %v\n", err)
	return exitFailed
}

func (t *tool) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "smtp-gatectl",
		Short: "Look at and steer a running smtp-gated",
		Long: `smtp-gatectl looks at and steers a running smtp-gated over its control socket. Who may
not use that looks over the read socket, if that is theirs to use.

Exit status: 0 all went well, 1 the daemon is not there or refused,
2 the command line or the checked configuration is wrong; of status --check and
doctor 3 something is wrong, 4 no session can succeed, or something is red.`,
		Version:       version.Name(),
		Args:          cobra.NoArgs,
		RunE:          commandMissing,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			t.started = true
			if t.socket != "" && t.config != "" {
				return fmt.Errorf("%w: --socket and --config both name a control socket", errUsage)
			}
			return nil
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&t.socket, "socket", "", "control socket, or read socket (default: those that --config names, else "+strings.Join(config.Default().ControlPaths(), " and ")+")")
	flags.StringVar(&t.config, "config", "", "configuration of the daemon to talk to")
	flags.BoolVar(&t.json, "json", false, "print JSON for machines")
	root.AddCommand(
		t.statusCommand(),
		t.topCommand(),
		t.roomsCommand(),
		t.sessionsCommand(),
		t.killCommand(),
		t.eventsCommand(),
		t.traceCommand(),
		t.explainCommand(),
		t.historyCommand(),
		t.scanCommand(),
		t.lockCommand(),
		t.rateCommand(),
		t.exemptCommand(),
		t.logLevelCommand(),
		t.reloadCommand(),
		t.upgradeCommand(),
		t.stopCommand(),
		t.configCommand(),
		t.checkCommand(),
		t.doctorCommand(),
		t.rulesCommand(),
		t.convertCommand(),
		t.demoCommand(),
		t.exporterCommand(),
		t.benchCommand(),
	)
	nameNoFiles(root)
	return root
}

// commandMissing runs where only a command's name was given that has others below it.
func commandMissing(*cobra.Command, []string) error {
	return fmt.Errorf("%w: which command?", errUsage)
}
