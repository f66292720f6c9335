// Package firewall holds the example rules that lie beside it, for smtp-gatectl to fill in
// with the values of one place. The files are what they are: rules that load, with
// definitions at their top. This package owns which words of them are values; it knows
// none itself.
package firewall

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed *.nft *.conf *.sh
var files embed.FS

// definition is a line that gives a name a value: of nft, of pf.conf, of a shell.
var definition = regexp.MustCompile(`(?m)^(?:define )?([a-z]+[46]?) ?= ?("[^"\n]*"|\{[^}\n]*\}|[^\s#"{]+)(?:[ \t]+#.*)?$`)

// Fill is an example without its first comment, with values in the place of its own. Each of
// its definitions must have one; where that is empty, the definition is left out with each
// line that uses it.
func Fill(name string, values map[string]string) (string, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return "", err
	}
	_, body, _ := strings.Cut(string(text), "\n\n")
	var b strings.Builder
	var without *regexp.Regexp // a use of a name without a value
	var empty []string
	for line := range strings.Lines(body) {
		at := definition.FindStringSubmatchIndex(line)
		if at == nil {
			if without == nil || !without.MatchString(line) {
				b.WriteString(line)
			}
			continue
		}
		word := line[at[2]:at[3]]
		value, known := values[word]
		switch {
		case !known:
			return "", fmt.Errorf("%s defines %s, and nothing says what that is here", name, word)
		case value == "":
			empty = append(empty, word)
			without = regexp.MustCompile(`\$(` + strings.Join(empty, "|") + `)\b`)
		default:
			comment := strings.TrimLeft(line[at[5]:], " \t")
			if comment != "\n" { // it stays where it was, if there is room
				value += strings.Repeat(" ", max(1, len(line)-len(comment)-at[4]-len(value)))
			}
			b.WriteString(line[:at[4]] + value + comment)
		}
	}
	return b.String(), nil
}
