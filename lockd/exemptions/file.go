package exemptions

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns the file: two places, each for all exemptions, that are written in turn.
// One that is torn leaves the other, which has all but the last change.

const (
	// placeSize is more than Max exemptions take, with the longest reasons.
	placeSize = 1 << 20
	magic     = "smtp-gated exempt 1\n"
	// headSize is what a place has before its text: the magic, a checksum of all that
	// follows, the turn, and the text's length.
	headSize = len(magic) + crc32.Size + 8 + 4
)

var errDamaged = errors.New("it is damaged")

// record is an exemption as the file has it: checks by their names, for numbers may change.
type record struct {
	Who    string
	From   []string
	Since  int64
	Until  int64
	Reason string
}

// encode writes a place.
func encode(turn uint64, all map[Who]imsg.Exemption) ([]byte, error) {
	records := make([]record, 0, len(all))
	for _, x := range all {
		records = append(records, record{x.Who, x.From.Names(), x.Since, x.Until, x.Reason})
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(records); err != nil {
		return nil, err
	}
	return sealed(turn, text.Bytes()), nil
}

// sealed is a place with that text.
func sealed(turn uint64, text []byte) []byte {
	place := append(make([]byte, headSize), text...)
	copy(place, magic)
	rest := place[len(magic)+crc32.Size:]
	binary.LittleEndian.PutUint64(rest, turn)
	binary.LittleEndian.PutUint32(rest[8:], uint32(len(text)))
	binary.LittleEndian.PutUint32(place[len(magic):], crc32.ChecksumIEEE(rest))
	return place
}

// decode reads a place. turn 0: nothing was ever written there.
func decode(place []byte) (turn uint64, all map[Who]imsg.Exemption, err error) {
	if len(bytes.TrimLeft(place, "\x00")) == 0 {
		return 0, nil, nil
	}
	if len(place) < headSize || string(place[:len(magic)]) != magic {
		return 0, nil, errDamaged
	}
	rest := place[len(magic)+crc32.Size:]
	turn = binary.LittleEndian.Uint64(rest)
	n := uint64(binary.LittleEndian.Uint32(rest[8:]))
	if turn == 0 || n > uint64(len(place)-headSize) || crc32.ChecksumIEEE(rest[:12+n]) != binary.LittleEndian.Uint32(place[len(magic):]) {
		return 0, nil, errDamaged
	}
	var records []record
	if json.Unmarshal(rest[12:12+n], &records) != nil {
		return 0, nil, errDamaged
	}
	all = make(map[Who]imsg.Exemption)
	for i := range records {
		if who, e, ok := records[i].exemption(); ok && len(all) < Max {
			all[who] = e
		}
	}
	return turn, all, nil
}

// exemption is what a record says. It must be what an operator can be told.
func (r *record) exemption() (who Who, e imsg.Exemption, ok bool) {
	who, err := Parse(r.Who)
	e = imsg.Exemption{Who: who.String(), Since: r.Since, Until: r.Until, Reason: r.Reason}
	for _, name := range r.From {
		if from, known := imsg.ParseExempt(name); known {
			e.From = e.From.With(from)
		}
	}
	list := &imsg.ExemptionList{Exemptions: []imsg.Exemption{e}}
	return who, e, err == nil && e.From != 0 && imsg.Row(list).Check(list) == nil
}

// Open takes over a file, with what it says. It may take as long as a disk takes.
func (l *List) Open(f *os.File) {
	l.fileMu.Lock()
	if l.pending != nil {
		l.pending.Close()
	}
	if l.pending = f; l.closed {
		l.pending = nil
		f.Close()
	}
	l.fileMu.Unlock()
	l.openPending()
}

// openPending opens the file that was handed over, unless another daemon has it still.
func (l *List) openPending() {
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	f := l.pending
	if f == nil {
		return
	}
	if l.file != nil {
		if same(l.file, f) {
			l.pending = nil
			f.Close()
			return
		}
		l.file.Close() // that one has lost its name
		l.file = nil
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		l.say("another daemon has their file")
		return
	case err != nil:
		l.say(err.Error())
		l.pending = nil
		f.Close()
		return
	}
	l.pending, l.file, l.said = nil, f, ""
	l.take(l.read(f))
}

func same(a, b *os.File) bool {
	one, err := a.Stat()
	other, errOther := b.Stat()
	return err == nil && errOther == nil && os.SameFile(one, other)
}

// read returns what a file says, and says what of it is damaged; fileMu is held.
func (l *List) read(f *os.File) (all map[Who]imsg.Exemption) {
	l.turn = 0
	damaged := 0
	var cause error
	for i := range int64(2) { // a turn has the place of its last bit
		place, err := io.ReadAll(io.NewSectionReader(f, i*placeSize, placeSize))
		turn, these, wrong := decode(place)
		if turn%2 != uint64(i) && turn > 0 {
			wrong = errDamaged // the next one would overwrite it
		}
		if err = errors.Join(err, wrong); err != nil {
			damaged, cause = damaged+1, err
		} else if turn > l.turn {
			l.turn, all = turn, these
		}
	}
	switch {
	case damaged > 0 && l.turn > 0:
		l.log.Warn("the last change of exemptions may be lost: a half of their file cannot be used", "error", cause)
	case damaged > 0:
		l.log.Error("exemptions are lost: their file cannot be used", "error", cause)
	}
	return all
}

// take adds what the first file has said, where nothing newer is known; fileMu is held. One
// in another place, of old, may have what was removed since.
func (l *List) take(all map[Who]imsg.Exemption) {
	if l.opened {
		all = nil
	}
	l.opened = true
	l.mu.Lock()
	l.kept = l.changes
	if len(l.all) > 0 { // of which the file does not know
		l.changes++
	}
	for who, e := range all {
		if _, known := l.all[who]; !known && len(l.all) < Max {
			l.all[who] = e
		}
	}
	l.rebuild()
	l.mu.Unlock()
}

// Keep writes what has changed. An error says that it would not survive a restart, which
// was logged; it is tried again.
func (l *List) Keep() error {
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	all, changes := l.since(l.kept)
	if all == nil {
		return nil
	}
	if l.file == nil {
		if l.said == "" {
			l.say("there is no file to keep them in")
		}
		return errors.New(l.said)
	}
	place, err := encode(l.turn+1, all)
	if err == nil {
		err = write(l.file, l.turn+1, place)
	}
	if err != nil {
		l.say(err.Error())
		return err
	}
	l.turn++
	l.kept, l.said = changes, ""
	return nil
}

// since returns all exemptions, and how many changes made them so; nil if there was none
// since.
func (l *List) since(changes uint64) (map[Who]imsg.Exemption, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes == changes {
		return nil, changes
	}
	return maps.Clone(l.all), l.changes
}

// write writes a place, whose turn it is, and has it reach the disk.
func write(f *os.File, turn uint64, place []byte) error {
	if len(place) > placeSize {
		return fmt.Errorf("%d octets are too many", len(place))
	}
	if _, err := f.WriteAt(place, int64(turn%2)*placeSize); err != nil {
		return err
	}
	return f.Sync()
}

// say logs why what changes would not survive a restart, once; fileMu is held.
func (l *List) say(why string) {
	if l.said != why {
		l.said = why
		l.log.Error("exemptions would not survive a restart", "error", why)
	}
}

func (l *List) close() {
	l.Keep()
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	for _, f := range []*os.File{l.file, l.pending} {
		if f != nil {
			f.Close()
		}
	}
	l.file, l.pending, l.closed = nil, nil, true
}
