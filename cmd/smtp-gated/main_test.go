// The stories: end-to-end tests of the programs as they are shipped. This file
// owns running each story as root and without.

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// patience is how long anything that must happen may take.
const patience = imsgtest.Patience

// programs is the folder that holds what is tested.
var programs string

func TestMain(m *testing.M) {
	launcher()
	flag.Parse()
	// A story waits more than it works.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("8")
	}
	syscall.Umask(0o022)
	dir, remove, err := imsgtest.Programs("..")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs = dir
	status := m.Run()
	remove()
	os.Exit(status)
}

func program(name string) string { return filepath.Join(programs, name) }

// playing builds the daemon as it is for a test alone: on an older kernel, without a word,
// or in a hurry.
func playing(t testing.TB, flags string) string {
	t.Helper()
	needProgram(t, "go")
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X github.com/smtp-gated/smtp-gated/cmd/internal/version.name=story "+flags, "-o", dir, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "smtp-gated")
}

// need skips a test that lacks something; with GATED_REQUIRE=all that is a failure.
func need(t interface {
	Fatal(...any)
	Skip(...any)
}, have bool, what string,
) {
	switch {
	case have:
	case os.Getenv("GATED_REQUIRE") == "all":
		t.Fatal("missing: " + what)
	default:
		t.Skip("missing: " + what)
	}
}

// needProgram returns where a program is, or skips.
func needProgram(t testing.TB, name string) string {
	t.Helper()
	found := findProgram(name)
	need(t, found != "", "the program "+name)
	return found
}

// findProgram returns where a program is, if it is.
func findProgram(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

// bothWays runs a test as root, where the rooms change user and root directory,
// and as somebody else, where they cannot.
func bothWays(t *testing.T, test func(t *testing.T, rooted bool)) {
	t.Run("root", func(t *testing.T) {
		need(t, os.Geteuid() == 0, "root")
		test(t, true)
	})
	t.Run("user", func(t *testing.T) { test(t, false) })
}

func TestStories(t *testing.T) {
	t.Parallel()
	tell(t, "testdata")
}

// TestFaults: stories in which mail flows while something goes wrong.
func TestFaults(t *testing.T) {
	t.Parallel()
	needProgram(t, "pgrep") // finds rooms without asking the daemon
	tell(t, filepath.Join("testdata", "faults"))
}

// tell tells the stories of a folder, each from how it begins.
func tell(t *testing.T, folder string, how ...func(*story)) {
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		testscript.Run(t, testscript.Params{
			Dir:       folder,
			Cmds:      commands,
			Condition: condition(rooted),
			Setup: func(env *testscript.Env) error {
				if err := begin(env, rooted); err != nil {
					return err
				}
				for _, set := range how {
					set(env.Values[storyKey{}].(*story))
				}
				return nil
			},
		})
	})
}

// TestStoriesSkipByNeed: testscript's own skip does not know GATED_REQUIRE. It is for
// what the other of bothWays tells.
func TestStoriesSkipByNeed(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	more, _ := filepath.Glob("testdata/*/*.txtar")
	stories = append(stories, more...)
	if err != nil || len(stories) == 0 {
		t.Fatal(err)
	}
	skip := regexp.MustCompile(`^(\[.*\] *)?skip\b`)
	for _, path := range stories {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(a.Comment)) {
			if skip.MatchString(line) && !strings.HasPrefix(line, "[root] ") && !strings.HasPrefix(line, "[!root] ") {
				t.Errorf("%s: say need: %s", path, line)
			}
		}
	}
}
