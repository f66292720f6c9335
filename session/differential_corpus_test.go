// What a client might say to be read in two ways. "smuggled" stands in octets
// that no reading of ours takes for a command, EVIL in what a scanner refuses.

package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// hostile is one client's side of a dialogue, behind its first EHLO.
type hostile struct {
	group, name string
	talk        []string // what is said; between two of them, the code that is waited for
	early       bool     // nothing is waited for, not even the greeting
	abort       bool     // the connection is reset, not closed
}

const (
	envelope = "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example>\r\n"
	opening  = envelope + "DATA\r\n"
	ending   = "\r\n.\r\n"
	header   = "Subject: one\r\n\r\n"
	harmless = "MAIL FROM:<smuggled@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nSubject: smuggled\r\n\r\ntwo\r\n.\r\n"
	evil     = "MAIL FROM:<smuggled@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nEVIL\r\n.\r\n"
	later    = "MAIL FROM:<later@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nSubject: later\r\n\r\nthree\r\n.\r\n"
	wicked   = "MAIL FROM:<later@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nSubject: later\r\n\r\nEVIL\r\n.\r\n"
	bye      = "QUIT\r\n"
)

// answeredEarly is the group of streams that some servers answer before their end.
const answeredEarly = "answered early"

// earlyCorpus returns streams for such servers. The client waits for the answer:
// what it sends behind it reaches nobody.
func earlyCorpus() []hostile {
	var all []hostile
	big := tooBig + "\r\n"
	for name, text := range map[string]string{
		"in the first line":  opening + big,
		"in the header":      opening + "Subject: " + big,
		"in the text":        opening + header + "one\r\n" + big,
		"behind a dot":       opening + header + "..\r\n." + big,
		"in a long text":     opening + header + strings.Repeat("0123456789\r\n", 5000) + big,
		"in the second mail": later + opening + header + big,
	} {
		for behind, rest := range map[string]string{
			"nothing":            "",
			"the end":            ".\r\n",
			"text":               "two\r\n.\r\n",
			"text that is evil":  "EVIL\r\n.\r\n",
			"commands":           harmless,
			"evil commands":      evil,
			"an open DATA":       opening + ".\r\n",
			"chunks":             envelope + "BDAT 10 LAST\r\n0123456789.\r\n",
			"bare ends":          "\n.\n\r.\r\r\n.\n" + evil,
			"another":            big + big + ".\r\n",
			"an end in the next": "two\r\n" + strings.Repeat("x", 40_000) + "\r\n.\r\n",
			"QUIT":               bye,
		} {
			all = append(all, hostile{group: answeredEarly, name: name + ", then " + behind, talk: []string{text, "552", rest + later + wicked + bye}})
		}
	}
	return all
}

