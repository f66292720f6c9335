//go:build linux

package rates

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// memoryFile returns a file that needs no disk: bbolt waits for it at each write.
func memoryFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("rates", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "rates")
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// again opens a memory file once more: the store closes its own.
func again(t testing.TB, f *os.File) *os.File {
	t.Helper()
	other, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return other
}

func content(t testing.TB, f *os.File) []byte {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		t.Fatal(err)
	}
	return b
}

// storeOf returns the file of a store with n records, of which some were changed later.
func storeOf(t testing.TB, n int) []byte {
	t.Helper()
	first := memoryFile(t, nil)
	kept := again(t, first)
	s := NewFileStore(slog.New(slog.DiscardHandler))
	s.Open(first)
	for _, step := range []int{1, 5} {
		for i := 0; i < n; i += step {
			s.mustPut(t, client(i), messages(uint64(i+step)))
		}
		s.write()
	}
	s.close()
	return content(t, kept)
}

func client(i int) string { return fmt.Sprintf("10.0.%d.%d", i/256, i%256) }

// sum makes the metas of a file valid again.
func sum(b []byte) {
	for _, at := range []int{0, os.Getpagesize()} {
		if at += pageHeader; at+metaSize <= len(b) {
			h := fnv.New64a()
			h.Write(b[at : at+metaSize-8])
			order.PutUint64(b[at+metaSize-8:], h.Sum64())
		}
	}
}

// passes tells whether bbolt is to see a file.
func passes(t testing.TB, b []byte) bool {
	t.Helper()
	err := checkPages(bytes.NewReader(b), int64(len(b)))
	if err != nil && !errors.Is(err, ErrStore) {
		t.Error(err)
	}
	return err == nil
}

// use has a store do all there is to do with a file. It tells whether that was taken for
// damaged, which is left as it is then. What bbolt is let see it says is whole, before and
// after, and what the store remembers from then on is remembered.
func use(t testing.TB, b []byte) (damaged bool) {
	t.Helper()
	file := memoryFile(t, b)
	kept := again(t, file)
	log := new(imsgtest.Journal)
	s := NewFileStore(slog.New(slog.NewTextHandler(log, nil)))
	s.Open(file)
	damaged = strings.Contains(log.String(), "rates are kept in memory only")
	_, _ = s.Look(client(7))
	for after, more := "", true; more; {
		var page []Named
		var err error
		if page, more, err = s.Page(after, 1000); err != nil {
			t.Errorf("page: %v", err)
		}
		if len(page) > 0 {
			after = page[len(page)-1].Client
		}
	}
	if !damaged {
		check(t, s)
	}
	runtime.GC() // finds pointers that lead nowhere
	for i := 0; i < 400; i += 3 {
		s.mustPut(t, client(i), nil)
		s.mustPut(t, client(i+1), messages(uint64(i)))
	}
	s.mustPut(t, "192.0.2.7", messages(7))
	if err := s.Flush(); (err != nil) != damaged {
		t.Errorf("write: %v\n%s", err, log)
	}
	s.Sweep(func(r *Record) bool { return r.used[imsg.RateMessages]%2 == 0 })
	if !damaged {
		check(t, s)
	}
	s.close()
	if said := strings.Count(log.String(), "level="); said > 1 || said == 1 && !damaged {
		t.Errorf("it says\n%s", log)
	}
	if damaged {
		if !bytes.Equal(content(t, kept), b) {
			t.Error("a damaged file was written to")
		}
		return true
	}
	other := NewFileStore(slog.New(slog.NewTextHandler(log, nil)))
	other.Open(memoryFile(t, content(t, kept)))
	if r, err := other.Look("192.0.2.7"); r == nil || err != nil || r.used != messages(7).used {
		t.Errorf("forgotten: %+v, %v\n%s", r, err, log)
	}
	other.close()
	return false
}

var harmless = regexp.MustCompile(`unreachable unfreed|Page expected to be: [01],|page [01]: has unexpected`)

