// What a process does before anything else: it goes into its sandbox. It has not read
// one octet from anybody; all it knows comes as arguments.

package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// Enter takes this process into the room that args, what followed -x, describe,
// and returns the room's link to the parent, and its root directory as
// sandbox.Spec.Enter has it. After an error the process must end.
func Enter(args []string) (room imsg.Room, link *os.File, root *os.Root, err error) {
	room, spec, err := parseArgs(args)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("enter: %w", err)
	}
	unix.CloseOnExec(linkFD)
	if root, err = spec.Enter(); err != nil {
		return 0, nil, nil, fmt.Errorf("enter %s: %w", room, err)
	}
	return room, os.NewFile(linkFD, "link to parent"), root, nil
}

// parseArgs reads a room's name and its sandbox.
func parseArgs(args []string) (imsg.Room, *sandbox.Spec, error) {
	if len(args) == 0 {
		return 0, nil, errors.New("no room is named")
	}
	room, ok := imsg.ParseRoom(args[0])
	if !ok || room == imsg.Parent {
		return 0, nil, fmt.Errorf("no room is called %q", args[0])
	}
	spec, err := sandbox.Parse(args[1:])
	return room, spec, err
}
