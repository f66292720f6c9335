package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// begun is a session's file with a text.
func begun(t *testing.T, from *Pool, id string) *File {
	t.Helper()
	p := new(File)
	if err := p.Begin(from, id, 0o600, []byte("head of "+id)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(id + partial); err != nil || string(text) != "head of "+id || p.Name() != id+partial {
		t.Errorf("%s is %q: %v", p.Name(), text, err)
	}
	return p
}

func inode(t *testing.T, p *File) os.FileInfo {
	t.Helper()
	r, err := p.Reader()
	if err != nil {
		t.Fatal(err)
	}
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func files(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPool(t *testing.T) {
	t.Chdir(t.TempDir())
	var b Pool
	p := begun(t, &b, "1.1")
	first := inode(t, p)
	if p.Release(&b) {
		t.Error("a file with a message was given to others")
	}
	p.Finish(false)
	if !p.Release(&b) {
		t.Error("an empty file was not")
	}
	p.Drop() // it is another's now
	q := begun(t, &b, "1.2")
	if !os.SameFile(first, inode(t, q)) {
		t.Error("another file was made")
	}
	if all := files(t); len(all) != 1 {
		t.Errorf("there are %q", all)
	}

	// One that was kept, or whose scan did not end, is nobody else's.
	q.Finish(true)
	if !q.Release(&b) {
		t.Error("a file that was kept is dropped")
	}
	r := begun(t, &b, "1.3")
	if os.SameFile(first, inode(t, r)) {
		t.Error("a file that was kept is used again")
	}
	r.Drop()
	if !r.Release(&b) {
		t.Error("there is something to drop")
	}
	if _, ok := b.take(); ok {
		t.Error("a file that was dropped waits")
	}
}

// TestPoolLosesFile: who has our user can take a file's name away. Nobody is without a
// file for that.
func TestPoolLosesFile(t *testing.T) {
	t.Chdir(t.TempDir())
	var b Pool
	for i, lose := range []func() error{
		func() error { return os.Remove("1.0.part") },
		func() error { return os.Mkdir("1.1.part", 0o700) },
	} {
		p := begun(t, &b, "1.0")
		p.Finish(false)
		if !p.Release(&b) {
			t.Fatal("it is not given to others")
		}
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			begun(t, &b, "1.1").Drop()
			continue
		}
		if new(File).Begin(&b, "1.1", 0o600, nil) == nil {
			t.Error("there is a file where a directory is")
		}
	}
	if all := files(t); len(all) != 1 {
		t.Errorf("there are %q", all)
	}
}

func TestPoolEnds(t *testing.T) {
	t.Chdir(t.TempDir())
	var b Pool
	var all []*File
	for i := range maxPool + 2 {
		all = append(all, begun(t, &b, fmt.Sprintf("1.%d", i)))
	}
	for i, p := range all {
		p.Finish(false)
		if p.Release(&b) != (i < maxPool) {
			t.Errorf("file %d: %t", i, i >= maxPool)
		}
		p.Drop()
	}
	for i := range b.files[:3] {
		b.files[i].since = time.Now().Add(-poolWait)
	}
	b.Tidy()
	if got := files(t); len(got) != maxPool-3 || len(b.files) != maxPool-3 {
		t.Errorf("%d files, %d of them wait", len(got), len(b.files))
	}
	b.Close()
	if got := files(t); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	p := begun(t, &b, "2.1")
	p.Finish(false)
	if p.Release(&b) {
		t.Error("a pool that is closed takes a file")
	}
	p.Drop()
}