// check has bbolt look at its file. That pages are lost is no harm, nor what is written at
// the head of the metas, which only that look reads.
func check(t testing.TB, s *FileStore) {
	t.Helper()
	if s.file == nil {
		t.Error("no file")
		return
	}
	err := guarded(func() error {
		return s.file.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				if !harmless.MatchString(err.Error()) {
					t.Error(err)
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// field is a number in a page.
type field struct {
	name string
	at   int
	size int
}

func get(b []byte, f field) uint64 {
	switch f.size {
	case 2:
		return uint64(order.Uint16(b[f.at:]))
	case 4:
		return uint64(order.Uint32(b[f.at:]))
	}
	return order.Uint64(b[f.at:])
}

func set(b []byte, f field, n uint64) {
	switch f.size {
	case 2:
		order.PutUint16(b[f.at:], uint16(n))
	case 4:
		order.PutUint32(b[f.at:], uint32(n))
	default:
		order.PutUint64(b[f.at:], n)
	}
}

// layout names each number of a page, of a branch, a leaf or a list those of its first,
// its second and its last element.
func layout(b []byte, page int) (kind string, all []field) {
	begin := page * os.Getpagesize()
	at := begin
	add := func(name string, size int) {
		all = append(all, field{name, at, size})
		at += size
	}
	add("id", 8)
	add("kind", 2)
	add("count", 2)
	add("overflow", 4)
	which, count := order.Uint16(b[begin+8:]), int(order.Uint16(b[begin+10:]))
	elements := func(size int, read func()) {
		for _, i := range []int{0, 1, count - 1} {
			if 0 <= i && i < count {
				at = begin + pageHeader + i*size
				read()
			}
		}
	}
	switch which {
	case branchPage:
		kind = "branch"
		elements(pageElement, func() { add("position", 4); add("key", 4); add("page", 8) })
	case leafPage:
		kind = "leaf"
		elements(pageElement, func() {
			element := at
			add("flags", 4)
			add("position", 4)
			add("key", 4)
			add("value", 4)
			if order.Uint32(b[element:]) != isBucket {
				return
			}
			kind = "root"
			at = element + int(order.Uint32(b[element+4:])) + int(order.Uint32(b[element+8:]))
			add("bucket's root", 8)
			add("bucket's sequence", 8)
			if order.Uint64(b[at-16:]) == 0 {
				kind = "root with a small bucket"
				add("id", 8)
				add("kind", 2)
				add("count", 2)
				add("overflow", 4)
				add("flags", 4)
				add("position", 4)
				add("key", 4)
				add("value", 4)
			}
		})
	case freelistPage:
		kind = "list of free pages"
		elements(8, func() { add("free page", 8) })
	default:
		kind = fmt.Sprint("meta ", page)
		for _, f := range []field{{"magic", 0, 4}, {"version", 0, 4}, {"page size", 0, 4}, {"flags", 0, 4}, {"root", 0, 8}, {"sequence", 0, 8}, {"free list", 0, 8}, {"pages", 0, 8}, {"change", 0, 8}} {
			add(f.name, f.size)
		}
	}
	return kind, all
}

// TestDamagedPages: whatever number of whatever page is wrong, by little or by much, bbolt
// does not see it; or it is none that matters.
func TestDamagedPages(t *testing.T) {
	for _, records := range []int{0, 1, 60} {
		whole := storeOf(t, records)
		if use(t, whole) {
			t.Fatal("a whole store is taken for damaged")
		}
		pages := int(max(order.Uint64(whole[pageHeader+40:]), order.Uint64(whole[os.Getpagesize()+pageHeader+40:])))
		done := map[string]int{}
		for page := range pages {
			kind, fields := layout(whole, page)
			if done[kind]++; done[kind] > 1 {
				continue
			}
			for _, f := range fields {
				now, used := get(whole, f), 0
				for _, n := range []uint64{
					now + 1, now - 1, 0, 1, 2, 3, now + 8, now * 2, 0x10, 0xFFFE, 0xFFFF, math.MaxInt32, math.MaxUint32, math.MaxInt64,
					math.MaxUint64 - 1, math.MaxUint64, uint64(page), uint64(pages) - 1, uint64(pages), uint64(len(whole)),
				} {
					b := bytes.Clone(whole)
					if set(b, f, n); bytes.Equal(b, whole) {
						continue
					}
					sum(b)
					if !passes(t, b) || used == 3 { // one that does not matter
						continue
					}
					used++
					if use(t, b); t.Failed() {
						t.Fatalf("%d records, page %d, %s: %s is %d, not %d", records, page, kind, f.name, n, now)
					}
				}
			}
		}
		t.Logf("%d records: %v", records, done)
	}
}

// TestDamagedFile: with a file that was cut, zeroed, or overwritten, lockd lives, says so
// once, and leaves it as it is.
func TestDamagedFile(t *testing.T) {
	whole, size := storeOf(t, 60), os.Getpagesize()
	whole = whole[:min(len(whole), 10*size)]
	for end := 1; end < len(whole); end += size/2 - 1 {
		use(t, whole[:end])
	}
	for at := 0; at < len(whole); at += size {
		b := bytes.Clone(whole)
		clear(b[at : at+size])
		use(t, b)
		for from := 0; from < len(whole); from += size {
			copy(b[at:at+size], whole[from:])
			use(t, b)
		}
	}
	for _, b := range [][]byte{make([]byte, 1), make([]byte, 1<<20), []byte("garbage"), bytes.Repeat([]byte("garbage"), 1<<16), bytes.Repeat([]byte{0xFF}, 1<<16)} {
		if !use(t, b) {
			t.Error("that is no store")
		}
	}
}

// TestWholePages: what bbolt has written is never taken for damaged.
func TestWholePages(t *testing.T) {
	file := memoryFile(t, nil)
	kept := again(t, file)
	s, log := openFile(t, "")
	s.Open(file)
	defer s.close()
	r := rand.New(rand.NewPCG(1, 2))
	long := strings.Repeat("x", 200)
	for round := range 60 {
		most := 1 << r.IntN(12)
		for range r.IntN(2 * most) {
			name := client(r.IntN(most)) + long[:r.IntN(2)*r.IntN(len(long))]
			if r.IntN(3) > round%3 {
				s.mustPut(t, name, nil)
			} else {
				e := example()
				e.targets = e.targets[:r.IntN(len(e.targets)+1)]
				s.mustPut(t, name, e)
			}
		}
		s.write()
		info, err := kept.Stat()
		if err == nil {
			err = checkPages(kept, info.Size())
		}
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, log)
		}
	}
}

// FuzzStore: wherever a store's file was changed, or cut, lockd lives.
func FuzzStore(f *testing.F) {
	var stores [][]byte
	for _, n := range []int{0, 3, 300} {
		stores = append(stores, storeOf(f, n))
	}
	page := uint32(os.Getpagesize())
	f.Add(uint8(0), uint32(0), []byte{}, uint32(0), []byte{}, uint32(math.MaxUint32))
	f.Add(uint8(1), uint32(16), []byte{0xff}, page+16, []byte{0xff}, uint32(math.MaxUint32))
	f.Add(uint8(1), 2*page, []byte{0xff, 0xff, 0xff, 0xff}, 3*page+8, []byte{4, 0, 0xff, 0xff}, uint32(math.MaxUint32))
	f.Add(uint8(1), uint32(8271), []byte("0"), uint32(12217), []byte("0"), uint32(32766))
	f.Fuzz(func(t *testing.T, which uint8, at uint32, one []byte, then uint32, other []byte, end uint32) {
		b := bytes.Clone(stores[int(which)%len(stores)])
		copy(b[int(at)%len(b):], one)
		copy(b[int(then)%len(b):], other)
		sum(b)
		if b = b[:min(int(end), len(b))]; passes(t, b) {
			use(t, b)
		}
	})
}

// BenchmarkCheckPages: a store of 64 MiB.
func BenchmarkCheckPages(b *testing.B) {
	file := memoryFile(b, nil)
	kept := again(b, file)
	s, _ := openFile(b, "")
	s.Open(file)
	for i, size := 0, int64(0); size < 64<<20; i++ {
		for j := range 10000 {
			e := example()
			s.mustPut(b, fmt.Sprintf("%d-%d", j, i), e)
		}
		s.write()
		info, _ := kept.Stat()
		size = info.Size()
	}
	s.close()
	info, _ := kept.Stat()
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		if err := checkPages(kept, info.Size()); err != nil {
			b.Fatal(err)
		}
	}
}
