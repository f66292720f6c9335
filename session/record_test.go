// The record of what the relay does: dialogues of all kinds, and of each a short
// hash of everything that anybody heard of it. It knows nothing of how the relay
// works. Another relay is to have the same record; where it is to differ, the table
// of differences says why.
//
//	go test ./session -run TestRecord -update        writes the record anew
//	go test ./session -run TestRecord -record DIR    writes whole texts, to be compared

package session

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

var (
	update    = flag.Bool("update", false, "write the record of what the relay does anew")
	recordDir = flag.String("record", "", "write what is recorded to this directory")
)

const (
	recordFile = "testdata/record"

	drawnDialogues = 10_000
	heldDialogues  = 200
	shortStep      = 20 // of them one in so many is played with -short
	shownTexts     = 10 // of those that differ
	tries          = 6  // what differs each time differs
)

func TestRecord(t *testing.T) {
	t.Run("loop", testRecord)
	if *update || *recordDir != "" || imsgtest.Brief() {
		return
	}
	t.Run("no loop", func(t *testing.T) {
		withoutLoop(t)
		testRecord(t)
	})
}

func testRecord(t *testing.T) {
	file, err := filepath.Abs(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	want := readRecord(t, file)
	texts := make(map[string]string)
	lines := make(map[string]bool)
	parts := []func(*testing.T, map[string]string){recordCorpus, recordEnds, recordSpools, recordHeld}
	for i := range plans {
		parts = append(parts, func(t *testing.T, texts map[string]string) { recordDrawn(t, i, texts) })
	}
	// Where two things come at once the time may decide, between outcomes that are all
	// right: each that is met is recorded, and what differs is played again.
	for _, part := range parts {
		differs := playPart(t, part, want)
		addLines(lines, differs)
		for try := 1; try < tries && len(differs) > 0; try++ {
			again := playPart(t, part, want)
			addLines(lines, again)
			maps.DeleteFunc(differs, func(name, _ string) bool { return again[name] == "" })
		}
		maps.Copy(texts, differs)
	}
	if *recordDir != "" {
		writeTexts(t, *recordDir, texts)
		return
	}
	if *update {
		writeRecord(t, file, lines)
		return
	}
	for _, d := range differences {
		t.Logf("%d dialogues are not compared: %s", len(d.names), d.reason)
	}
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		if i == shownTexts {
			t.Errorf("and %d more are not as they were recorded", len(texts)-shownTexts)
			break
		}
		t.Errorf("%s is not as it was recorded (%q); now:\n%s", name, want[name], texts[name])
	}
}

// playPart plays a part of the dialogues, and returns the texts of those that are not as
// they were recorded; all of them if the record is made anew, or whole texts are wanted.
func playPart(t *testing.T, part func(*testing.T, map[string]string), want map[string][]string) map[string]string {
	texts := make(map[string]string)
	part(t, texts)
	if *update || *recordDir != "" {
		return texts
	}
	maps.DeleteFunc(texts, func(name, text string) bool {
		return slices.Contains(want[name], hashOf(text)) || imsgtest.Brief() && strings.HasSuffix(name, wholeHouse) ||
			slices.ContainsFunc(differences, func(d difference) bool { return d.about(name) })
	})
	return texts
}

// recordDrawn plays the drawn dialogues of one plan.
func recordDrawn(t *testing.T, i int, texts map[string]string) {
	var all []*dialogue
	for n := i; n < drawnDialogues; n += len(plans) {
		if !imsgtest.Brief() || n%shortStep == 0 {
			all = append(all, draw(n, &plans[i]))
		}
	}
	t.Run(plans[i].name, func(t *testing.T) {
		maps.Copy(texts, newRecordHouse(t, plans[i]).run(all))
	})
}

func hashOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12] }

// readRecord reads the hashes by name: one for each outcome.
func readRecord(t *testing.T, file string) map[string][]string {
	text, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	hashes := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if i := strings.LastIndexByte(line, ' '); i > 0 {
			hashes[line[:i]] = append(hashes[line[:i]], line[i+1:])
		}
	}
	return hashes
}

// addLines adds the lines that the record has for these texts.
func addLines(lines map[string]bool, texts map[string]string) {
	for name, text := range texts {
		lines[name+" "+hashOf(text)+"\n"] = true
	}
}

func writeRecord(t *testing.T, file string, lines map[string]bool) {
	if imsgtest.Brief() {
		t.Fatal("with -short there is not all of it")
	}
	text := strings.Join(slices.Sorted(maps.Keys(lines)), "")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeTexts writes a hundred texts to a file, or those whose names differ in a number.
func writeTexts(t *testing.T, dir string, texts map[string]string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		group := strings.TrimRight(strings.TrimRight(name, "0123456789"), " ")
		if len(name) == len("00000") {
			group = name[:3] + "xx"
		}
		files[group] = fmt.Appendf(files[group], "== %s\n%s\n", name, texts[name])
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
