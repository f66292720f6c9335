//go:build liar

// The lies, made of the table of messages: what is told to a peer, and how the room's own
// words are changed on their way. This file owns what a lie is; who it is told to, and
// when, is the test's.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// lie is one datagram.
type lie struct {
	name  string
	frame []byte
	files []*os.File

	breaks  bool          // it must cost the link
	accuses *imsg.BadPeer // whose link it costs instead
	answers bool          // what nobody has asked
}

// lies are made by kind, for a peer.
var lies = map[string]func(l *liar, peer imsg.Room) []lie{
	"rubbish": rubbish, "size": sizes, "type": types, "descriptors": stuffed,
	"bad-fields": badFields, "fields": trueFields, "answers": unasked, "accuse": accusations, "others": others,
}

// few bounds the lies of a kind that cost a link. A quarrel with the parent costs a life.
func few(peer imsg.Room, all []lie) []lie {
	if peer == imsg.Parent {
		return all[:min(len(all), 1)]
	}
	return all[:min(len(all), 4)]
}

// words are the messages a room may say to a peer.
func words(self, peer imsg.Room) (all []*imsg.Entry) {
	for i := range imsg.Table {
		if e := &imsg.Table[i]; e.From.Has(self) && e.To.Has(peer) {
			all = append(all, e)
		}
	}
	return all
}

// lawful are lies that have the parent stop, read its file again or log otherwise: lockd
// passes on what the operator wants, and is believed.
func lawful(e *imsg.Entry) bool {
	return e.Name == "Stop" || e.Name == "Reload" || e.Name == "LogLevel"
}

func header(e *imsg.Entry) []byte {
	h := make([]byte, imsg.HeaderLen)
	binary.LittleEndian.PutUint16(h, uint16(e.Type))
	binary.LittleEndian.PutUint16(h[2:], uint16(imsg.Fingerprint()))
	if e.Way != imsg.Tell {
		binary.LittleEndian.PutUint32(h[4:], 1<<31-1)
	}
	if e.Way == imsg.Ask {
		binary.LittleEndian.PutUint64(h[8:], math.MaxInt64)
	}
	return h
}

// frame is a message as it stands on the wire.
func frame(e *imsg.Entry, m imsg.Message) []byte {
	b, err := frameIfAny(e, m)
	if err != nil {
		panic(err)
	}
	return b
}

// frameIfAny is frame for what may not be writable at all: an address has one octet for
// its length, as far as it was our link that taught the library to write one.
func frameIfAny(e *imsg.Entry, m imsg.Message) ([]byte, error) {
	var b bytes.Buffer
	b.Write(header(e))
	enc := msgpack.NewEncoder(&b)
	enc.UseArrayEncodedStructs(true)
	enc.UseCompactInts(true)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decode(frame []byte, m imsg.Message) error {
	if len(frame) < imsg.HeaderLen {
		return errors.New("no frame")
	}
	return msgpack.Unmarshal(frame[imsg.HeaderLen:], m)
}

func honestly(e *imsg.Entry) imsg.Message {
	m := e.New()
	imsgtest.Honest(reflect.ValueOf(m).Elem())
	return m
}

// honest is each message that may be said, with what belongs to it.
func honest(l *liar, peer imsg.Room) (all []lie) {
	for _, e := range words(l.self, peer) {
		if !lawful(e) {
			all = append(all, lie{name: e.Name, frame: frame(e, honestly(e)), files: l.goods[:e.Files], answers: e.Way == imsg.Answer})
		}
	}
	return all
}

func rubbish(l *liar, peer imsg.Room) (all []lie) {
	e := words(l.self, peer)[0]
	h := header(e)
	return few(peer, []lie{
		{name: "octets", frame: bytes.Repeat([]byte{0xa5}, 64), breaks: true},
		{name: "half a header", frame: h[:7], breaks: true},
		{name: "no body", frame: h, breaks: true},
		{name: "a body that claims more", frame: append(bytes.Clone(h), 0xdd, 0xff, 0xff, 0xff, 0xff), breaks: true},
	})
}

func sizes(l *liar, peer imsg.Room) (all []lie) {
	most := 0
	for _, e := range words(l.self, peer) {
		most = max(most, e.Max)
	}
	e := words(l.self, peer)[0]
	return few(peer, []lie{
		{name: "longer than any", frame: append(header(e), make([]byte, most+1)...), breaks: true},
		{name: "longer than it may be", frame: append(header(e), make([]byte, e.Max+1)...), breaks: true},
		{name: "very long", frame: append(header(e), make([]byte, 128<<10)...), breaks: true},
	})
}

func types(l *liar, peer imsg.Room) (all []lie) {
	for i := range imsg.Table {
		if e := &imsg.Table[i]; !e.From.Has(l.self) && e.To.Has(peer) {
			all = append(all, lie{name: e.Name, frame: frame(e, honestly(e)), files: l.goods[:e.Files], breaks: true})
			break
		}
	}
	for _, n := range []uint16{0, uint16(len(imsg.Table) + 1)} {
		f := header(&imsg.Table[0])
		binary.LittleEndian.PutUint16(f, n)
		all = append(all, lie{name: fmt.Sprintf("type %d", n), frame: append(f, 0x90), breaks: true})
	}
	mark := header(&imsg.Table[0])
	mark[2]++
	return few(peer, append(all, lie{name: "another version", frame: append(mark, 0x90), breaks: true}))
}

// stock opens what is sent where no descriptor belongs: what reads nothing, what blocks,
// what is huge.
func (l *liar) stock(dir string) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	huge, err := os.CreateTemp(dir, "huge")
	if err != nil {
		return err
	}
	os.Remove(huge.Name())
	if err := huge.Truncate(1 << 40); err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.goods = []*os.File{r, huge, os.NewFile(uintptr(ends[0]), "socket"), w, null}
	for len(l.goods) < 253 {
		l.goods = append(l.goods, l.goods[len(l.goods)%5])
	}
	return nil
}

