package scand

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
)

func TestStrings(t *testing.T) {
	// The digest that is published for eicar.com.
	if sum := md5.Sum(eicar()); hex.EncodeToString(sum[:]) != "44d88612fea8a8f36de82e1278abb02f" {
		t.Errorf("EICAR is %q", eicar())
	}
	if s := string(gtube()); len(s) != 68 || !strings.HasPrefix(s, "XJS*C4JDBQADN1.") || !strings.HasSuffix(s, "-TEST-EMAIL*C.34X") {
		t.Errorf("GTUBE is %q", s)
	}
}

// lines folds base64 as MIME does.
func lines(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s + "\r\n"
}

func quoted(s string) string {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// allQuoted escapes every octet.
func allQuoted(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if fmt.Fprintf(&b, "=%02X", s[i]); i%20 == 19 {
			b.WriteString("=\r\n")
		}
	}
	return b.String()
}

func TestFinder(t *testing.T) {
	s := string(eicar())
	type row struct {
		name, text string
		found      bool
	}
	rows := []row{
		{"alone", s, true},
		{"inside", "a " + s + " b", true},
		{"behind a long message", strings.Repeat("x", 3*pieceSize-30) + s, true},
		{"behind an equals sign", "a=" + s, true},
		{"behind a cut escape", "a=4" + s, true},
		{"quoted-printable, folded", quoted(strings.Repeat("=", 20) + s), true},
		{"quoted-printable, all of it", allQuoted(s), true},
		{"quoted-printable, lower case", strings.ToLower(allQuoted(s)), true},
		{"last octet missing", s[:67], false},
		{"first octet missing", s[1:], false},
		{"over two lines", s[:30] + "\r\n" + s[30:], false},
		{"lower case", strings.ToLower(s), false},
		{"the other string", string(gtube()), false},
		{"nothing", "", false},
	}
	for i := range 3 {
		pad := strings.Repeat("p", i)
		rows = append(rows,
			row{fmt.Sprint("base64 at ", i), lines([]byte(pad + s)), true},
			row{fmt.Sprint("base64 at ", i, " amid others"), lines([]byte(strings.Repeat("pad", 20) + pad + s + "more")), true},
			row{fmt.Sprint("base64 at ", i, ", LF only"), strings.ReplaceAll(lines([]byte(pad+s)), "\r", ""), true},
			row{fmt.Sprint("base64 at ", i, ", cut"), lines([]byte(pad + s[:66])), false},
		)
	}
	f := newFinder(eicar())
	for _, r := range rows {
		for _, size := range []int{1, 2, 7, 1000, pieceSize} {
			if got := find(f, []byte(r.text), func() int { return size }); got != r.found {
				t.Errorf("%s, pieces of %d: found %v", r.name, size, got)
			}
		}
	}
}

// find feeds text in pieces as long as size says.
func find(f *finder, text []byte, size func() int) bool {
	f.reset()
	for len(text) > 0 {
		n := min(max(size(), 1), len(text), pieceSize)
		if f.write(text[:n]) {
			return true
		}
		text = text[n:]
	}
	return false
}

// FuzzFinder: wherever a message is cut, the verdict is the same.
func FuzzFinder(f *testing.F) {
	s := string(eicar())
	for _, text := range []string{s, "=" + s, lines([]byte("p" + s)), allQuoted(s), quoted("=" + s), s[:40] + "=\r\n" + s[40:], "=\r=4==\n"} {
		f.Add([]byte(text), []byte{1, 2, 3})
		f.Add([]byte(text), []byte{40, 1})
	}
	finder := newFinder(eicar())
	f.Fuzz(func(t *testing.T, text, cuts []byte) {
		whole := find(finder, text, func() int { return pieceSize })
		i := 0
		cut := find(finder, text, func() int {
			if len(cuts) == 0 {
				return 1
			}
			i++
			return int(cuts[i%len(cuts)])
		})
		if whole != cut {
			t.Errorf("whole %v, cut %v", whole, cut)
		}
		if bytes.Contains(text, eicar()) && !whole {
			t.Error("not found as it stands")
		}
	})
}

// FuzzFinderFinds: whatever stands around the string, it is found as it is and in
// both codings of MIME.
func FuzzFinderFinds(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add([]byte("=4"), []byte("=\r\n"))
	f.Add([]byte("=\r"), []byte(""))
	finder := newFinder(eicar())
	f.Fuzz(func(t *testing.T, before, behind []byte) {
		text := slices.Concat(before, eicar(), behind)
		for form, coded := range map[string]string{"plain": string(text), "base64": lines(text), "quoted-printable": quoted(string(text))} {
			if !find(finder, []byte(coded), func() int { return 100 }) {
				t.Errorf("%s: not found in %q", form, coded)
			}
		}
	})
}

// BenchmarkFinder measures the search of one engine.
func BenchmarkFinder(b *testing.B) {
	random := make([]byte, 48<<10)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}
	for name, text := range map[string]string{
		"text":   strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 1400),
		"base64": lines(random),
		"quoted": strings.Repeat("=C3=BC und =C3=A4, ein Satz =E2=80=94 noch einer=\r\n", 1300),
	} {
		b.Run(name, func(b *testing.B) {
			f := newFinder(eicar())
			data := []byte(text)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				find(f, data, func() int { return pieceSize })
			}
		})
	}
}
