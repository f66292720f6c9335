package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestScanFile: a file is shown to the scanners as a message is, and nothing else comes of
// it; what may not be shown is not.
func TestScanFile(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", func(c *imsg.SessionConfig) { c.SpamMaxSize = 4 })
	scan := func(f *os.File) (*imsg.FileVerdict, error) {
		return link.Ask(h.lockd, &imsg.ScanFile{}, imsgtest.Patience, f)
	}
	file := func(content string, flags int) *os.File {
		t.Helper()
		path := filepath.Join(t.TempDir(), "message")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	h.set(func() { h.verdict.Findings[0].Outcome, h.verdict.Findings[0].Name = imsg.Caught, "V" })
	v, err := scan(file("a message", os.O_RDONLY))
	if err != nil || v.Errno != 0 || v.Reply != "550 5.7.1 gate.example msg_virus_found (V)" || len(v.Findings) != 1 || len(v.Skipped) != 1 || v.Size != 9 {
		t.Errorf("%+v, %v", v, err)
	}
	h.set(func() { h.verdict.Findings[0].Outcome = imsg.Clean })
	if v, err = scan(file("abcd", os.O_RDONLY)); err != nil || v.Reply != "" || len(v.Findings) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	h.set(func() {
		if strings.Join(h.scanned, "|") != "a message|abcd" || strings.Join(h.asked, "|") != "virus|virus spam" {
			t.Errorf("shown %q, asked %q", h.scanned, h.asked)
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for problem, f := range map[string]*os.File{
		"not a regular file":                            r,
		"not open for reading alone":                    file("a", os.O_RDWR),
		"10485761 octets: no scanner looks at more":     file(strings.Repeat("a", 10<<20+1), os.O_RDONLY),
		"not a regular file ":                           must(os.Open(t.TempDir())),
		"not open for reading alone, but for writing: ": file("a", os.O_WRONLY),
	} {
		v, err := scan(f)
		want, _, _ := strings.Cut(strings.TrimSuffix(problem, " "), ",")
		if err != nil || v.Errno != imsg.Invalid || !strings.HasPrefix(v.Detail, want) || len(v.Findings) > 0 {
			t.Errorf("%s: %+v, %v", problem, v, err)
		}
	}

	// As many as sessions can spare are looked at at once.
	h.set(func() { h.silent = true })
	ends := make(chan error, maxFileScans)
	for range maxFileScans {
		f := file("waits", os.O_RDONLY)
		go func() {
			_, err := scan(f)
			ends <- err
		}()
	}
	h.seen("all of them", func() bool { return len(h.scanned) == 2+maxFileScans })
	if _, err := scan(file("one too many", os.O_RDONLY)); err != imsg.Busy {
		t.Errorf("one too many: %v", err)
	}

	// scand's end is no clean message's.
	h.scand.Close()
	h.scand = h.Join(imsg.Scand, 0, h.asScand)
	for range maxFileScans {
		if err := wait(t, ends); err != nil {
			t.Error(err)
		}
	}
	h.set(func() { h.silent = false })
	if v, err := scan(file("abcd", os.O_RDONLY)); err != nil || v.Reply != "" {
		t.Errorf("%+v, %v", v, err)
	}
	link.Ask(h.lockd, &imsg.Snapshot{}, imsgtest.Patience) // what was counted goes ahead of its answer
	h.set(func() {
		if n := h.counts[imsg.CountFilesScanned]; n != 3+maxFileScans {
			t.Errorf("%d files were counted", n)
		}
		for c, n := range h.counts {
			if n > 0 && imsg.Counter(c) != imsg.CountFilesScanned {
				t.Errorf("slot %d counted %d", c, n)
			}
		}
		if len(h.told)+len(h.offences) > 0 {
			t.Errorf("told %v, reported %v", h.told, h.offences)
		}
	})
}

func must(f *os.File, err error) *os.File {
	if err != nil {
		panic(err)
	}
	return f
}
