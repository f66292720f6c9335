// Package packages holds what packages of deb and rpm have in them: what they are made of
// lies in this folder. It has tests alone.
package packages

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			imsgtest.Lacks(t, "the program %s", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run is nice: others' tests, which go on beside the builds, count seconds.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("nice", append([]string{"-n", "19"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// file is one of a package.
type file struct{ mode, owner, link string }

// Each package, as its own tools tell it.
var (
	debLine = regexp.MustCompile(`^(\S+) (\S+) +\d+ \S+ \S+ \./(\S+?)(?: -> (\S+))?$`)
	rpmLine = regexp.MustCompile(`^(\S+) +\d+ (\S+) +(\S+) .* /(\S+?)(?: -> (\S+))?$`)
)

func filesOf(t *testing.T, list string, line *regexp.Regexp) map[string]file {
	t.Helper()
	files := map[string]file{}
	for text := range strings.Lines(list) {
		m := line.FindStringSubmatch(strings.TrimSpace(text))
		switch {
		case m == nil && strings.HasSuffix(strings.TrimSpace(text), " ./"):
		case m == nil:
			t.Errorf("what is %q?", text)
		case line == debLine:
			files[strings.TrimSuffix(m[3], "/")] = file{m[1], m[2], m[4]}
		default:
			files[m[4]] = file{m[1], m[2] + "/" + m[3], m[5]}
		}
	}
	return files
}

// TestPackages makes the packages twice, here and in a place without git, as an archive is:
// they are the same to the byte, and in them is what is to be, as Debian's and Red Hat's
// checkers want it.
func TestPackages(t *testing.T) {
	if testing.Short() || imsgtest.Brief() {
		t.Skip("builds everything twice")
	}
	needPrograms(t, "go", "make", "git", "dpkg-deb", "rpm", "lintian", "rpmlint")
	here, err := filepath.Abs("../..")
	must(t, err)
	dir := t.TempDir()
	other := filepath.Join(dir, "elsewhere", "tree")
	must(t, os.MkdirAll(other, 0o755))
	for name := range strings.Lines(run(t, here, "git", "-c", "safe.directory="+here, "ls-files")) {
		name = strings.TrimSpace(name)
		if _, err := os.Lstat(filepath.Join(here, name)); err != nil {
			continue // deleted, and not committed so
		}
		must(t, os.MkdirAll(filepath.Join(other, path.Dir(name)), 0o755))
		info, err := os.Stat(filepath.Join(here, name))
		must(t, err)
		text, err := os.ReadFile(filepath.Join(here, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(other, name), text, info.Mode().Perm()))
	}
	made := func(tree, out string) map[string]string {
		t.Helper()
		run(t, tree, "make", "-s", "packages", "OUT="+out, "VERSION=v2.7.1-rc2", "DATE=2026-11-30T12:00:00Z")
		sums := map[string]string{}
		entries, err := os.ReadDir(out)
		must(t, err)
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(out, e.Name()))
			must(t, err)
			sums[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		return sums
	}
	first, second := made(here, filepath.Join(dir, "1")), made(other, filepath.Join(dir, "2"))
	if len(first) != 2 || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("made twice they are\n%v\nand\n%v", first, second)
	}
	one := func(pattern string) string {
		t.Helper()
		found, _ := filepath.Glob(filepath.Join(dir, "1", pattern))
		if len(found) != 1 {
			t.Fatalf("there is no package like %s: %v", pattern, first)
		}
		return found[0]
	}
	deb, rpm := one("smtp-gated_2.7.1~rc2-1_*.deb"), one("smtp-gated-2.7.1~rc2-1.*.rpm")

	t.Run("lintian", func(t *testing.T) {
		if out := run(t, dir, "lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", deb); strings.Contains(out, "N: ") {
			t.Error(out)
		}
	})
	t.Run("rpmlint", func(t *testing.T) {
		out := run(t, dir, "rpmlint", "-c", filepath.Join(here, "etc/packages/rpmlint.toml"), rpm)
		if !strings.Contains(out, " 0 errors, 0 warnings") {
			t.Error(out)
		}
	})
	t.Run("files", func(t *testing.T) {
		debs := filesOf(t, run(t, dir, "dpkg-deb", "-c", deb), debLine)
		rpms := filesOf(t, run(t, dir, "rpm", "-qlvp", rpm), rpmLine)
		for name, f := range debs {
			judge(t, "deb", name, f)
		}
		for name, f := range rpms {
			judge(t, "rpm", name, f)
		}
		for _, name := range []string{
			"etc/smtp-gated/smtp-gated.toml", "etc/smtp-gated/smtp-gate-helper.conf",
			"usr/sbin/smtp-gated", "usr/sbin/smtp-gatectl", "usr/sbin/smtp-gate-helper", "usr/sbin/smtp-gated-export",
			"usr/lib/systemd/system/smtp-gated.service", "usr/lib/systemd/system/smtp-gated.socket",
			"usr/lib/systemd/system/smtp-gated-exporter.service", "usr/lib/systemd/system/smtp-gated-export.service",
			"usr/lib/systemd/system/smtp-gate-helper.service", "usr/lib/sysusers.d/smtp-gated.conf",
			"usr/share/man/man8/smtp-gated.8.gz", "usr/share/man/man8/smtp-gated-export.8.gz", "usr/share/man/man5/smtp-gated.toml.5.gz",
			"usr/share/doc/smtp-gated/changelog.gz", "usr/share/doc/smtp-gated/sbom/smtp-gated.cdx.json", "usr/share/doc/smtp-gated/examples",
			"usr/share/examples/smtp-gated/smtp-gated.toml", "usr/share/examples/smtp-gated/smtp-gated.rules.yml",
			"usr/share/bash-completion/completions/smtp-gatectl", "usr/share/fish/vendor_completions.d/smtp-gatectl.fish",
		} {
			if debs[name].mode == "" || rpms[name].mode == "" {
				t.Errorf("%s is in the deb: %v, in the rpm: %v", name, debs[name], rpms[name])
			}
		}
		for name, in := range map[string]map[string]file{
			"usr/share/doc/smtp-gated/copyright": debs, "usr/share/doc/smtp-gated/changelog.Debian.gz": debs, "usr/share/zsh/vendor-completions/_smtp-gatectl": debs,
			"usr/share/licenses/smtp-gated/copyright": rpms, "usr/share/licenses/smtp-gated/LICENSE.Apache-2.0": rpms, "usr/share/zsh/site-functions/_smtp-gatectl": rpms,
		} {
			if in[name].mode == "" {
				t.Errorf("%s is missing", name)
			}
		}
		// Folders of the system are not ours to own: Red Hat has other modes for some.
		for _, name := range []string{"usr", "usr/sbin", "usr/lib", "etc", "usr/share"} {
			if rpms[name].mode != "" {
				t.Errorf("the rpm owns /%s", name)
			}
		}
	})
	t.Run("inside", func(t *testing.T) {
		root := filepath.Join(dir, "root")
		run(t, dir, "dpkg-deb", "-x", deb, root)
		if out := run(t, dir, filepath.Join(root, "usr/sbin/smtp-gated"), "-v"); !strings.Contains(out, "2.7.1-rc2") {
			t.Errorf("its version is %s", out)
		}
		conf := run(t, dir, "dpkg-deb", "--ctrl-tarfile", deb)
		if !strings.Contains(conf, "/etc/smtp-gated/smtp-gated.toml\n") {
			t.Error("the configuration is no conffile")
		}
		if out := run(t, dir, "rpm", "-qp", "--qf", `[%{FILENAMES} %{FILEFLAGS:fflags}\n]`, rpm); !strings.Contains(out, "/etc/smtp-gated/smtp-gated.toml cn\n") {
			t.Errorf("the configuration is no file of the administrator's: %s", out)
		}
		must(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(name)
			for _, trace := range []string{"@SBIN@", "@SYSCONF@", dir} {
				if strings.Contains(string(text), trace) {
					t.Errorf("%s has %q in it", strings.TrimPrefix(name, root), trace)
				}
			}
			return err
		}))
	})
}

