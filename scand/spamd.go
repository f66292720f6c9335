// The engine that asks SpamAssassin's spamd (its file PROTOCOL): CHECK with
// SPAMC/1.2. Only the score is taken from the answer; the threshold is ours.

package scand

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

type spamd struct{ at address }

func newSpamd(_ *imsg.EngineConfig, at address, _ string) (engine, error) {
	return &spamd{at}, nil
}

func (s *spamd) scan(ctx context.Context, m *message) (finding, error) {
	answer, sendErr, err := s.at.ask(ctx, -1, func(conn *conn) error {
		if _, err := fmt.Fprintf(conn, "CHECK SPAMC/1.2\r\nContent-length: %d\r\n\r\n", m.size); err != nil {
			return err
		}
		if err := m.writeTo(conn); err != nil {
			return err
		}
		return conn.closeWrite()
	})
	if err != nil {
		return finding{}, fmt.Errorf("spamd: %w", err)
	}
	score, err := parseSpamd(string(answer))
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return finding{}, fmt.Errorf("spamd: %w", err)
	}
	return finding{outcome: imsg.Clean, score: score}, nil
}

// parseSpamd reads a whole answer: a status line, headers, an empty line. A body
// means nothing here. One Spam header must be among the headers; the connection may
// end anywhere behind it.
func parseSpamd(answer string) (score float64, err error) {
	head, _, whole := strings.Cut(answer, "\r\n\r\n")
	if !whole {
		// Without its end a line is cut, and perhaps its score too.
		end := strings.LastIndex(head, "\r\n")
		if end < 0 {
			return 0, fmt.Errorf("cut answer %q", imsg.Printable(answer, maxName))
		}
		head = head[:end]
	}
	if strings.ContainsAny(strings.ReplaceAll(head, "\r\n", ""), "\r\n\x00") {
		return 0, errors.New("an answer with broken lines")
	}
	status, headers, _ := strings.Cut(head, "\r\n")
	if err := parseStatus(status); err != nil {
		return 0, err
	}
	seen := false
	for line := range strings.SplitSeq(headers, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Spam") {
			continue
		}
		if seen {
			return 0, errors.New("two verdicts in one answer")
		}
		seen = true
		if score, err = parseSpam(value); err != nil {
			return 0, fmt.Errorf("unknown verdict %q: %w", imsg.Printable(value, maxName), err)
		}
	}
	if !seen {
		return 0, errors.New("an answer without a verdict")
	}
	return score, nil
}

// parseStatus passes `SPAMD/VERSION 0 EX_OK`; other codes are those of sysexits.h.
func parseStatus(line string) error {
	f := strings.Fields(line)
	if len(f) < 2 || !strings.HasPrefix(f[0], "SPAMD/") {
		return fmt.Errorf("unknown answer %q", imsg.Printable(line, maxName))
	}
	if f[1] != "0" {
		return fmt.Errorf("refused: %q", imsg.Printable(line, maxName))
	}
	return nil
}

// parseSpam reads `True ; 15.0 / 5.0`.
func parseSpam(value string) (float64, error) {
	word, rest, _ := strings.Cut(value, ";")
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "true", "false", "yes", "no":
	default:
		return 0, errors.New("neither true nor false")
	}
	score, threshold, _ := strings.Cut(rest, "/")
	if _, err := parseScore(threshold); err != nil {
		return 0, err
	}
	return parseScore(score)
}

// parseScore takes a decimal number and none of the other forms ParseFloat knows:
// a score that is NaN would be below every threshold. One beyond what may be told is
// as bad as that.
func parseScore(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "+-.0123456789") != "" {
		return 0, errors.New("no number")
	}
	score, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errors.New("no number")
	}
	return max(-imsg.MaxScore, min(score, imsg.MaxScore)), nil
}
