// What a room does before anything else: it goes into its sandbox. It runs in the
// room's process, before the room has read one octet from anybody; all it knows
// comes as arguments.

package parent

import (
	"errors"
	"fmt"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// Enter takes this process into the room that args, what followed -x, describe,
// and returns the room's link to the parent. After an error the process must end.
func Enter(args []string) (imsg.Room, *os.File, error) {
	r, spec, err := parseArgs(args)
	if err != nil {
		return 0, nil, fmt.Errorf("enter: %w", err)
	}
	if err := spec.Enter(); err != nil {
		return 0, nil, fmt.Errorf("enter %s: %w", r.Name, err)
	}
	return r.Name, spawn.Link(), nil
}

// parseArgs reads a room's name and its sandbox.
func parseArgs(args []string) (*room, *sandbox.Spec, error) {
	if len(args) == 0 {
		return nil, nil, errors.New("no room is named")
	}
	name, ok := imsg.ParseRoom(args[0])
	r := row(name)
	if !ok || r == nil {
		return nil, nil, fmt.Errorf("no room is called %q", args[0])
	}
	spec, err := sandbox.Parse(args[1:])
	if err != nil {
		return nil, nil, err
	}
	spec.Name, spec.Scripts = r.comm, r.scripts
	return r, spec, nil
}
