// How doctor has the family scan a mail: as the command scan does.

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (p *patient) scanByFamily(ctx context.Context, mail io.Reader) (said []engineSaid, err error) {
	select {
	case p.scanning <- struct{}{}: // the daemon lets an operator have one at a time
		defer func() { <-p.scanning }()
	case <-ctx.Done():
		return nil, errNoScan
	}
	f, err := namelessFile(mail)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := p.control.scan(ctx, "a mail of doctor's", f)
	switch {
	case ctx.Err() != nil:
		return nil, errNoScan
	case err != nil:
		return nil, err
	}
	for _, e := range r.Engines {
		one := engineSaid{engine: e.Engine, virus: e.Name, score: e.Score, took: time.Duration(e.Seconds * float64(time.Second)), err: e.Problem}
		for _, role := range []imsg.Roles{imsg.RoleVirus, imsg.RoleSpam} {
			if strings.Contains(e.Roles, role.String()) {
				one.roles |= role
			}
		}
		if one.err == "" && e.Outcome != imsg.Clean.String() && e.Outcome != imsg.Caught.String() {
			one.err = e.Outcome
		}
		said = append(said, one)
	}
	for _, s := range r.Skipped {
		for _, role := range []imsg.Roles{imsg.RoleVirus, imsg.RoleSpam} {
			if s.Roles == role.String() {
				said = append(said, engineSaid{roles: role, skipped: s.Cause})
			}
		}
	}
	return said, nil
}

// errNoScan is that time is up.
var errNoScan = errors.New("the daemon has not said what comes of it in time")
