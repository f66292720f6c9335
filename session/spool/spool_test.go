package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// One who may read the spool can lock a file that is just being made; that must
// not hold up the session.
func TestLockedByOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "1.1.part")
	stop, ended := make(chan struct{}), make(chan []*os.File)
	go func() {
		var held []*os.File
		for {
			select {
			case <-stop:
				ended <- held
				return
			default:
			}
			if f, err := os.Open(name); err == nil && unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				held = append(held, f)
			} else if err == nil {
				f.Close()
			}
		}
	}()
	for range 40 {
		f, err := create(name, 0o644)
		if err != nil {
			continue // a session is put off, no worker waits
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Error("it is not locked:", err)
		}
		f.Close()
		os.Remove(name)
	}
	close(stop)
	for _, f := range <-ended {
		f.Close()
	}
}

func TestSweep(t *testing.T) {
	if err := os.MkdirAll(t.TempDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	os.WriteFile("1.2.part", []byte("left over"), 0o600)
	others := []string{"1.3", "film.part", "1.4.part.part", ".part", "1.part", ".1.part", "1..part", "1.2.3.part", "-1.2.part"}
	for _, name := range others {
		os.WriteFile(name, []byte("kept"), 0o600)
	}
	if err := Sweep(slog.New(slog.DiscardHandler), true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("1.2.part"); err != nil {
		t.Errorf("a folder that others use was swept: %v", err)
	}
	if err := Sweep(slog.New(slog.DiscardHandler), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("1.2.part"); !os.IsNotExist(err) {
		t.Errorf("left-over file: %v", err)
	}
	for _, name := range others {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("kept file: %v", err)
		}
	}
}

// A message is read while it lies there, kept under its own name or not at all, and
// the file is used again.
func TestFile(t *testing.T) {
	t.Chdir(t.TempDir())
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	var f File
	for _, keep := range []bool{false, true, false} {
		if err := f.Begin(new(Pool), "1.2", 0o600, []byte("head\n")); err != nil {
			t.Fatal(err)
		}
		if err := f.Write([]byte("text\n")); err != nil {
			t.Fatal(err)
		}
		r, err := f.Reader()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte("x")); err == nil {
			t.Error("a reader can write")
		}
		if got := read(f.Name()); got != "head\ntext\n" || f.Size() != 10 || f.Kept() != "" {
			t.Errorf("%q, %d octets, kept as %q", got, f.Size(), f.Kept())
		}
		f.Finish(keep)
		f.Finish(!keep) // too late
		switch {
		case keep && (f.Kept() != "1.2" || read("1.2") != "head\ntext\n"):
			t.Errorf("kept as %q", f.Kept())
		case !keep && (f.Kept() != "" || read(f.Name()) != ""):
			t.Errorf("it is left: %q", read(f.Name()))
		}
	}
	f.Drop()
	if _, err := os.Stat("1.2.part"); err == nil {
		t.Error("it is there still")
	}
}

// FuzzIsPartial: of all names only those that sessions give may be removed.
func FuzzIsPartial(f *testing.F) {
	for _, name := range []string{"1.2.part", ".part", "..part", "1.part", "1.2.part.part", "1.2", "../1.2.part", "\uff11.2.part"} {
		f.Add(name, uint64(1), uint64(2))
	}
	form := regexp.MustCompile(`^[0-9]+\.[0-9]+\.part$`)
	f.Fuzz(func(t *testing.T, name string, start, n uint64) {
		if isPartial(name) != (form.MatchString(name) && !strings.HasSuffix(name, "\n")) {
			t.Errorf("%q: %v", name, isPartial(name))
		}
		if ours := fmt.Sprintf("%d.%d", start, n); !isPartial(ours+partial) || isPartial(ours) {
			t.Errorf("%q", ours)
		}
	})
}

// TestOthersFile: what another worker, which has our user and our folder, puts in the
// place of the file, or writes to it, nobody scans.
func TestOthersFile(t *testing.T) {
	t.Chdir(t.TempDir())
	old := unix.Umask(0)
	defer unix.Umask(old)
	var p File
	if err := p.Begin(new(Pool), "1.2", 0o664, []byte("a virus")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat("1.2.part")
	if err != nil || info.Mode() != 0o464 {
		t.Errorf("while it is under way: %v, %v", info.Mode(), err)
	}
	if os.Geteuid() != 0 {
		if f, err := os.OpenFile("1.2.part", os.O_WRONLY, 0); err == nil {
			f.Close()
			t.Error("another can write to it")
		}
	}
	if _, err := p.Reader(); err != nil {
		t.Fatal(err)
	}
	p.Finish(true)
	if info, err := os.Stat("1.2"); err != nil || info.Mode() != 0o464 || p.Kept() != "1.2" {
		t.Errorf("kept as %q: %v, %v", p.Kept(), info, err)
	}
	if err := p.Begin(new(Pool), "1.2", 0o664, []byte("a virus")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("evil", []byte("harmless"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, put := range []func() error{
		func() error { return os.Rename("evil", "1.2.part") },
		func() error { return errors.Join(os.Remove("1.2.part"), os.Symlink("evil", "1.2.part")) },
		func() error { return errors.Join(os.Remove("1.2.part"), unix.Mkfifo("1.2.part", 0o600)) },
		func() error { return os.Remove("1.2.part") },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Reader(); err == nil {
			t.Error("another file is scanned")
		}
	}
	p.Drop()
}

// TestCreateWhileSwept: a sweep that has a file which is just being made, and is slow,
// removes that one and not the next of the same name.
func TestCreateWhileSwept(t *testing.T) {
	t.Chdir(t.TempDir())
	const name = "1.2.part"
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { ended <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, err := os.Open(name)
			if err != nil {
				continue
			}
			// As Sweep does.
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isNamed(f, name) {
				n++
				time.Sleep(time.Millisecond)
				os.Remove(name)
				f.Close()
				time.Sleep(5 * time.Millisecond) // one sweep passes a name once
				continue
			}
			f.Close()
		}
	}()
	for i := range 1000 {
		f, err := create(name, 0o600)
		if err != nil {
			t.Error(err)
			continue
		}
		if !isNamed(f, name) {
			t.Errorf("file %d has lost its name", i)
		}
		os.Remove(name) // it is locked: no sweep does
		f.Close()
	}
	close(stop)
	t.Logf("swept %d times", <-ended)
}