func stuffed(l *liar, peer imsg.Room) (all []lie) {
	for _, n := range []int{253, 1, 16, 2} {
		for _, e := range words(l.self, peer) {
			if e.Files != n && !lawful(e) {
				all = append(all, lie{name: fmt.Sprintf("%s with %d", e.Name, n), frame: frame(e, honestly(e)), files: l.goods[:n], breaks: true})
				break
			}
		}
	}
	return few(peer, all)
}

// eachField gives every message with one field at an extreme, and whether that keeps the
// rules.
func eachField(l *liar, peer imsg.Room, f func(e *imsg.Entry, name string, keeps bool, frame []byte)) {
	for _, e := range words(l.self, peer) {
		if lawful(e) {
			continue
		}
		m := honestly(e)
		imsgtest.Each(reflect.ValueOf(m).Elem(), e.Name, "", func(at, _ string, v reflect.Value) {
			before := reflect.New(v.Type()).Elem()
			before.Set(v)
			for _, x := range imsgtest.Extremes(v.Type()) {
				v.Set(x)
				frame, err := frameIfAny(e, m)
				if err != nil {
					continue
				}
				f(e, fmt.Sprintf("%s=%.20q", at, fmt.Sprint(x)), e.Check(m) == nil && len(frame) <= e.Max+imsg.HeaderLen, frame)
			}
			v.Set(before)
		})
	}
}

// badFields are those that break a rule, one of each message.
func badFields(l *liar, peer imsg.Room) (all []lie) {
	last := ""
	eachField(l, peer, func(e *imsg.Entry, name string, keeps bool, frame []byte) {
		if !keeps && e.Name != last {
			last = e.Name
			all = append(all, lie{name: name, frame: frame, files: l.goods[:e.Files], breaks: true})
		}
	})
	return few(peer, all)
}

// trueFields are those that keep the rules, and lie.
func trueFields(l *liar, peer imsg.Room) (all []lie) {
	if peer != imsg.Parent {
		all = slices.DeleteFunc(honest(l, peer), func(l lie) bool { return l.answers })
	}
	eachField(l, peer, func(e *imsg.Entry, name string, keeps bool, frame []byte) {
		if keeps && e.Way != imsg.Answer && peer != imsg.Parent {
			all = append(all, lie{name: name, frame: frame, files: l.goods[:e.Files]})
		}
	})
	return all
}

// unasked are answers to what nobody has asked.
func unasked(l *liar, peer imsg.Room) (all []lie) {
	all = slices.DeleteFunc(honest(l, peer), func(l lie) bool { return !l.answers })
	eachField(l, peer, func(e *imsg.Entry, name string, keeps bool, frame []byte) {
		if keeps && e.Way == imsg.Answer {
			all = append(all, lie{name: name, frame: frame})
		}
	})
	return all
}

// accusations are of each kind of room it has a link to, of the same one until somebody
// goes.
func accusations(l *liar, peer imsg.Room) (all []lie) {
	if peer != imsg.Parent {
		return nil
	}
	e := imsg.Row(&imsg.BadPeer{})
	for _, room := range imsg.Children() {
		if len(words(l.self, room)) < 2 { // all may fail to answer all
			continue
		}
		if t := l.wait(room, false); t != nil {
			m := &imsg.BadPeer{Room: t.room, Member: t.member}
			all = append(all, slices.Repeat([]lie{{name: "accuses " + room.String(), frame: frame(e, m), accuses: m, breaks: true}}, 4)...)
		}
	}
	return all
}

