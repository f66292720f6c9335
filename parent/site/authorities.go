// The authorities that servers' certificates are held against. This file owns reading
// them, for the rooms cannot; what they are worth is for who uses them.

package site

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/smtp-gated/smtp-gated/parent/host"
)

// mostAuthorities is what fits a room's configuration beside all else, in octets. The
// usual collection has 200 KiB.
const mostAuthorities = 768 << 10

// authorityFiles are where systems keep theirs: Debian, Fedora, openSUSE, OpenBSD and
// Alpine, FreeBSD.
var authorityFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
	"/usr/local/share/certs/ca-root-nss.crt",
}

// readAuthorities returns their certificates and nothing else, in PEM; nil if nobody
// needs them.
func (s *Site) readAuthorities() ([]byte, error) {
	if !s.NeedsRoots() {
		return nil, nil
	}
	if s.TLSCAFile != "" {
		text, err := authorities(s.Inside(s.TLSCAFile))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Called("tls_ca_file"), err)
		}
		return text, nil
	}
	for _, path := range authorityFiles {
		if text, err := authorities(path); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("%s: this system has no file of authorities where one is looked for: name one", s.Called("tls_ca_file"))
}

// authorities reads a file.
func authorities(path string) ([]byte, error) {
	f, err := host.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			pem.Encode(&all, &pem.Block{Type: block.Type, Bytes: block.Bytes})
		}
	}
	switch {
	case all.Len() == 0:
		err = errors.New("has no certificate in PEM")
	case all.Len() > mostAuthorities:
		err = fmt.Errorf("has more than %d octets of certificates", mostAuthorities)
	default:
		return all.Bytes(), nil
	}
	return nil, &os.PathError{Op: "read", Path: path, Err: err}
}
