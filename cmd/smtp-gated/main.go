// The runtime would keep the control group's CPU files open in every room.
//go:debug containermaxprocs=0

// Command smtp-gated is the gateway's daemon. Started plainly it is the parent of
// the family; started by the parent, with -x, it is one of the rooms.
//
// This file owns which of them it becomes. It is the only place that knows all
// the rooms.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/lockd"
	"github.com/smtp-gated/smtp-gated/lockd/action"
	"github.com/smtp-gated/smtp-gated/lookupd"
	"github.com/smtp-gated/smtp-gated/lookupd/nat"
	"github.com/smtp-gated/smtp-gated/parent"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
	"github.com/smtp-gated/smtp-gated/scand"
	"github.com/smtp-gated/smtp-gated/session"
	"github.com/smtp-gated/smtp-gated/session/keys"
)

// Set by the linker for tests: see parent.Options.
var kernel, without string

// The exit statuses of the old daemon.
const (
	exitFailure   = 1 // bad usage too
	exitBadConfig = 2
	exitManyAsked = 3
	exitHelp      = 10
	exitNoOption  = 255
)

// rooms live over their link to the parent. One whose words need no other names has its
// root directory besides.
var rooms = map[imsg.Room]func(*os.File, *os.Root) error{
	imsg.Session: rootless(session.Main),
	imsg.Lookupd: rootless(lookupd.Main),
	imsg.Scand:   rootless(scand.Main),
	imsg.Lockd:   lockd.Main,
	imsg.Action:  rootless(action.Main),
	imsg.Keys:    rootless(keys.Main),
}

func rootless(live func(*os.File) error) func(*os.File, *os.Root) error {
	return func(link *os.File, _ *os.Root) error { return live(link) }
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-x" {
		os.Exit(inside(os.Args[2:]))
	}
	os.Exit(command(os.Args[1:]))
}

// inside is a process the parent, Detach, or the room of scripts has started.
func inside(args []string) int {
	switch args[0] {
	case action.Stage:
		action.Become(args[1:])
		return exitFailure
	case imsg.Parent.String():
		switch {
		case len(args) == 2:
			return run(parent.Options{Config: args[1], Started: os.NewFile(3, "started")})
		case len(args) > 2 && args[2] == "heir":
			return run(parent.Options{Config: args[1], Heir: true, Foreground: len(args) > 3})
		}
		return exitFailure
	}
	room, link, root, err := spawn.Enter(args)
	if err == nil {
		err = rooms[room](link, root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailure
	}
	return 0
}

// start runs the daemon, in the background unless foreground.
func start(file string, foreground bool) int {
	file, err := filepath.Abs(file)
	if err != nil {
		return complain(err)
	}
	if foreground {
		return run(parent.Options{Config: file, Foreground: true})
	}
	// What is wrong with the file is best said before anything is started.
	_, warnings, err := config.Read(file)
	if err != nil {
		return badConfig(err)
	}
	sayWarnings(warnings)
	status, err := host.Detach(file)
	if err != nil {
		return complain(err)
	}
	return status
}

func run(o parent.Options) int {
	// A crash, and a hang that the service manager ends by SIGABRT, is no exit status: the
	// runtime's own is that of a bad configuration, with which nobody starts us again.
	debug.SetTraceback("crash")
	o.Version, o.CompileDate, o.Filter = version.Name(), version.Date(), openFilter
	o.Load, o.Kernel, o.Without = process.Load, kernel, without
	err := parent.Run(o)
	if bad := new(config.Invalid); errors.As(err, &bad) {
		return badConfig(bad.Err)
	}
	if err != nil {
		return complain(err)
	}
	return 0
}

// openFilter opens what the parent hands to lookupd. Rooms do not know each other,
// so neither does the parent know how.
func openFilter(m imsg.Mode) (*os.File, error) {
	if m == imsg.ModeIpfilter {
		return nat.Open(nat.IPFilterDevice)
	}
	return nat.Open(nat.PFDevice)
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "smtp-gated:", err)
	return exitFailure
}

func badConfig(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return exitBadConfig
}
