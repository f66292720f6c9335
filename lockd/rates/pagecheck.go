package rates

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/bits"
	"strconv"
)

// What a file must be like for bbolt to read and write it. This file owns that check.
//
// bbolt maps a file and makes slices of what its pages say, without a look at whether that
// lies within the page, or the map. Such a slice ends the process, past recover, when the
// garbage collector finds it ("found bad pointer in Go heap"); debug.SetPanicOnFault helps
// against holes in the map alone. So all that can be reached is looked at first: each page
// once, read and not mapped. Stricter than bbolt is it where nothing of ours is lost by it:
// there is one bucket, and it holds none.
//
// The layout is that of go.etcd.io/bbolt/internal/common, version 2, in the machine's own
// order of octets.

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16 // id 8, kind 2, count 2, overflow 4
	pageElement = 16 // of a branch: position 4, key 4, page 8; of a leaf: flags 4, position 4, key 4, value 4
	metaSize    = 64
	bucketSize  = 16 // root 8, sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	isBucket     = 1      // a leaf element's flag
	countBehind  = 0xFFFF // a freelist's count stands in its first element

	smallestPage = 1 << 10
	largestPage  = 1 << 16
	largestRun   = 1 << 20 // of octets in a page and its overflow: our records have less than 4 KiB
	largestKey   = 1 << 15 // as bbolt has it
	deepest      = 16      // even two keys a page make 65536 leaves
	lastTx       = 1 << 62 // no file comes there
)

// largestFile is what can be mapped, and any number within it be an int.
const largestFile = min(1<<40, math.MaxInt)

var order = binary.NativeEndian

// pages are those of a file that is looked at.
type pages struct {
	file io.ReaderAt
	size uint64 // of a page
	meta meta
	seen []uint64 // a bit for each page
	last []byte   // the key read last
	leaf int      // at what depth the leaves are, 0: none was met
}

type meta struct{ size, root, freelist, pages, tx uint64 }

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrStore, fmt.Sprintf(format, a...))
}

// checkPages reads a file of size octets as far as it is in use. It is nil if it is empty,
// or one that bbolt can read and write; ErrStore if it is not. Any other error says nothing of
// the file.
func checkPages(f io.ReaderAt, size int64) error {
	if size == 0 {
		return nil
	}
	p := pages{file: f}
	if err := p.findMeta(size); err != nil {
		return err
	}
	p.seen = make([]uint64, p.meta.pages/64+1)
	p.seen[0] = 3 // the metas
	root, kind, err := p.read(p.meta.root)
	if err != nil {
		return err
	}
	if kind != leafPage {
		return damaged("its root is of kind %d", kind)
	}
	if err := p.buckets(root); err != nil {
		return err
	}
	return p.freelist()
}

// readAt reads, and has it damaged that the file ends before.
func (p *pages) readAt(b []byte, at uint64) error {
	_, err := p.file.ReadAt(b, int64(at))
	if err == io.EOF {
		return damaged("it ends too early")
	}
	return err
}

// findMeta finds the page that says what is in use, as bbolt does: of those that are valid
// the newest, and the size of pages by the first. The next change is written over the
// other, as long as the place of each is that of its number.
func (p *pages) findMeta(size int64) error {
	if size < 4*smallestPage || size > largestFile {
		return damaged("it has %d octets", size)
	}
	var both [2]meta
	var valid [2]bool
	var err error
	if both[0], valid[0], err = p.readMeta(0); err != nil {
		return err
	}
	p.size = both[0].size
	for at := uint64(smallestPage); !valid[0] && !valid[1] && at <= largestPage && at < uint64(size)-smallestPage; at *= 2 {
		if both[1], valid[1], err = p.readMeta(at); err != nil {
			return err
		}
		p.size = at
	}
	if p.size < smallestPage || p.size > largestPage || bits.OnesCount64(p.size) != 1 || uint64(size) < 4*p.size {
		return damaged("it has %d octets, in pages of %d", size, p.size)
	}
	if both[1], valid[1], err = p.readMeta(p.size); err != nil {
		return err
	}
	for place, m := range both {
		switch {
		case !valid[place]:
			continue
		case m.size != p.size:
			return damaged("pages of %d and %d octets", m.size, p.size)
		case m.tx%2 != uint64(place), m.tx > lastTx:
			return damaged("change %d stands in page %d", m.tx, place)
		}
		if m.tx >= p.meta.tx {
			p.meta = m
		}
	}
	if m := p.meta; m.pages < 4 || m.pages > uint64(size)/p.size {
		return damaged("it has %d octets, and %d pages", size, m.pages)
	}
	return nil
}

