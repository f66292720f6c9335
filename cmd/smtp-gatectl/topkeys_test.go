package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestKeyDecoder(t *testing.T) {
	for _, c := range []struct {
		said []string
		want []key
		left []key // behind a pause
	}{
		{[]string{"qk"}, []key{'q', 'k'}, nil},
		{[]string{"\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[H\x1bOF"}, []key{keyUp, keyDown, keyUp, keyPageUp, keyPageDown, keyHome, keyEnd}, nil},
		{[]string{"\x1b", "[", "A"}, []key{keyUp}, nil},
		{[]string{"\x1b"}, nil, []key{keyEscape}},
		{[]string{"\x1bq"}, []key{keyEscape, 'q'}, nil},
		{[]string{"\x1b["}, nil, []key{keyOther}},
		{[]string{"\x1b[1;5Aq"}, []key{keyOther, 'q'}, nil},
		{[]string{"\x1b[" + strings.Repeat("1;", 40)}, []key{keyOther}, nil},
		{[]string{"é", "\xc3", "\xa9", "\xff"}, []key{'é', 'é', keyOther}, nil},
		{[]string{"\x03\x1a\r\x7f"}, []key{ctrlC, ctrlZ, '\r', backspace}, nil},
	} {
		var d keyDecoder
		var got []key
		for _, s := range c.said {
			got = append(got, d.feed([]byte(s))...)
		}
		if left := d.flush(); !slices.Equal(got, c.want) || !slices.Equal(left, c.left) || d.pending() {
			t.Errorf("%q: keys %v, then %v", c.said, got, left)
		}
	}
}

// FuzzKeyDecoder: whatever is typed, in whatever pieces, is used up, and comes to the same
// keys.
func FuzzKeyDecoder(f *testing.F) {
	f.Add([]byte("q\x1b[A\x1b\x1b[[é\xff"), 3)
	f.Add([]byte("\x1b[111111111111111111111111111111111111111"), 1)
	f.Fuzz(func(t *testing.T, octets []byte, piece int) {
		var whole, pieces keyDecoder
		for range 2 {
			whole.feed(octets)
			if len(whole.rest) > longestSequence+2 {
				t.Fatalf("%d octets are kept", len(whole.rest))
			}
			whole.flush()
		}
		for part := range slices.Chunk(octets, min(max(piece, 1), 64)) {
			pieces.feed(part)
		}
		if pieces.flush(); pieces.pending() {
			t.Fatalf("%q is left", pieces.rest)
		}
	})
}

// TestTopKeys presses keys in a row, and looks at what has become of the state.
func TestTopKeys(t *testing.T) {
	const page = 5
	s := topSnapshot(12) // by time: 1 to 12
	show := func(st *topState, todo topAction) string {
		return fmt.Sprintf("mode=%d sort=%s filter=%q at=%d/%d todo=%d %s", st.mode, topSorts[st.sort].name, st.filter, st.selected, st.first, todo, st.message)
	}
	down, up, pageDown, end := "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[F"
	for _, c := range []struct{ keys, want string }{
		{"", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{down, `mode=0 sort=time filter="" at=2/0 todo=0 `},
		{down + up + up, `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{pageDown, `mode=0 sort=time filter="" at=6/1 todo=0 `},
		{end, `mode=0 sort=time filter="" at=12/7 todo=0 `},
		{end + pageDown + " ", `mode=0 sort=time filter="" at=12/7 todo=0 `},
		{end + "\x1b[H", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{"s", `mode=0 sort=client filter="" at=12/0 todo=0 `},
		{"ssss", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{"o", `mode=0 sort=octets filter="" at=12/0 todo=0 `},
		{"m\x1b[H", `mode=0 sort=mails filter="" at=7/0 todo=0 `},
		{"/jox\x7fe", `mode=1 sort=time filter="joe" at=3/0 todo=0 `},
		{"/JOE\r", `mode=0 sort=time filter="JOE" at=3/0 todo=0 `},
		{"/joe\rq", `mode=0 sort=time filter="joe" at=3/0 todo=1 `},
		{"/q\x15\r", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{"/joe\r/nobody", `mode=1 sort=time filter="joenobody" at=0/0 todo=0 `},
		{"/joe\r/x\x1b", `mode=0 sort=time filter="joe" at=3/0 todo=0 `},
		{"/joe\r\x1b", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{"/é\t\x01" + down, `mode=1 sort=time filter="" at=1/0 todo=0 `},
		{"/nobody\rk", `mode=0 sort=time filter="nobody" at=0/0 todo=0 there is no session`},
		{down + "k", `mode=2 sort=time filter="" at=2/0 todo=0 `},
		{down + "ky", `mode=0 sort=time filter="" at=2/0 todo=4 `},
		{down + "kn", `mode=0 sort=time filter="" at=2/0 todo=0 left as it is`},
		{"kq", `mode=0 sort=time filter="" at=1/0 todo=0 left as it is`},
		{"k\r", `mode=0 sort=time filter="" at=1/0 todo=0 left as it is`},
		{"k\x03", `mode=2 sort=time filter="" at=1/0 todo=1 `},
		{"lY", `mode=0 sort=time filter="" at=1/0 todo=5 `},
		{"?", `mode=3 sort=time filter="" at=1/0 todo=0 `},
		{"?x", `mode=0 sort=time filter="" at=1/0 todo=0 `},
		{"?q", `mode=0 sort=time filter="" at=1/0 todo=1 `},
		{"q", `mode=0 sort=time filter="" at=1/0 todo=1 `},
		{"\x1a", `mode=0 sort=time filter="" at=1/0 todo=2 `},
		{"\x0c", `mode=0 sort=time filter="" at=1/0 todo=3 `},
		{"z\x1b[24~", `mode=0 sort=time filter="" at=1/0 todo=0 `},
	} {
		var st topState
		var d keyDecoder
		todo := doNothing
		st.settle(st.rows(s), page)
		for _, k := range append(d.feed([]byte(c.keys)), d.flush()...) {
			todo = st.press(k, st.rows(s), page)
			st.settle(st.rows(s), page)
		}
		if got := show(&st, todo); got != c.want {
			t.Errorf("%q: %s\nwant %s", c.keys, got, c.want)
		}
	}
	st := topState{readOnly: true}
	if st.press('k', s.sessions, page); st.mode != browsing || !strings.Contains(st.message, "k and l are off") {
		t.Errorf("who may only look: %+v", st)
	}
	// The selected session stays selected, or the one in its place is.
	st = topState{}
	st.settle(s.sessions, page)
	st.press(keyDown, s.sessions, page)
	st.settle(s.sessions[1:], page)
	if st.selected != 2 || st.at != 0 {
		t.Errorf("one before it is gone: %+v", st)
	}
	st.settle(s.sessions[2:], page)
	if st.selected != 3 {
		t.Errorf("it is gone itself: %+v", st)
	}
	st.settle(nil, page)
	if st.selected != 0 || st.at != 0 || st.first != 0 {
		t.Errorf("all are gone: %+v", st)
	}
}
