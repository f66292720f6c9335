// Programs that doctor asks: those that print a firewall's rules and routes. None is given
// anything to change, none gets a shell, and each is found in folders of the system alone.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// programFolders are where such programs lie.
var programFolders = []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"}

// maxPrinted bounds what one may print, in octets: a ruleset with long sets is some
// megabytes.
const maxPrinted = 64 << 20

// missingProgram is that there is none of this name.
type missingProgram string

func (m missingProgram) Error() string { return fmt.Sprintf("there is no %s", string(m)) }

// programPath is where a program lies, empty: nowhere.
func programPath(name string) string {
	for _, dir := range programFolders {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// wouldLoad tells whether the kernel would load a part of itself for a program, to say that
// there are no rules: nft, and an iptables made of it, have Linux do so.
func wouldLoad(name string) bool {
	path, err := filepath.EvalSymlinks(programPath(name))
	return err == nil && strings.Contains(filepath.Base(path), "nft") && lacksTables()
}

// lacksTables tells whether a kernel of Linux is without nf_tables, and says so.
func lacksTables() bool {
	if _, err := os.Stat("/sys/module/nf_tables"); err == nil {
		return false
	}
	// What is no module has no folder there.
	names, err := os.ReadFile("/proc/kallsyms")
	return err == nil && len(names) > 0 && !bytes.Contains(names, []byte(" nft_do_chain"))
}

// runProgram returns what a program prints.
func runProgram(ctx context.Context, name string, args ...string) (string, error) {
	path := programPath(name)
	if path == "" {
		return "", missingProgram(name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + strings.Join(programFolders, ":"), "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch {
	case out.full:
		err = errors.New("it prints too much")
	case ctx.Err() != nil:
		err = errors.New("it does not end")
	case err != nil && errs.Len() > 0:
		line, _, _ := strings.Cut(strings.TrimSpace(errs.String()), "\n")
		err = errors.New(line)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// bounded is a buffer that takes no more than maxPrinted.
type bounded struct {
	bytes.Buffer
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || b.Len()+len(p) > maxPrinted; b.full {
		return 0, errors.New("too much")
	}
	return b.Buffer.Write(p)
}