// readMeta reads what a page at an offset says of the file, ok tells whether that is valid.
func (p *pages) readMeta(at uint64) (m meta, ok bool, err error) {
	b := make([]byte, metaSize)
	if err := p.readAt(b, at+pageHeader); err != nil {
		if errors.Is(err, ErrStore) {
			err = nil
		}
		return m, false, err
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[56:]) != sum.Sum64() {
		return m, false, nil
	}
	return meta{uint64(order.Uint32(b[8:])), order.Uint64(b[16:]), order.Uint64(b[32:]), order.Uint64(b[40:]), order.Uint64(b[48:])}, true, nil
}

// take notes that a page is used for something, and for nothing else.
func (p *pages) take(id uint64) error {
	if id >= p.meta.pages {
		return damaged("page %d of %d", id, p.meta.pages)
	}
	if p.seen[id/64]&(1<<(id%64)) != 0 {
		return damaged("page %d is used twice", id)
	}
	p.seen[id/64] |= 1 << (id % 64)
	return nil
}

// header reads that of a page, and takes it with its overflow.
func (p *pages) header(id uint64) (kind, count, octets uint64, err error) {
	if id >= p.meta.pages {
		return 0, 0, 0, damaged("page %d of %d", id, p.meta.pages)
	}
	b := make([]byte, pageHeader)
	if err := p.readAt(b, id*p.size); err != nil {
		return 0, 0, 0, err
	}
	overflow := uint64(order.Uint32(b[12:]))
	if own := order.Uint64(b); own != id || overflow >= p.meta.pages {
		return 0, 0, 0, damaged("page %d says it is %d, with %d more", id, own, overflow)
	}
	for n := id; n <= id+overflow; n++ {
		if err := p.take(n); err != nil {
			return 0, 0, 0, err
		}
	}
	return uint64(order.Uint16(b[8:])), uint64(order.Uint16(b[10:])), (overflow + 1) * p.size, nil
}

// read reads a page with its overflow.
func (p *pages) read(id uint64) (b []byte, kind uint64, err error) {
	kind, _, octets, err := p.header(id)
	if err != nil {
		return nil, 0, err
	}
	if octets > largestRun {
		return nil, 0, damaged("page %d has %d octets", id, octets)
	}
	b = make([]byte, octets)
	return b, kind, p.readAt(b, id*p.size)
}

// element is one of a branch or a leaf.
type element struct {
	flags      uint32 // of a leaf's
	page       uint64 // of a branch's
	key, value []byte
}

// elements returns those of a branch or a leaf. They lie within it, behind their table.
func elements(b []byte, kind uint64) ([]element, error) {
	count := uint64(order.Uint16(b[10:]))
	table := pageHeader + count*pageElement
	if table > uint64(len(b)) {
		return nil, damaged("%d elements in %d octets", count, len(b))
	}
	all := make([]element, count)
	for i := range all {
		e, at := &all[i], pageHeader+uint64(i)*pageElement
		raw := b[at:]
		var position, key, value uint64
		if kind == leafPage {
			e.flags, position = order.Uint32(raw), uint64(order.Uint32(raw[4:]))
			key, value = uint64(order.Uint32(raw[8:])), uint64(order.Uint32(raw[12:]))
		} else {
			position, key, e.page = uint64(order.Uint32(raw)), uint64(order.Uint32(raw[4:])), order.Uint64(raw[8:])
		}
		begin := at + position
		if begin < table || key == 0 || key > largestKey || begin+key+value > uint64(len(b)) {
			return nil, damaged("an element of %d and %d octets, at %d of %d", key, value, begin, len(b))
		}
		e.key, e.value = b[begin:begin+key], b[begin+key:begin+key+value]
	}
	return all, nil
}