// judge says whether a file is root's, and no more open than it has to be.
func judge(t *testing.T, kind, name string, f file) {
	t.Helper()
	want := "-rw-r--r--"
	switch {
	case f.mode[0] == 'd':
		want = "drwxr-xr-x"
	case f.mode[0] == 'l':
		want = f.mode
	case strings.HasPrefix(name, "etc/"):
		want = "-rw-r-----"
	case strings.HasPrefix(name, "usr/sbin/"), strings.HasSuffix(name, ".sh"):
		want = "-rwxr-xr-x"
	}
	if f.mode != want || f.owner != "root/root" && f.owner != "0/0" {
		t.Errorf("in the %s %s has mode %s and is of %s, want %s", kind, name, f.mode, f.owner, want)
	}
}

// TestConfiguration: what the packages bring is right, and dangerous in nothing but what it
// says itself, that it knows no virus.
func TestConfiguration(t *testing.T) {
	c, _, err := config.Load("smtp-gated.toml")
	must(t, err)
	for _, a := range c.Listen {
		if !a.Addr().IsLoopback() {
			t.Errorf("it listens at %v", a)
		}
	}
	if len(c.Listen) == 0 || !c.FixedServer.IsLoopback() {
		t.Errorf("it listens at %v for the server %v", c.Listen, c.FixedServer)
	}
}

// TestUsers: those of the rooms, by their defaults, are made by the installation.
func TestUsers(t *testing.T) {
	text, err := os.ReadFile("../systemd/smtp-gated.sysusers")
	must(t, err)
	var made []string
	for _, m := range regexp.MustCompile(`(?m)^u +(\S+)`).FindAllStringSubmatch(string(text), -1) {
		made = append(made, m[1])
	}
	want := []string{"_smtpgate-helper"}
	for _, o := range config.OptionsTOML() {
		if m := regexp.MustCompile(`else (_smtpgated\S*)$`).FindStringSubmatch(o.Help); m != nil {
			want = append(want, m[1])
		}
	}
	slices.Sort(made)
	slices.Sort(want)
	if !slices.Equal(made, want) {
		t.Errorf("made are %v, needed %v", made, want)
	}
}
