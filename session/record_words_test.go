// The words that the client of a drawn dialogue has.

package session

import "strings"

var (
	helos      = []string{"client.example", "client.example", "[192.0.2.1]", "bad.example", "b\xc3\xa9.example", "two words"}
	senders    = []string{"a@client.example", "a@client.example", "", "bad@client.example", "fail@spf.example", "soft@spf.example", "error@spf.example", "problem@spf.example", "\xc3\xa9@client.example", "\"a b\"@client.example", "a@\xc3\xa9.example", "longer.than.the.log.shows.of.it.and.then.some.more.of.it.for.good.measure@client.example", "fail@spf.example(a@b)"}
	parameters = []string{"", "", "", " SIZE=100", " SIZE=100000", " BODY=8BITMIME", " BODY=BINARYMIME", " size=3000 AUTH=<>", " PRDR", " TRANSID=<x>"}
	rcpts      = []string{"b@mx.example", "b@mx.example", "c@mx.example", "bad@mx.example", "\xc3\xa9@mx.example", "a.recipient.whose.name.is.longer.than.the.log.shows.of.it@mx.example"}
	oddLines   = []string{
		"BURL imap://x\r\n", "XEXCH50 5 2\r\n", "TURN\r\n", "ATRN a\r\n", "SAML FROM:<a@client.example>\r\n", "xmrg x\r\n", "VERB ON\r\n", "X-ANONYMOUSTLS\r\n", "XCLIENT ADDR=192.0.2.9\r\n",
		"XYZZY\r\n", "HELP\r\n", "EXPN list\r\n", "ETRN x\r\n", "VRFY a\r\n", "vrfy b\r\n", "NOOP\r\n", "noop x\r\n",
		"\r\n", " \r\n", "MAIL\r\n", "RCPT\r\n", "NO\x00OP\r\n", "NOOP\rRSET\r\n", "\tNOOP\r\n", "   NOOP\r\n", "NOOP \x7f\r\n", "NOOP \xff\xfe\r\n", "MAIL FROM:\r\n", "MAIL FROM :<a@client.example>\r\n", "EHLO\r\n", "HELO\r\n",
		"NOOP " + strings.Repeat("x", 3000) + "\r\n", "NOOP " + strings.Repeat("x", 2040) + "\r\n", strings.Repeat("y", 700) + "\r\n", "\xef\xbb\xbfDATA\r\n", "MAIL\tFROM:<a@client.example>\r\n", "DATA now\r\n",
	}
	bareLines = []string{"NOOP\n", "RSET\n", "MAIL FROM:<a@client.example>\n", "NOOP x\r\r\n", "DATA\x00\n"}
	oddChunks = []string{"BDAT\r\n", "BDAT x\r\n", "BDAT -5\r\n", "BDAT 5 FIRST\r\nabc\r\n", "bdat LAST\r\n"}
	logins    = []string{"AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN\r\n", "auth login dXNlcg==\r\n", "AUTH GSSAPI\r\n", "AUTH\r\n"}
	responses = []string{"AGEAYg==\r\n", "dXNlcg==\r\n", "*\r\n", "\r\n", "x\x00y\r\n", strings.Repeat("QUFB", 3000) + "\r\n", strings.Repeat("QUFB", 4000) + "\r\n"}
	lines     = []string{
		"Subject: x\r\n", "Received: by x\r\n", "From a Mon Jan  1 00:00:00 2024\r\n", "\r\n", "\r\n", "one\r\n", "..\r\n", "..two\r\n", ". \r\n", ".x\r\n", "\xc3\xa9\xff\r\n", " folded\r\n", "QUIT\r\n", "\t\r\n",
		strings.Repeat("long ", 300) + "\r\n", "MAIL FROM:<smuggled@client.example>\r\n", "NOOP\r\n",
	}
	strayOctets = []string{"a\nb\r\n", "a\rb\r\n", "\n.\n\r\n", "a\x00b\r\n", "\r\n\x00.\r\n", ".\n\r\n", "a\r\r\n", "\x00\r\n"}
)
