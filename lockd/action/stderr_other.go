//go:build !linux

package action

import "os"

// openStderr has no pipe for a script here: what the script leaves running would be ended
// by SIGPIPE when we are gone.
func openStderr() *os.File { return nil }

func readStderr(*os.File, []byte) int { return 0 }
