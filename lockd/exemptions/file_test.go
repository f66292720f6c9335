package exemptions

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestKept: what is said is there in the next life.
func TestKept(t *testing.T) {
	s := newShelf(t)
	s.add("192.0.2.7", time.Hour, imsg.ExemptLock, imsg.ExemptSpam)
	s.add("192.0.2.8", 0, imsg.ExemptRate)
	s.remove("192.0.2.8")
	before, _ := s.Page("", 10)
	s.begin() // the first has not ended: it has the file
	s.log.Has(t, "another daemon has their file")
	if s.Len() != 0 {
		t.Errorf("%d are known", s.Len())
	}
	s.List.pending.Close()

	s = newShelf(t)
	s.add("192.0.2.7", time.Hour, imsg.ExemptLock, imsg.ExemptSpam)
	s.add("192.0.2.8", 0, imsg.ExemptRate)
	s.remove("192.0.2.8")
	s.close()
	s.begin()
	after, _ := s.Page("", 10)
	if len(after) != 1 || after[0] != before[0] || after[0].Reason != "because" {
		t.Errorf("%+v, want %+v", after, before)
	}
	s.hand() // the same file again
	if s.add("192.0.2.9", 0, imsg.ExemptRate); s.Len() != 2 {
		t.Errorf("%d are known", s.Len())
	}
	s.log.HasNot(t, "level=")
}

// TestHandOver: who takes over from another that still has the file gets it when that
// ends, and keeps what was said meanwhile.
func TestHandOver(t *testing.T) {
	s := newShelf(t)
	s.add("192.0.2.7", 0, imsg.ExemptLock)
	first := s.List
	s.begin()
	if err := s.add("192.0.2.8", 0, imsg.ExemptLock); err == nil {
		t.Error("it is kept in a file that another has")
	}
	first.close()
	s.openPending()
	s.Keep()
	s.close()
	s.begin()
	s.is(map[string]string{"192.0.2.7": "lock", "192.0.2.8": "lock"})
}

// TestAnotherFile: one that has lost its name is left, and all is written to the next.
func TestAnotherFile(t *testing.T) {
	s := newShelf(t)
	s.add("192.0.2.7", 0, imsg.ExemptLock)
	os.Remove(s.path)
	s.hand()
	if err := s.Keep(); err != nil {
		t.Error(err)
	}
	s.close()
	s.begin()
	s.is(map[string]string{"192.0.2.7": "lock"})
}

// TestNoFile: without a file they are in force all the same, and who adds one hears of it.
func TestNoFile(t *testing.T) {
	s := newShelf(t)
	s.close()
	s.begin()
	s.file.Close()
	s.file = nil
	for range 3 {
		if err := s.add("192.0.2.7", 0, imsg.ExemptLock); err == nil {
			t.Error("it is kept nowhere")
		}
	}
	s.is(map[string]string{"192.0.2.7": "lock"})
	if n := strings.Count(s.log.String(), "exemptions would not survive a restart"); n != 1 {
		t.Errorf("that is said %d times", n)
	}
	s.hand()
	if err := s.Keep(); err != nil {
		t.Error(err)
	}
}

// TestDamaged: of two halves the one that is whole counts, the later one if both are; a
// file without one is said to be lost, and works again.
func TestDamaged(t *testing.T) {
	make := func() (*shelf, []byte) {
		s := newShelf(t)
		s.add("192.0.2.7", 0, imsg.ExemptLock) // turn 1: the second half
		s.add("192.0.2.8", 0, imsg.ExemptLock) // turn 2: the first
		s.close()
		b, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		return s, b
	}
	for name, row := range map[string]struct {
		damage func(b []byte) []byte
		left   int
		log    string
	}{
		"none":            {func(b []byte) []byte { return b }, 2, ""},
		"the later half":  {func(b []byte) []byte { b[headSize+3] ^= 1; return b }, 1, "the last change of exemptions may be lost"},
		"its turn":        {func(b []byte) []byte { b[len(magic)+4] ^= 4; return b }, 1, "the last change of exemptions may be lost"},
		"its length":      {func(b []byte) []byte { b[headSize-1] = 0xff; return b }, 1, "the last change of exemptions may be lost"},
		"its beginning":   {func(b []byte) []byte { b[0] = 'S'; return b }, 1, "the last change of exemptions may be lost"},
		"the older half":  {func(b []byte) []byte { b[placeSize+headSize+3] ^= 1; return b }, 2, "the last change of exemptions may be lost"},
		"cut off":         {func(b []byte) []byte { return b[:placeSize+headSize+1] }, 2, "the last change of exemptions may be lost"},
		"cut in the half": {func(b []byte) []byte { return b[:placeSize/2] }, 2, ""},
		"both halves":     {func(b []byte) []byte { b[headSize] ^= 1; b[placeSize+headSize] ^= 1; return b }, 0, "exemptions are lost"},
		"something else":  {func([]byte) []byte { return []byte("#!/bin/sh\n") }, 0, "exemptions are lost"},
		"halves swapped": {func(b []byte) []byte {
			return append(append(bytes.Clone(b[placeSize:]), bytes.Repeat([]byte{0}, 2*placeSize-len(b))...), b[:placeSize]...)
		}, 0, "exemptions are lost"},
		"emptied": {func([]byte) []byte { return nil }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := make()
			if err := os.WriteFile(s.path, row.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s.begin()
			if s.Len() != row.left {
				t.Errorf("%d are left, want %d", s.Len(), row.left)
			}
			if row.log == "" {
				s.log.HasNot(t, "level=")
			} else {
				s.log.Has(t, row.log)
			}
			for range 2 {
				if err := s.add("192.0.2.9", 0, imsg.ExemptRate); err != nil {
					t.Error(err)
				}
			}
			s.close()
			s.begin()
			s.is(map[string]string{"192.0.2.9": "rate"})
			if s.Len() != row.left+1 {
				t.Errorf("%d are left in the end", s.Len())
			}
			s.log.HasNot(t, "level=")
			s.close()
		})
	}
}

// FuzzOpen: no file makes a list fail, none says what an operator could not be told, and
// each takes what is added.
func FuzzOpen(f *testing.F) {
	who, err := Parse("192.0.2.0/24")
	if err != nil {
		f.Fatal(err)
	}
	place, err := encode(2, map[Who]imsg.Exemption{who: {Who: who.String(), From: 3, Since: 1, Reason: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(place)
	f.Add(place[:headSize])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newShelf(t)
		s.close()
		if err := os.WriteFile(s.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s.begin()
		defer s.close()
		page, _ := s.Page("", imsg.ExemptPage)
		list := &imsg.ExemptionList{Exemptions: page}
		if err := imsg.Row(list).Check(list); err != nil {
			t.Errorf("%+v: %v", list, err)
		}
		if err := s.add("192.0.2.9", 0, imsg.ExemptRate); err != nil {
			t.Error(err)
		}
	})
}

// FuzzDecode: what a place says, whatever its checksum, is what an operator can be told.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"Who":"192.0.2.7","From":["lock","virus"],"Since":1,"Until":2,"Reason":"x"},{"Who":"server=::1","From":["spam"]}]`))
	f.Add([]byte(`[{"Who":"192.0.2.7","From":["lock"],"Since":-1}]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		place := sealed(2, text)
		_, all, err := decode(place)
		if err != nil {
			return
		}
		for who, e := range all {
			list := &imsg.ExemptionList{Exemptions: []imsg.Exemption{e}}
			if e.Who != who.String() || e.From == 0 || imsg.Row(list).Check(list) != nil {
				t.Errorf("%s: %+v", who, e)
			}
		}
	})
}
