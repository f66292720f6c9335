// The check that goes before the msgpack decoder: the library allocates what a
// length prefix claims and recurses as deep as the octets tell it to. Here every
// length is held against the octets left and the depth against a limit, in a
// loop, with nothing allocated.

package link

import "encoding/binary"

// maxDepth bounds nesting; the deepest message of the table needs 6.
const maxDepth = 8

// validate passes one complete msgpack value made of nil, booleans, numbers,
// strings, octets and arrays. Maps and extensions are in no message.
func validate(b []byte) error {
	var left [maxDepth]uint32 // values still to come at each depth
	depth := 0
	left[0] = 1
	i := 0
	for {
		for left[depth] == 0 {
			if depth == 0 {
				if i != len(b) {
					return bad("%d octets behind the end", len(b)-i)
				}
				return nil
			}
			depth--
		}
		if i >= len(b) {
			return bad("cut short")
		}
		left[depth]--
		c := b[i]
		i++

		var size, width int // octets of payload; octets of a length prefix
		array := false
		n := uint32(0)
		switch {
		case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3: // fixint, nil, bool
			continue
		case c >= 0xa0 && c <= 0xbf: // fixstr
			size = int(c & 0x1f)
		case c >= 0x90 && c <= 0x9f: // fixarray
			n, array = uint32(c&0x0f), true
		case c == 0xcc, c == 0xd0: // 8-bit integers
			size = 1
		case c == 0xcd, c == 0xd1:
			size = 2
		case c == 0xce, c == 0xd2, c == 0xca:
			size = 4
		case c == 0xcf, c == 0xd3, c == 0xcb:
			size = 8
		case c == 0xc4, c == 0xd9: // bin8, str8
			width = 1
		case c == 0xc5, c == 0xda:
			width = 2
		case c == 0xc6, c == 0xdb:
			width = 4
		case c == 0xdc:
			width, array = 2, true
		case c == 0xdd:
			width, array = 4, true
		default:
			return bad("octet %#x starts no value we use", c)
		}
		if width > 0 {
			if len(b)-i < width {
				return bad("cut short in a length")
			}
			switch width {
			case 1:
				n = uint32(b[i])
			case 2:
				n = uint32(binary.BigEndian.Uint16(b[i:]))
			case 4:
				n = binary.BigEndian.Uint32(b[i:])
			}
			i += width
			if !array {
				if uint64(n) > uint64(len(b)-i) {
					return bad("%d octets claimed, %d left", n, len(b)-i)
				}
				size = int(n)
			}
		}
		if array {
			// Each element takes at least one octet.
			if uint64(n) > uint64(len(b)-i) {
				return bad("%d elements claimed, %d octets left", n, len(b)-i)
			}
			if depth+1 == maxDepth {
				return bad("nested deeper than %d", maxDepth)
			}
			depth++
			left[depth] = n
			continue
		}
		if size > len(b)-i {
			return bad("cut short in a value")
		}
		i += size
	}
}