// corpus returns all streams.
func corpus() []hostile {
	var all []hostile
	add := func(group, name string, talk ...string) {
		all = append(all, hostile{group: group, name: name, talk: talk})
	}
	addAll := func(group string, streams map[string]string, tail string) {
		for _, name := range slices.Sorted(maps.Keys(streams)) {
			add(group, name, streams[name]+tail)
		}
	}
	long := func(n int) string { return strings.Repeat("x", n) }

	ends := []string{
		"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\r.\r\n", "\n\r.\n\r",
		"\r\n.\n\r\n", "\r\n.\r.\r\n", "\n.\n.\n", "\r\n..\n", "\n..\n", "\n..\r\n", "\r..\r", "\r\n..\r", "\n.\r", "\r.\n", "\r\n.\n.\n",
	}
	for _, end := range ends {
		add("smuggling", fmt.Sprintf("%q", end), opening+header+"one"+end+harmless+bye)
		add("smuggling", fmt.Sprintf("%q, evil", end), opening+header+"one"+end+evil+bye)
	}
	add("smuggling", "the whole in bare LF", strings.ReplaceAll(opening+header+"one"+ending+later+bye, "\r\n", "\n"))
	add("smuggling", "DATA ended by LF", envelope+"DATA\n"+header+"one"+ending+later+bye)
	add("smuggling", "end at the very start, bare", opening+".\n"+harmless+bye)
	add("smuggling", "end at the very start, LF before", opening+"\n.\n"+harmless+bye)
	add("smuggling", "end at the very start", opening+".\r\n"+later+bye)

	for _, end := range []string{"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\x00\n", "\r\x00\n.\r\n", "\x00\r\n.\x00\n", "\n\x00.\n", "\n.\x00\n", "\r\n\x00\x00..\r\n", "\x00\n.\n\x00"} {
		add("NUL", fmt.Sprintf("%q", end), opening+header+"one"+end+harmless+bye)
		add("NUL", fmt.Sprintf("%q, evil", end), opening+header+"one"+end+evil+bye)
	}
	add("NUL", "hides what follows on the line", opening+header+"one\x00EVIL"+ending+later+bye)
	add("NUL", "hides within a word", opening+header+"E\x00V\x00I\x00L"+ending+later+bye)
	add("NUL", "in the header's name", opening+"Sub\x00ject: x\r\n\r\none"+ending+bye)

	for _, line := range []string{". ", ".\t", "..", "...", " .", ".. ", ".a", "..a", ".\x7f", ".\xe2\x80\xa8", "=2E", ".=", ".\x0b", ".\x0c"} {
		add("dots", fmt.Sprintf("line %q", line), opening+header+line+"\r\n"+harmless+bye)
		add("dots", fmt.Sprintf("first line %q", line), opening+line+"\r\n"+header+harmless+bye)
	}

	for _, line := range []string{"..head", "..", "...", ".head", ".", "..\x00", ".\x00.", "\x00..", ". ."} {
		for _, end := range []string{"\n", "\r\n", "\r\x00\n"} {
			add("dots", fmt.Sprintf("line %q behind LF, ended by %q", line, end), opening+"Subject: one\n\n"+line+end+harmless+bye)
		}
	}
	add("dots", "as Python sends them", opening+"Subject: dots\n\n..head\n...two\n..\n.end\n\r\n.\r\n"+later+bye)

	for _, n := range []int{512, 998, 1000, 2048, 4096, 12288, 32768, 65536} {
		for _, off := range []int{-2, -1, 0, 1} {
			add("long lines", fmt.Sprintf("a dot at %d%+d", n, off), opening+header+long(n+off)+"."+"\r\n"+harmless+bye)
		}
		add("long lines", fmt.Sprintf("a bare end at %d", n), opening+header+long(n)+"\n.\n"+evil+bye)
		add("long lines", fmt.Sprintf("a command of %d", n), "NOOP "+long(n-7)+"\r\n"+later+bye)
		add("long lines", fmt.Sprintf("a command of %d, another in it", n), "NOOP "+long(n-5)+"MAIL FROM:<smuggled@client.example>\r\n"+later+bye)
		add("long lines", fmt.Sprintf("no verb, %d", n), long(n-1)+"\n"+bye)
	}
	add("long lines", "200000 octets without an end", opening+header+long(100000))
	add("long lines", "a command without an end", long(300000))

	add("before 354", "text at once", opening+header+"one"+ending+bye)
	add("before 354", "text that looks like commands", opening+harmless+ending+bye)
	add("before 354", "DATA refused, text is commands", "MAIL FROM:<nodata@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nSubject: x\r\n\r\n"+later+bye)
	add("before 354", "DATA refused, evil text", "MAIL FROM:<nodata@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nEVIL\r\n.\r\n"+later+bye)
	add("before 354", "no recipients", "MAIL FROM:<a@client.example>\r\nRCPT TO:<refuse@mx.example>\r\nDATA\r\n"+later+bye)
	add("before 354", "no recipients, evil", "MAIL FROM:<a@client.example>\r\nRCPT TO:<refuse@mx.example>\r\nDATA\r\n"+wicked+bye)
	add("before 354", "DATA twice", envelope+"DATA\r\nDATA\r\n"+header+"one"+ending+bye)
	add("before 354", "no MAIL", "DATA\r\n"+later+bye)
	add("before 354", "waits for it", opening, "354", header+"one"+ending+later+bye)
	add("before 354", "DATA with an argument", envelope+"DATA now\r\n"+header+"one"+ending+later+bye)
	add("before 354", "DATA with blanks behind", envelope+"DATA   \r\n"+header+"one"+ending+later+bye)

	add("behind the dot", "another mail", opening+header+"one"+ending+later+bye)
	add("behind the dot", "an evil one", opening+header+"one"+ending+wicked+bye)
	add("behind the dot", "behind an evil one", opening+header+"EVIL"+ending+later+bye)
	add("behind the dot", "QUIT and more", opening+header+"one"+ending+bye+wicked)
	add("behind the dot", "ten mails", strings.Repeat(later, 10)+bye)
	add("behind the dot", "ten mails, the fifth evil", strings.Repeat(later, 4)+wicked+strings.Repeat(later, 5)+bye)
	add("behind the dot", "a second dot", opening+header+"one"+ending+".\r\n"+later+bye)
	add("behind the dot", "a chunk", opening+header+"one"+ending+envelope+"BDAT 6 LAST\r\nEVIL\r\n"+bye)
	add("behind the dot", "LF only", opening+header+"one"+ending+strings.ReplaceAll(wicked, "\r\n", "\n")+bye)
	add("behind the dot", "blank lines", opening+header+"one"+ending+"\r\n\r\n"+later+bye)

	for _, line := range []string{
		"NO\x00OP", "NOOP\x00", "\x00NOOP", "NOOP x\x00MAIL FROM:<smuggled@client.example>", "NOOP\rMAIL FROM:<smuggled@client.example>",
		"\rNOOP", "NOOP\r", "NOOP x\r\rRSET", "MAIL\tFROM:<later@client.example>", "\tNOOP", "   NOOP", "NOOP\t\tx", "NOOP x\x1bx", "NOOP \x7f", "NOOP \xff\xfe", "\xc3\xa9HLO x",
		"MAIL", "RCPT", "MAIL FROM", "MAIL FROM:", "MAIL FROM :<later@client.example>", "EHLO", "HELO", "AUTH", "BDAT", "BURL", "XCLIENT", "", " ", "\t",
		"mail from:<later@client.example>\x0bSIZE=1", "MAIL FROM:<later@client.example>\r SIZE=1", "NOOP\u2028MAIL FROM:<later@client.example>", "NOOP\u010aRSET", "DATA\x00",
		"DATA\r", "D\x00ATA", "DATA\x0b", "\xef\xbb\xbfDATA", "MAIL FROM:<\"a\\\rb\"@client.example>",
	} {
		add("commands", fmt.Sprintf("%q", line), line+"\r\n"+later+bye)
	}
	add("commands", "a bare CR behind DATA", envelope+"DATA\r"+evil+bye)
	add("commands", "CR CR LF", strings.ReplaceAll(later, "\r\n", "\r\r\n")+bye)
	add("commands", "LF CR", strings.ReplaceAll(later, "\r\n", "\n\r")+bye)
	add("commands", "CR alone", strings.ReplaceAll(later, "\r\n", "\r")+bye)

	chunked := func(sizes ...string) string {
		return envelope + strings.Join(sizes, "")
	}
	text := header + "one\r\n"
	bdat := func(text, last string) string { return fmt.Sprintf("BDAT %d%s\r\n%s", len(text), last, text) }
	addAll("BDAT", map[string]string{
		"one chunk":                    chunked(bdat(text, " LAST")) + later,
		"two chunks":                   chunked(bdat(text, ""), bdat("two\r\n", " LAST")) + later,
		"no text in the last":          chunked(bdat(text, ""), "BDAT 0 LAST\r\n") + later,
		"nothing at all":               chunked("BDAT 0 LAST\r\n") + later,
		"EVIL":                         chunked(bdat(header+"EVIL\r\n", " LAST")) + later,
		"EVIL in two":                  chunked(bdat(header+"EV", ""), bdat("IL\r\n", " LAST")) + later,
		"the end of DATA in it":        chunked(bdat(text+".\r\n"+harmless, " LAST")) + later,
		"bare ends in it":              chunked(bdat(text+"\n.\n\r.\r"+harmless, " LAST")) + later,
		"NUL and 8-bit":                chunked(bdat("\x00\xff"+text+"\x00", " LAST")) + later,
		"no CRLF at its end":           chunked(bdat("Subject: one\r\n\r\none", " LAST")) + later,
		"commands in it":               chunked(bdat(harmless, ""), bdat(evil, " LAST")),
		"no RCPT":                      "MAIL FROM:<a@client.example>\r\n" + bdat(harmless, " LAST") + later,
		"no MAIL":                      bdat(harmless, " LAST") + later,
		"all RCPT refused":             "MAIL FROM:<a@client.example>\r\nRCPT TO:<refuse@mx.example>\r\n" + bdat(harmless, " LAST") + later,
		"all RCPT refused, evil":       "MAIL FROM:<a@client.example>\r\nRCPT TO:<refuse@mx.example>\r\n" + bdat(evil, " LAST") + later,
		"DATA behind":                  chunked(bdat(text, "")) + "DATA\r\nRSET\r\n" + later,
		"DATA behind, with text":       chunked(bdat(text, "")) + "DATA\r\n" + header + "EVIL" + ending + later,
		"RSET behind":                  chunked(bdat(text, "")) + "RSET\r\n" + later,
		"MAIL behind":                  chunked(bdat(text, "")) + later,
		"EHLO behind":                  chunked(bdat(text, "")) + "EHLO again\r\n" + later,
		"RSET, then LAST":              chunked(bdat(text, "")) + "RSET\r\n" + bdat(harmless, " LAST") + later,
		"QUIT behind":                  chunked(bdat(text, "")) + bye,
		"LAST twice":                   chunked(bdat(text, " LAST"), bdat(harmless, " LAST")) + later,
		"no size":                      chunked("BDAT\r\n") + later,
		"LAST only":                    chunked("BDAT LAST\r\n") + later,
		"negative":                     chunked("BDAT -5 LAST\r\n") + later,
		"plus":                         chunked("BDAT +5 LAST\r\nRSET\r\n") + later,
		"hexadecimal":                  chunked("BDAT 0x10 LAST\r\n") + later,
		"exponent":                     chunked("BDAT 1e1 LAST\r\n\r\n") + later,
		"2^64":                         chunked("BDAT 18446744073709551616 LAST\r\n") + later,
		"2^64+5":                       chunked("BDAT 18446744073709551621 LAST\r\n") + evil,
		"2^63-1":                       chunked("BDAT 9223372036854775807 LAST\r\n") + evil,
		"2^32+5":                       chunked("BDAT 4294967301 LAST\r\n") + evil,
		"leading zeros":                chunked(fmt.Sprintf("BDAT 000%d LAST\r\n%s", len(text), text)) + later,
		"rubbish instead of LAST":      chunked(bdat(harmless, " FIRST")) + later,
		"rubbish behind LAST":          chunked(bdat(harmless, " LAST now")) + later,
		"a comma":                      chunked("BDAT 5,LAST\r\n12345") + later,
		"last, small letters":          chunked(strings.ToLower(bdat(text, " LAST"))) + later,
		"tabs":                         chunked(fmt.Sprintf("BDAT\t%d\tLAST\r\n%s", len(text), text)) + later,
		"NUL in its line":              chunked("BDAT 5\x00 LAST\r\n") + later,
		"NUL behind its size":          chunked("BDAT 105 \x00\r\n") + later,
		"CR in its line":               chunked("BDAT 5\rLAST\r\n") + later,
		"LF ends its line":             chunked(strings.Replace(bdat(text, " LAST"), "\r\n", "\n", 1)) + later,
		"longer than what comes":       chunked("BDAT 100000 LAST\r\n") + evil,
		"a dot line behind":            chunked(bdat(text, " LAST")) + ".\r\n" + later,
		"one octet a chunk":            chunked("BDAT 1\r\nEBDAT 1\r\nVBDAT 1\r\nIBDAT 1 LAST\r\nL") + later,
		"refused MAIL before":          "MAIL FROM:<refuse@client.example>\r\nRCPT TO:<b@mx.example>\r\n" + bdat(harmless, " LAST") + later,
		"behind DATA's message":        later + chunked(bdat(text, " LAST")) + later,
		"BODY=BINARYMIME, then DATA":   "MAIL FROM:<a@client.example> BODY=BINARYMIME\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + text + ".\r\n" + later,
		"BODY=BINARYMIME":              "MAIL FROM:<a@client.example> BODY=BINARYMIME\r\nRCPT TO:<b@mx.example>\r\n" + bdat(text+"\n.\n\x00", " LAST") + later,
		"a continuation first":         chunked(bdat("\tfolded\r\n"+text, " LAST")) + later,
		"a chunk of 100000":            chunked(bdat(header+strings.Repeat("0123456789\r\n", 8333), " LAST")) + later,
		"a chunk of 100000, evil last": chunked(bdat(header+strings.Repeat("0123456789\r\n", 8333), ""), bdat("EVIL", " LAST")) + later,
	}, bye)

	add("STARTTLS", "commands behind it", "STARTTLS\r\n"+wicked+bye)
	add("STARTTLS", "one octet behind it", "STARTTLS\r\n\n")
	add("STARTTLS", "with an argument, commands behind", "STARTTLS now\r\n"+later)
	add("STARTTLS", "blanks before it", "  starttls \r\n"+wicked)
	add("STARTTLS", "in a transaction", envelope+"STARTTLS\r\nDATA\r\n"+header+"EVIL"+ending)
	add("STARTTLS", "LF ends it", "STARTTLS\n"+wicked)
	add("STARTTLS", "waits for it", "STARTTLS\r\n", "220", "\x16\x03\x01\x00\x05hello")
	add("STARTTLS", "behind a mail", later+"STARTTLS\r\n"+wicked)

	addAll("AUTH", map[string]string{
		"initial response":                 "AUTH PLAIN AGEAYg==\r\n" + later,
		"challenge":                        "AUTH PLAIN\r\nAGEAYg==\r\n" + later,
		"two challenges":                   "AUTH LOGIN\r\nYQ==\r\nYg==\r\n" + later,
		"cancelled":                        "AUTH LOGIN\r\n*\r\n" + later,
		"a command for a response":         "AUTH PLAIN\r\nDATA\r\n" + later,
		"a mail for a response":            "AUTH LOGIN\r\n" + later,
		"unknown mechanism, response":      "AUTH NONE\r\nRSET\r\n" + later,
		"a response with NUL":              "AUTH LOGIN\r\nY\x00Q\r\n" + later,
		"a response with CR":               "AUTH PLAIN\r\nYQ\rMAIL FROM:<smuggled@client.example>\r\n" + later,
		"a response ended by LF":           "AUTH PLAIN\r\nYQ==\n" + later,
		"a response of 12288":              "AUTH PLAIN\r\n" + strings.Repeat("Y", 12286) + "\r\n" + later,
		"a response of 20000":              "AUTH PLAIN\r\n" + strings.Repeat("Y", 20000) + "\r\n" + later,
		"an initial response of 12000":     "AUTH PLAIN " + strings.Repeat("Y", 12000) + "\r\n" + later,
		"an initial response of 20000":     "AUTH PLAIN " + strings.Repeat("Y", 20000) + "MAIL FROM:<smuggled@client.example>\r\n" + later,
		"an empty response":                "AUTH PLAIN\r\n\r\n" + later,
		"EVIL behind":                      "AUTH PLAIN AGEAYg==\r\n" + wicked,
		"in a transaction":                 envelope + "AUTH PLAIN\r\nDATA\r\nDATA\r\n" + header + "EVIL" + ending,
		"a response that begins with DATA": envelope + "AUTH LOGIN\r\nDATA\r\nDATA\r\nDATA\r\n" + header + "one" + ending + later,
	}, bye)

	addAll("extensions", map[string]string{
		"XCLIENT":                       "XCLIENT ADDR=192.0.2.1\r\n" + later,
		"XCLIENT with NUL":              "XCLIENT ADDR=192.0.2.1\x00\r\n" + later,
		"XCLIENT with CR":               "XCLIENT NAME=a\rMAIL FROM:<smuggled@client.example>\r\n" + later,
		"XCLIENT in a transaction":      envelope + "XCLIENT ADDR=192.0.2.1\r\nDATA\r\n" + later,
		"BURL":                          envelope + "BURL imap://x/EVIL LAST\r\n" + later,
		"burl, small letters, a tab":    envelope + "burl\timap://x/EVIL LAST\r\n" + later,
		"BURL behind a chunk":           envelope + "BDAT 5\r\nabcde" + "BURL imap://x/y LAST\r\n" + later,
		"XEXCH50":                       "XEXCH50 20 2\r\n" + later,
		"xexch50, blanks before":        "  xexch50 20 2\r\n" + later,
		"XEXCH50 in a transaction":      envelope + "XEXCH50 106 2\r\n" + wicked,
		"TURN and ATRN":                 "TURN\r\nATRN\r\n" + later,
		"an HTTP request":               "POST / HTTP/1.1\r\nHost: x\r\n\r\n" + later,
		"PROXY":                         "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + later,
		"8-bit addresses":               "MAIL FROM:<\xc3\xa9@client.example> SMTPUTF8\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + header + "one" + ending,
		"a quoted address with an end":  "MAIL FROM:<\"a> SIZE=1\"@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + header + "one" + ending,
		"an address with a line in it":  "MAIL FROM:<\"a\nb\"@client.example>\r\n" + later,
		"an address with a source path": "MAIL FROM:<@a,@b:c@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + header + "one" + ending,
	}, bye)

	for _, x := range smtp.Extensions {
		if x.Treatment != smtp.Mask {
			continue
		}
		for _, verb := range x.Verbs {
			add("masked", verb, verb+" FROM:<smuggled@client.example>\r\n"+envelope+verb+" 1 LAST\r\nDATA\r\n"+header+"one"+ending+later+bye)
			add("masked", verb+", small letters, evil", "\t"+strings.ToLower(verb)+" \r\n"+wicked+bye)
		}
		for _, p := range x.Params {
			mail := "MAIL FROM:<a@client.example> BODY=8BITMIME " + p
			rest := "\r\nRCPT TO:<b@mx.example>\r\nRCPT TO:<c@mx.example>\r\nDATA\r\n"
			add("masked", "MAIL with "+p, mail+rest+header+"one"+ending+later+bye)
			add("masked", "MAIL with "+p+" and a value", strings.ToLower(mail)+"=x"+rest+header+"one"+ending+later+bye)
			add("masked", "RCPT with "+p, "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example> "+p+"\r\n"+later+bye)
		}
	}
	add("sizes", "declared over the limit", "MAIL FROM:<a@client.example> SIZE=99999999\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n"+later+bye)
	add("sizes", "declared beyond numbers", "MAIL FROM:<a@client.example> SIZE=99999999999999999999999999\r\n"+later+bye)
	add("sizes", "declared small, sent big", "MAIL FROM:<a@client.example> SIZE=1\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n"+header+strings.Repeat("0123456789\r\n", 20000)+"\r\n.\r\n"+later+bye)
	add("sizes", "sent big, an end in it", opening+header+strings.Repeat("0123456789\r\n", 20000)+"\n.\n"+evil+bye)
	add("sizes", "a chunk over the limit", envelope+"BDAT 250000 LAST\r\n"+strings.Repeat("RSET\r\n", 250000/6)+later+bye)
	add("sizes", "chunks over the limit", envelope+strings.Repeat(fmt.Sprintf("BDAT 60000\r\n%060000d", 0), 5)+"BDAT 0 LAST\r\n"+later+bye)

	addAll("RSET", map[string]string{
		"behind MAIL":               "MAIL FROM:<a@client.example>\r\nRSET\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + later,
		"behind RCPT":               envelope + "RSET\r\nDATA\r\n" + later,
		"behind an end":             opening + header + "one" + ending + "RSET\r\n" + later,
		"in a message":              opening + header + "RSET\r\nQUIT\r\n" + harmless + later,
		"EHLO in place of it":       envelope + "EHLO again\r\nDATA\r\n" + later,
		"HELO in place of it":       envelope + "HELO again\r\nDATA\r\n" + later,
		"a hundred":                 strings.Repeat("RSET\r\n", 100) + later,
		"MAIL twice":                "MAIL FROM:<a@client.example>\r\nMAIL FROM:<b@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n" + header + "one" + ending + later,
		"refused DATA, then a mail": "MAIL FROM:<nodata@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nRSET\r\n" + wicked,
		"more than the queue holds": strings.Repeat("NOOP\r\n", 1000) + later,
		"evil, then RSET and mail":  opening + header + "EVIL" + ending + "RSET\r\n" + later,
	}, bye)

	addAll("headers", map[string]string{
		"an X-Nat-Received of its own":           opening + "X-Nat-Received: from [192.0.2.1]:1 [ident-empty]\r\n\tby gate.example with TPROXY id 1.1\r\n" + header + "one" + ending,
		"an X-Proxy-Spool-Info":                  opening + "X-Proxy-Spool-Info: src=192.0.2.1:1, ident=, dst=192.0.2.2:25, trns=0\r\n" + header + "one" + ending,
		"a continuation first":                   opening + " folded: into what\r\n\tstands before\r\n" + header + "one" + ending,
		"an empty line first":                    opening + "\r\n" + header + "one" + ending,
		"no header":                              opening + "only text" + ending,
		"a From line":                            opening + "From a Mon Jan  1 00:00:00 2024\r\n" + header + "\r\nFrom b" + ending,
		"a header ended by LF LF":                opening + "Subject: one\n\nEVIL" + ending,
		"a header ended by CR CR":                opening + "Subject: one\r\rEVIL" + ending,
		"a header line ended by a dot":           opening + "Subject: one\r\n.X-Two: x\r\n\r\none" + ending,
		"a header with 8-bit":                    opening + "Subject: \xff\xfe\r\n\r\none" + ending,
		"a header of blanks":                     opening + " \r\n \r\n" + header + "one" + ending,
		"a header name of 2000":                  opening + long(2000) + ": x\r\n\r\none" + ending,
		"EVIL in the header":                     opening + "Subject: EVIL\r\n\r\none" + ending,
		"EVIL in two lines, joined by a bare CR": opening + header + "EV\rIL" + ending,
	}, later+bye)

	whole := opening + header + "one\r\n..two" + ending + wicked + bye
	for _, at := range []int{1, 30, 58, 60, 64, 66, 70, 82, 84, 88, 94, 95, 96, 97, 98, 99, 100, 102, 130, len(whole) - 12, len(whole) - 8, len(whole) - 7} {
		all = append(all,
			hostile{group: "cut off", name: fmt.Sprintf("closed at %d", at), talk: []string{whole[:at]}},
			hostile{group: "cut off", name: fmt.Sprintf("reset at %d", at), talk: []string{whole[:at]}, abort: true})
	}
	chunks := envelope + bdat(header+"one\r\n", "") + bdat("two\r\n", " LAST") + bye
	for at := len(envelope) + 4; at < len(chunks); at += 5 {
		all = append(all, hostile{group: "cut off", name: fmt.Sprintf("chunks, closed at %d", at), talk: []string{chunks[:at]}})
	}

	for _, stream := range []string{later, wicked, "NO", "STARTTLS\r\n" + evil, "\x00", "\n"} {
		all = append(all, hostile{group: "early talk", name: fmt.Sprintf("%.20q", stream), talk: []string{stream}, early: true})
	}
	return all
}
