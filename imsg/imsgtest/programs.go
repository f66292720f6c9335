package imsgtest

import (
	"fmt"
	"os"
	"os/exec"
)

// built names the folder of programs that were built before, for a system without go.
const built = "GATED_PROGRAMS"

// Programs returns a folder that holds all programs, built from the folders in cmd as
// make does but of version "story", and a function that removes it. Every user can
// read it.
func Programs(cmd string) (dir string, remove func(), err error) {
	if dir := os.Getenv(built); dir != "" {
		return dir, func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "smtp-gated-bin"); err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	if err = os.Chmod(dir, 0o755); err == nil {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X github.com/smtp-gated/smtp-gated/cmd/internal/version.name=story", "-o", dir, "./...")
		build.Dir, build.Env = cmd, append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("build the programs: %w\n%s", err, out)
		}
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}
