// This file owns the reading of what a server says in an XCLIENT dialogue
// (Postfix, XCLIENT_README).

package smtp

// HasWord tells whether text holds a word, given in capitals, in any case.
func HasWord(text []byte, word string) bool {
	for len(text) > 0 {
		var w []byte
		if w, text = nextWord(text); equalFold(w, word) {
			return true
		}
	}
	return false
}

// XclientOffer returns the names of the attributes, in capitals, of a line of a
// reply to EHLO that offers XCLIENT. It returns false for any other line.
func XclientOffer(r Reply) (attributes []string, ok bool) {
	word, rest := nextWord(r.Text)
	if r.First || !equalFold(word, "XCLIENT") {
		return nil, false
	}
	for len(rest) > 0 {
		word, rest = nextWord(rest)
		name := make([]byte, len(word))
		for i, c := range word {
			name[i] = upper(c)
		}
		attributes = append(attributes, string(name))
	}
	return attributes, true
}
