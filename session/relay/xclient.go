package relay

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns XCLIENT: telling the server who its client really is (mode
// fixed+xclient; Postfix, XCLIENT_README), before the client hears a word: its
// addresses and ports. HELO and PROTO are not told: the server learns both from the
// client's own EHLO, and Postfix refuses a second XCLIENT.
//
// LOGIN is told as long as nobody has logged in, and says so. A name never is: that
// is for proxies that check passwords themselves; here the server takes AUTH from
// the client, and knows the name. To tell it would do harm: where Postfix does not
// refuse (550) an XCLIENT behind AUTH, it forgets what the client said in EHLO.

// AppendXclient appends the command, without CRLF, with those attributes of a client
// that has not spoken yet that the server wants to be told.
func AppendXclient(b []byte, attributes []string, f *Facts) []byte {
	b = appendAddr(append(b, "XCLIENT ADDR="...), f.Client.Addr())
	b = append(b, " NAME=[UNAVAILABLE]"...)
	if slices.Contains(attributes, "PORT") {
		b = strconv.AppendUint(append(b, " PORT="...), uint64(f.Client.Port()), 10)
	}
	if slices.Contains(attributes, "DESTADDR") {
		b = appendAddr(append(b, " DESTADDR="...), f.Local.Addr())
	}
	if slices.Contains(attributes, "DESTPORT") {
		b = strconv.AppendUint(append(b, " DESTPORT="...), uint64(f.Local.Port()), 10)
	}
	if slices.Contains(attributes, "LOGIN") {
		b = append(b, " LOGIN=[UNAVAILABLE]"...)
	}
	return b
}

// appendAddr appends an address as XCLIENT wants it, without a zone: that is our
// host's own name for an interface.
func appendAddr(b []byte, a netip.Addr) []byte {
	text := a.WithZone("").AppendTo(nil)
	if a.Is6() {
		b = append(b, "IPV6:"...)
	}
	return smtp.AppendXtext(b, text)
}
