package imsgtest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Lacks skips a test for want of something; with GATED_REQUIRE=all it fails.
func Lacks(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("GATED_REQUIRE") == "all" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Folder returns a new folder that other users can reach.
func Folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unpacked names the folder that holds packages of servers which are not
// installed, unpacked with dpkg -x: exim4-daemon-heavy, opensmtpd, and the
// libraries of theirs that are missing here.
const unpacked = "GATED_MTA_ROOT"

// Unpacked finds a file of a server's package, or skips the test.
func Unpacked(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(os.Getenv(unpacked), name)
	if _, err := os.Stat(path); err != nil {
		Lacks(t, "no %s, and %s names no folder with one: %v", name, unpacked, err)
	}
	return path
}

// Stranger finds the program of a server that is unpacked and returns a function
// that makes commands of it. They run in a mount namespace where a user exists whom
// the package would have made, with a second one like OpenSMTPD's, and where binds
// stand over folders. The folders become that user's.
func Stranger(t testing.TB, program, owner string, folders []string, binds map[string]string) func(args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		Lacks(t, "%s starts as root only", program)
	}
	path := Unpacked(t, "usr/sbin/"+program)
	dir := Folder(t)
	for name, line := range map[string]string{
		"passwd": owner + ":x:4711:4711::/nonexistent:/usr/sbin/nologin\n" + owner[:len(owner)-1] + "q:x:4712:4712::/nonexistent:/usr/sbin/nologin\n",
		"group":  owner + ":x:4711:\n" + owner[:len(owner)-1] + "q:x:4712:\n",
	} {
		known, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(line+string(known)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range folders {
		if err := os.Chown(f, 4711, 4711); err != nil {
			t.Fatal(err)
		}
	}
	script := "mount --bind " + dir + "/passwd /etc/passwd && mount --bind " + dir + "/group /etc/group && "
	for _, to := range slices.Sorted(maps.Keys(binds)) {
		script += "mount --bind " + binds[to] + " " + to + " && "
	}
	script += `exec "$@"`
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh", path}, args...)...)
		lib := filepath.Join(os.Getenv(unpacked), "usr/lib")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join([]string{lib + "/x86_64-linux-gnu", lib + "/aarch64-linux-gnu"}, ":"))
		return cmd
	}
}

// TempFile makes a file that goes with the test.
func TempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
