// This file owns the reading of BDAT arguments. The octets of a chunk are
// never looked at here: a chunk has a length and no grammar.

package smtp

import (
	"errors"
	"math"
	"strconv"
)

// ErrChunk says that the argument of BDAT is not a chunk size, with or without LAST.
var ErrChunk = errors.New("malformed BDAT argument")

// ParseBDAT reads the argument of BDAT (RFC 3030, 2): decimal digits only, and
// LAST or nothing behind them.
//
// With ErrChunk, size is still the number of octets to read and throw away
// before the next command, so that no part of a chunk is ever taken for one: 0
// if the argument does not begin with a digit. A size that int64 cannot hold is
// an error and math.MaxInt64: nothing that follows is a command any more.
func ParseBDAT(arg []byte) (size int64, last bool, err error) {
	word, rest := nextWord(arg)
	size, tail := number(word)
	switch {
	case len(word) == 0, len(tail) > 0, size == math.MaxInt64:
		return size, false, ErrChunk
	case len(rest) == 0:
		return size, false, nil
	case equalFold(trimBlanks(rest), "LAST"):
		return size, true, nil
	}
	return size, false, ErrChunk
}

// AppendBDAT appends the command for a chunk that is not the last, without CRLF.
func AppendBDAT(dst []byte, size int64) []byte {
	return strconv.AppendInt(append(dst, "BDAT "...), size, 10)
}