// others are true words about sessions that are not the room's own.
func others(l *liar, peer imsg.Room) (all []lie) {
	if l.self != imsg.Session || peer != imsg.Lockd {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last := uint64(0)
	for n := range l.own {
		last = max(last, n)
	}
	for n := range last {
		if l.own[n] {
			continue
		}
		for _, m := range []imsg.Message{
			&imsg.Offence{Number: n, Transaction: 1, Found: imsg.FoundVirus, Virus: "a lie"},
			&imsg.QuotaUse{Number: n, Counter: 1, Amount: 1}, &imsg.QuotaUnused{QuotaUse: imsg.QuotaUse{Number: n, Counter: 1, Amount: imsg.MaxReport}},
			&imsg.Ident{Number: n, Ident: "liar"}, &imsg.Leave{Number: n, Late: true},
		} {
			e := imsg.Row(m)
			if err := e.Check(m); err != nil {
				panic(err)
			}
			all = append(all, lie{name: fmt.Sprintf("%s of %d", e.Name, n), frame: frame(e, m)})
		}
	}
	return all
}

// manner is how what the room says by itself is changed.
type manner func(t *tap, frame []byte) [][]byte

// answerManners last until the next.
var answerManners = map[string]manner{
	"honest": func(_ *tap, f []byte) [][]byte { return [][]byte{f} },
	"silent": answersBy(func(*tap, *imsg.Entry, []byte) [][]byte { return nil }),
	"twice":  answersBy(func(_ *tap, _ *imsg.Entry, f []byte) [][]byte { return [][]byte{f, f} }),
	"other":  answersBy(anotherAnswer),
	"forger": answersBy(forged),
	"stale":  answersBy(stale),
	"garble": answersBy(textsBy(garbled)),
	"long":   answersBy(textsBy(lengthened)),
}

// answersBy changes answers only.
func answersBy(change func(t *tap, e *imsg.Entry, frame []byte) [][]byte) manner {
	return func(t *tap, f []byte) [][]byte {
		if e := imsg.RowOf(imsg.Type(binary.LittleEndian.Uint16(f))); e != nil && e.Way == imsg.Answer {
			return change(t, e, f)
		}
		return [][]byte{f}
	}
}

// anotherAnswer is of a type that answers something else, if the room has one.
func anotherAnswer(t *tap, e *imsg.Entry, f []byte) [][]byte {
	for i := range imsg.Table {
		if o := &imsg.Table[i]; o.Way == imsg.Answer && o.Name != "Failure" && o.Type != e.Type && o.From.Has(t.self) && o.To.Has(t.room) {
			another := frame(o, honestly(o))
			copy(another[4:8], f[4:8])
			return [][]byte{another}
		}
	}
	return [][]byte{f}
}

// stale is what answered the question of the same kind before.
func stale(t *tap, e *imsg.Entry, f []byte) [][]byte {
	before, ok := t.before[e.Type]
	if t.before == nil {
		t.before = make(map[imsg.Type][]byte)
	}
	t.before[e.Type] = bytes.Clone(f)
	if !ok {
		return [][]byte{f}
	}
	before = bytes.Clone(before)
	copy(before[4:8], f[4:8])
	return [][]byte{before}
}

// textsBy changes each text of an answer that has octets, as far as the rules allow it.
func textsBy(change func(text []byte, allowed func([]byte) bool) []byte) func(*tap, *imsg.Entry, []byte) [][]byte {
	return func(_ *tap, e *imsg.Entry, f []byte) [][]byte {
		m := e.New()
		if decode(f, m) != nil {
			return [][]byte{f}
		}
		imsgtest.Each(reflect.ValueOf(m).Elem(), e.Name, "", func(_, _ string, v reflect.Value) {
			if v.Kind() == reflect.String && v.Len() > 0 {
				v.SetString(string(change([]byte(v.String()), func(text []byte) bool {
					v.SetString(string(text))
					return e.Check(m) == nil
				})))
			}
		})
		changed := frame(e, m)
		copy(changed[4:8], f[4:8])
		return [][]byte{changed}
	}
}

// garbled is as long as the text, and another.
func garbled(text []byte, _ func([]byte) bool) []byte {
	text[int(forgeries.Add(1))%len(text)] ^= 0x55
	return text
}

// lengthened is the text, and behind it as much as is allowed.
func lengthened(text []byte, allowed func([]byte) bool) []byte {
	for allowed(append(text, 'x')) {
		text = append(text, 'x')
	}
	return text
}

// forgeries counts what was changed, so that each has another field changed.
var forgeries atomic.Int64

// forged is an answer with one field at an extreme that keeps the rules.
func forged(_ *tap, e *imsg.Entry, f []byte) [][]byte {
	m := e.New()
	if decode(f, m) != nil {
		return [][]byte{f}
	}
	var all [][]byte
	imsgtest.Each(reflect.ValueOf(m).Elem(), e.Name, "", func(_, _ string, v reflect.Value) {
		before := reflect.New(v.Type()).Elem()
		before.Set(v)
		for _, x := range imsgtest.Extremes(v.Type()) {
			v.Set(x)
			if changed := frame(e, m); e.Check(m) == nil && len(changed) <= e.Max+imsg.HeaderLen {
				copy(changed[4:8], f[4:8])
				all = append(all, changed)
			}
		}
		v.Set(before)
	})
	if len(all) == 0 {
		return [][]byte{f}
	}
	return [][]byte{all[int(forgeries.Add(1))%len(all)]}
}
