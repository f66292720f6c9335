// The engine that asks mksd, the daemon of mks_vir. It reads the message itself,
// so it is told a path.

package scand

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

type mksd struct {
	at    address
	spool string
}

func newMksd(_ *imsg.EngineConfig, at address, spool string) (engine, error) {
	return &mksd{at, spool}, nil
}

func (k *mksd) scan(ctx context.Context, m *message) (finding, error) {
	path, err := m.path(k.spool)
	if err != nil {
		return finding{}, err
	}
	answer, sendErr, err := k.at.ask(ctx, '\n', func(conn *conn) error {
		return conn.send([]byte("MSQ"+path+"\n"), nil)
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return finding{}, fmt.Errorf("mksd: %w", err)
	}
	f, err := parseMksd(string(answer))
	if err != nil {
		return finding{}, fmt.Errorf("mksd: %w", err)
	}
	return f, nil
}

// parseMksd reads one line. CLN and DEL tell of a virus that is no longer there.
func parseMksd(answer string) (finding, error) {
	line, rest, _ := strings.Cut(answer, "\n")
	line = strings.TrimSuffix(line, "\r")
	word, name, _ := strings.Cut(line, " ")
	switch {
	case rest != "":
		return finding{}, errors.New("more than one answer")
	case word == "OK":
		return finding{outcome: imsg.Clean}, nil
	case strings.HasPrefix(line, "CLN "), strings.HasPrefix(line, "DEL "):
		return finding{outcome: imsg.Clean}, nil
	case word == "VIR":
		name, _, _ = strings.Cut(name, " ")
		return caught(name), nil // it may have none
	case word == "ERR":
		return finding{}, errors.New(imsg.Printable(name, maxProblem))
	}
	return finding{}, fmt.Errorf("unknown answer %q", imsg.Printable(line, maxName))
}
