// How doctor has the family scan a mail: as the command scan does.

package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (p *patient) scanByFamily(_ context.Context, mail string) (said []engineSaid, err error) {
	p.scanning.Lock() // the daemon lets an operator have one at a time
	defer p.scanning.Unlock()
	f, err := namelessFile(mail)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := p.control.scan("a mail of doctor's", f)
	if err != nil {
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
	if len(said) == 0 && len(r.Skipped) > 0 {
		err = errors.New("nobody was asked: " + r.Skipped[0].Cause)
	}
	return said, err
}
