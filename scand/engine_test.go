package scand

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// builtinEngine is the engine that needs nothing.
func builtinEngine(t *testing.T) engine {
	t.Helper()
	e, err := newEngine(&imsg.EngineConfig{Engine: imsg.EngineBuiltin, Roles: imsg.RoleVirus | imsg.RoleSpam}, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestMakers: whatever the table of engines promises can be made.
func TestMakers(t *testing.T) {
	for i := range imsg.EngineKinds {
		e := imsg.Engine(i)
		kind := e.Kind()
		if (makers[i] != nil) != (e != imsg.EngineOff) {
			t.Errorf("%s stands in makers: %v", e, makers[i] != nil)
			continue
		}
		if makers[i] == nil {
			continue
		}
		var all []imsg.EngineConfig
		if !kind.Remote() {
			all = append(all, imsg.EngineConfig{})
		}
		for _, method := range append([]imsg.Method{imsg.MethodAuto}, kind.Methods...) {
			if kind.Unix {
				all = append(all, imsg.EngineConfig{Method: method, Socket: "s"})
			}
			if kind.TCP && method != imsg.MethodFildes {
				all = append(all, imsg.EngineConfig{Method: method, Address: loopback(1)})
			}
		}
		for _, c := range all {
			c.Engine, c.Roles = e, kind.Roles
			if made, err := newEngine(&c, "/spool"); err != nil || made == nil {
				t.Errorf("%s with %+v: %v", e, c, err)
			}
		}
	}
}

// clamdThat answers every question the same way.
func clamdThat(t *testing.T, answer string) imsg.EngineConfig {
	at := fake(t, "unix", func(c net.Conn) {
		readClamd(c)
		io.WriteString(c, answer)
	})
	return imsg.EngineConfig{Engine: imsg.EngineClamd, Roles: imsg.RoleVirus, Socket: at.String(), Timeout: patience}
}

// TestSeveralEngines: each engine that has a role of the question gives one
// finding, whatever the others find.
func TestSeveralEngines(t *testing.T) {
	type row struct {
		engine  imsg.Engine
		roles   imsg.Roles
		outcome imsg.Outcome
		name    string
		score   float64
	}
	const both = imsg.RoleVirus | imsg.RoleSpam
	inside := imsg.EngineConfig{Engine: imsg.EngineBuiltin, Roles: imsg.RoleVirus, Timeout: patience}
	insideBoth := inside
	insideBoth.Roles = both
	absent := imsg.EngineConfig{Engine: imsg.EngineClamd, Roles: imsg.RoleVirus, Socket: filepath.Join(short(t), "none"), Timeout: patience}
	for name, tt := range map[string]struct {
		engines []imsg.EngineConfig
		text    string
		roles   imsg.Roles
		want    []row
	}{
		"one of two catches": {
			[]imsg.EngineConfig{inside, clamdThat(t, "1: fd[1]: V FOUND\x00")},
			mail, imsg.RoleVirus,
			[]row{{imsg.EngineBuiltin, imsg.RoleVirus, imsg.Clean, "", 0}, {imsg.EngineClamd, imsg.RoleVirus, imsg.Caught, "V", 0}},
		},
		"one of two fails": {
			[]imsg.EngineConfig{absent, inside},
			mail, imsg.RoleVirus,
			[]row{{imsg.EngineClamd, imsg.RoleVirus, imsg.Failed, "", 0}, {imsg.EngineBuiltin, imsg.RoleVirus, imsg.Clean, "", 0}},
		},
		"two of a kind": {
			[]imsg.EngineConfig{clamdThat(t, "1: fd[1]: OK\x00"), clamdThat(t, "1: fd[1]: W FOUND\x00")},
			mail, imsg.RoleVirus,
			[]row{{imsg.EngineClamd, imsg.RoleVirus, imsg.Clean, "", 0}, {imsg.EngineClamd, imsg.RoleVirus, imsg.Caught, "W", 0}},
		},
		"both roles in one": {
			[]imsg.EngineConfig{insideBoth},
			string(eicar()) + "\r\n" + string(gtube()), both,
			[]row{{imsg.EngineBuiltin, both, imsg.Caught, eicarName, gtubeScore}},
		},
		"one role of both is asked": {
			[]imsg.EngineConfig{insideBoth},
			string(eicar()) + "\r\n" + string(gtube()), imsg.RoleSpam,
			[]row{{imsg.EngineBuiltin, imsg.RoleSpam, imsg.Clean, "", gtubeScore}},
		},
		"a role nobody has": {
			[]imsg.EngineConfig{inside},
			mail, both,
			[]row{{imsg.EngineBuiltin, imsg.RoleVirus, imsg.Clean, "", 0}, {imsg.EngineOff, imsg.RoleSpam, imsg.Failed, "", 0}},
		},
		"no engine": {nil, mail, both, []row{{imsg.EngineOff, both, imsg.Failed, "", 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, &imsg.ScandConfig{Engines: tt.engines, Parallel: 1}).session()
			v := askVerdict(t, c, spool(t, tt.text), &imsg.Scan{Roles: tt.roles})
			if len(v.Findings) != len(tt.want) {
				t.Fatalf("%+v", v)
			}
			for i, f := range v.Findings {
				if got := (row{f.Engine, f.Roles, f.Outcome, f.Name, f.Score}); got != tt.want[i] || (f.Problem != "") != (f.Outcome == imsg.Failed) {
					t.Errorf("%+v, want %+v", f, tt.want[i])
				}
			}
		})
	}
}

// engineFunc is an engine of the test's.
type engineFunc func(m *message) (finding, error)

func (e engineFunc) scan(_ context.Context, m *message) (finding, error) { return e(m) }

// TestRolesOfFinding: what an engine of both roles finds is held against what it
// was asked.
func TestRolesOfFinding(t *testing.T) {
	p, err := process.Start(pipe(t), imsg.Scand)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const both = imsg.RoleVirus | imsg.RoleSpam
	for name, tt := range map[string]struct {
		found   finding
		err     error
		asked   imsg.Roles
		outcome imsg.Outcome
	}{
		"a virus, and a score":   {finding{imsg.Caught, "V", 3}, nil, both, imsg.Caught},
		"a virus, unasked":       {finding{imsg.Caught, "V", 3}, nil, imsg.RoleSpam, imsg.Failed},
		"a score alone":          {finding{imsg.Clean, "", 3}, nil, both, imsg.Clean},
		"no finding, but a word": {finding{imsg.NotAsked, "V", 3}, nil, both, imsg.Failed},
		"an error":               {finding{}, errors.New("no"), both, imsg.Failed},
	} {
		c := &imsg.EngineConfig{Roles: both}
		e := newLimitedEngine(c, engineFunc(func(m *message) (finding, error) {
			if m.roles != tt.asked {
				t.Errorf("%s: asked %b", name, m.roles)
			}
			return tt.found, tt.err
		}), 1)
		s := &room{parent: p, engines: []*limitedEngine{e}}
		v := s.scan(t.Context(), &imsg.Scan{Roles: tt.asked}, spool(t, mail))
		if len(v.Findings) != 1 || v.Findings[0].Outcome != tt.outcome || v.Findings[0].Roles != tt.asked {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