// buckets looks at the page that names the buckets: ours, or none yet.
func (p *pages) buckets(root []byte) error {
	all, err := elements(root, leafPage)
	if err != nil || len(all) == 0 {
		return err
	}
	b := all[0].value
	if len(all) > 1 || !bytes.Equal(all[0].key, bucketName) || all[0].flags != isBucket || len(b) < bucketSize {
		return damaged("it holds something else")
	}
	if id := order.Uint64(b); id != 0 {
		return p.tree(id, nil, 1)
	}
	// A small one is kept in the value: one leaf, which has no number.
	inside := b[bucketSize:]
	if len(inside) < pageHeader || order.Uint64(inside) != 0 || order.Uint16(inside[8:]) != leafPage || order.Uint32(inside[12:]) != 0 {
		return damaged("its small bucket is none")
	}
	records, err := elements(inside, leafPage)
	if err != nil {
		return err
	}
	return p.records(records)
}

// tree looks at a page of records, or of such pages. Its first key is the one by which it
// was found, but for the first page of all: bbolt finds a page again by that.
func (p *pages) tree(id uint64, first []byte, depth int) error {
	b, kind, err := p.read(id)
	if err != nil {
		return err
	}
	if kind != branchPage && kind != leafPage || depth > deepest {
		return damaged("page %d is of kind %d, %d pages deep", id, kind, depth)
	}
	all, err := elements(b, kind)
	if err != nil {
		return err
	}
	if len(all) == 0 && (kind == branchPage || first != nil) || first != nil && !bytes.Equal(all[0].key, first) {
		return damaged("page %d does not begin where it should", id)
	}
	if kind == leafPage {
		if p.leaf != 0 && p.leaf != depth {
			return damaged("leaves at depths %d and %d", p.leaf, depth)
		}
		p.leaf = depth
		return p.records(all)
	}
	for _, e := range all {
		if err := p.tree(e.page, e.key, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// records looks at those of a leaf: each sorts behind the one before it, in the whole file.
func (p *pages) records(all []element) error {
	for _, e := range all {
		if e.flags != 0 || p.last != nil && bytes.Compare(e.key, p.last) <= 0 {
			return damaged("a record %s in the wrong place", strconv.Quote(string(e.key)))
		}
		p.last = e.key
	}
	return nil
}

// freelist looks at the pages that nothing uses, a part at a time: their list may be long.
func (p *pages) freelist() error {
	id := p.meta.freelist
	kind, count, octets, err := p.header(id)
	if err != nil {
		return err
	}
	if kind != freelistPage {
		return damaged("page %d, of free ones, is of kind %d", id, kind)
	}
	begin, end := id*p.size+pageHeader, id*p.size+octets
	b := make([]byte, p.size)
	if count == countBehind {
		if err := p.readAt(b[:8], begin); err != nil {
			return err
		}
		count = order.Uint64(b)
		begin += 8
	}
	if count > (end-begin)/8 {
		return damaged("%d free pages in a list of %d octets", count, octets)
	}
	for end = begin + 8*count; begin < end; begin += uint64(len(b)) {
		b = b[:min(uint64(len(b)), end-begin)]
		if err := p.readAt(b, begin); err != nil {
			return err
		}
		for part := b; len(part) > 0; part = part[8:] {
			if err := p.take(order.Uint64(part)); err != nil {
				return err
			}
		}
	}
	return nil
}
