// What a check finds in the files of certificates: what the room that has the keys would,
// by the same code. Whoever runs the check reads them here; the daemon's parent never does.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/session/keys/pair"
)

// The options that name them.
const (
	chainOption = "tls.certificate.chain"
	keyOption   = "tls.certificate.key"
)

// pairLook collects what is found.
type pairLook struct {
	*config.Config
	file     string // that they are from
	errs     []error
	warnings []config.Warning
	hints    []config.Advice
}

// lookAtPairs looks at those of a configuration that was read from a file.
func lookAtPairs(c *config.Config, file string, now time.Time) *pairLook {
	l := &pairLook{Config: c, file: file}
	for i := range c.TLSCertificates {
		l.look(i, now)
	}
	return l
}

func (l *pairLook) look(i int, now time.Time) {
	names := imsg.PairNames{Chain: l.Inside(l.TLSCertificates[i].Chain), Key: l.Inside(l.TLSCertificates[i].Key)}
	chain, key := l.open(i, chainOption, names.Chain), l.open(i, keyOption, names.Key)
	defer chain.Close()
	defer key.Close()
	if chain == nil {
		return
	}
	p, err := pair.Read(names, chain, key)
	if bad := (*pair.Error)(nil); errors.As(err, &bad) {
		if bad.Key {
			l.wrong(i, keyOption, fmt.Errorf("%s: %w", names.Key, bad.Err))
		} else {
			l.wrong(i, chainOption, fmt.Errorf("%s: %w", names.Chain, bad.Err))
		}
		return
	}
	if bad := p.Timely(now); bad != nil {
		l.warn(i, chainOption, fmt.Errorf("%s: %w: clients that look at it will break off, others send mail as ever: renew it", names.Chain, bad))
	} else if p.End.Sub(now) < imsg.EndsSoon {
		l.hints = append(l.hints, config.Advice{
			Severity: config.Hint, Option: chainOption,
			Text: fmt.Sprintf("%s: the certificate for %s ends at %s: renew it", names.Chain, p.Name, stamp(p.End)),
		})
	}
}

// open opens one, and says why not: nil. What is closed to us may be open to root.
func (l *pairLook) open(i int, option, path string) *os.File {
	f, err := host.OpenRegular(path)
	switch {
	case err == nil:
		return f
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		l.warn(i, option, fmt.Errorf("%w: root can look whether it is good", err))
	default:
		l.wrong(i, option, err)
	}
	return nil
}

func (l *pairLook) wrong(i int, option string, err error) {
	l.errs = append(l.errs, &config.Error{File: l.file, Line: l.Line(option, i), Option: option, Text: err.Error()})
}

func (l *pairLook) warn(i int, option string, err error) {
	l.warnings = append(l.warnings, config.Warning{File: l.file, Line: l.Line(option, i), Option: option, Text: err.Error()})
}
