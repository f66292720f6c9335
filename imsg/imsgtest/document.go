package imsgtest

import (
	"bytes"
	"os"
	"testing"
)

// Part holds a part of a document, which stands between <!-- NAME --> and
// <!-- end -->, to what the code says. With update it writes it.
func Part(t testing.TB, file, name, said string, update bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mark, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- end -->\n")
	before, rest, found := bytes.Cut(text, mark)
	_, after, ended := bytes.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no part %s", file, name)
	}
	switch now := bytes.Join([][]byte{before, mark, []byte(said), end, after}, nil); {
	case bytes.Equal(now, text):
	case update:
		if err := os.WriteFile(file, now, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: part %s is not what the code says: run this test with -update", file, name)
	}
}

// Block is text as it stands between paragraphs of a document.
func Block(text string) string {
	var b bytes.Buffer
	for line := range bytes.Lines([]byte(text)) {
		b.WriteString("    ")
		b.Write(bytes.TrimRight(line, " \n"))
		b.WriteByte('\n')
	}
	return b.String()
}
