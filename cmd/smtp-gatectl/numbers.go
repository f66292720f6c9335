// Numbers and lists in JSON. This file owns that none is printed which a reader would take
// for another: most hold numbers in doubles, and a list that is null cannot be gone through.

package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
)

// exact is the largest whole number below which a double holds all others (IEEE 754:
// 53 bits).
const exact = 1 << 53

// marshal is json.Marshal, but that a whole number beyond exact is the string of its
// digits, and a list with nothing in it none the less a list.
func marshal(v any) ([]byte, error) {
	if l := reflect.ValueOf(v); l.Kind() == reflect.Slice && l.IsNil() {
		return []byte("[]"), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return quoteLarge(text), nil
}

// listOf is a list of what is printed, which is never null.
type listOf[T any] []T

// MarshalJSON implements json.Marshaler.
func (l listOf[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// quoteLarge puts such numbers in quotes, in a text that is JSON.
func quoteLarge(text []byte) []byte {
	var b bytes.Buffer
	for len(text) > 0 {
		n := 1
		switch c := text[0]; {
		case c == '"':
			n = stringLen(text)
			b.Write(text[:n])
		case c == '-' || c >= '0' && c <= '9':
			n = numberLen(text)
			if large(string(text[:n])) {
				b.WriteByte('"')
				b.Write(text[:n])
				b.WriteByte('"')
			} else {
				b.Write(text[:n])
			}
		default:
			b.WriteByte(c)
		}
		text = text[n:]
	}
	return b.Bytes()
}

// stringLen is the length of the string that a text begins with, its quotes counted.
func stringLen(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// numberLen is the length of the number that a text begins with.
func numberLen(text []byte) int {
	n := bytes.IndexFunc(text, func(r rune) bool { return !(r >= '0' && r <= '9') && !bytes.ContainsRune([]byte("+-.eE"), r) })
	if n < 0 {
		return len(text)
	}
	return n
}

// large tells whether a number is a whole one beyond exact. What is written with a point or
// an exponent came out of a double.
func large(number string) bool {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return n > exact || n < -exact
	}
	_, err := strconv.ParseUint(number, 10, 64)
	return err == nil
}
