package scand

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var clamdAnswers = []struct {
	answer string
	want   imsg.Outcome // Failed stands for an error
	name   string
}{
	{"fd[10]: OK\x00", imsg.Clean, ""},
	{"stream: OK\x00", imsg.Clean, ""},
	{"/var/spool/a: b/1.2: OK\x00", imsg.Clean, ""},
	{"stream: Eicar-Test-Signature FOUND\x00", imsg.Caught, "Eicar-Test-Signature"},
	{"stream: Eicar(44d88612:68) FOUND\x00", imsg.Caught, "Eicar(44d88612:68)"},
	{"/a: b/1.2: V FOUND\x00", imsg.Caught, "V"},
	{"stream: two words FOUND\x00", imsg.Caught, "two words"},
	{"stream: \x1b[2J\xff FOUND\x00", imsg.Caught, "#[2J#"},
	{"stream: " + strings.Repeat("v", 400) + " FOUND\x00", imsg.Caught, strings.Repeat("v", 255)},
	{"INSTREAM size limit exceeded. ERROR\x00", imsg.Failed, ""},
	{"/x: File path check failure: No such file or directory. ERROR\x00", imsg.Failed, ""},
	{"stream: Can't allocate memory ERROR\x00", imsg.Failed, ""},
	{"fd[10]: Heuristics.Limits.Exceeded.MaxFileSize FOUND\x00", imsg.Failed, ""},
	{"fd[10]: Heuristics.Limits.Exceeded FOUND\x00", imsg.Failed, ""},
	{"fd[10]: Heuristics.Limits.Exceeded.MaxScanSize FOUND\x00fd[10]: V FOUND\x00", imsg.Caught, "V"},
	{"fd[10]: Heuristics.Broken.Executable FOUND\x00", imsg.Caught, "Heuristics.Broken.Executable"},
	{"fd[10]: OK", imsg.Failed, ""},
	{"fd[10]: OK\n", imsg.Failed, ""},
	{"fd[10]: OK\x00x", imsg.Failed, ""},
	{"fd[10]: OK\x00fd[11]: OK\x00", imsg.Failed, ""},
	{"fd[10]: V FOUND\nfd[10]: OK\x00", imsg.Failed, ""},
	{"fd[10]: OK\x00fd[10]: OK\x00", imsg.Clean, ""},
	{"fd[10]: V FOUND\x00fd[10]: OK\x00", imsg.Caught, "V"},
	{"fd[10]: A ERROR\x00fd[10]: V FOUND\x00", imsg.Caught, "V"},
	{"fd[10]: V FOUND\x00fd[10]: W FOUND\x00", imsg.Caught, "V"},
	{"fd[10]: OK\x00fd[10]: A ERROR\x00", imsg.Failed, ""},
	{"fd[10]: OK\x00\x00", imsg.Failed, ""},
	{"fd[10]: ok\x00", imsg.Failed, ""},
	{"fd[10]:OK\x00", imsg.Failed, ""},
	{"fd[10]: OK \x00", imsg.Failed, ""},
	{"fd[10]:  OK\x00", imsg.Failed, ""},
	{": OK\x00", imsg.Failed, ""},
	{"OK\x00", imsg.Failed, ""},
	{"stream: FOUND\x00", imsg.Caught, ""},
	{"stream:  FOUND\x00", imsg.Caught, ""},
	{"UNKNOWN COMMAND\x00", imsg.Failed, ""},
	{"COMMAND READ TIMED OUT\x00", imsg.Failed, ""},
	{"\x00", imsg.Failed, ""},
	{"", imsg.Failed, ""},
}

// clamdLines are answers to the old form of SCAN.
var clamdLines = []struct {
	answer string
	want   imsg.Outcome
	name   string
}{
	{"/spool/1.2: OK\n", imsg.Clean, ""},
	{"/spool/1.2: OK\r\n", imsg.Clean, ""},
	{"/spool/1.2: OK", imsg.Clean, ""},
	{"/spool/1.2: OK\n/spool/1.2: OK\n", imsg.Clean, ""},
	{"/a: b/1.2: V FOUND\n", imsg.Caught, "V"},
	{"/spool/1.2: V FOUND", imsg.Caught, "V"},
	{"/spool/1.2: V FOUND\n/spool/1.2: V FOUND\n", imsg.Caught, "V"},
	{"/spool/1.2: OK\n/spool/1.2: V FOUND\n", imsg.Caught, "V"},
	{"/spool/1.2: V FOUND\n/spool/1.2: A ERROR\n", imsg.Caught, "V"},
	{"/spool/1.2: No such file or directory. ERROR\n", imsg.Failed, ""},
	{"/spool/1.2: OK\n/spool/1.2: A ERROR\n", imsg.Failed, ""},
	{"/spool/1.2: A ERROR\n/spool/1.2: OK\n", imsg.Failed, ""},
	{"/spool/1.2: OK\n/spool/1.3: OK\n", imsg.Failed, ""},
	{"/spool/1.2: OK\n\n", imsg.Failed, ""},
	{"/spool/1.2: OK\x00", imsg.Failed, ""},
	{"/spool/1.2: O", imsg.Failed, ""},
	{"/spool/1.2: OK\n/spool", imsg.Failed, ""},
	{"/spool/1.2: OK\r\r\n", imsg.Failed, ""},
	{"\n", imsg.Failed, ""},
	{"", imsg.Failed, ""},
}

func TestParseClamd(t *testing.T) {
	for end, answers := range map[string][]struct {
		answer string
		want   imsg.Outcome
		name   string
	}{"\x00": clamdAnswers, "\n": clamdLines} {
		for _, tt := range answers {
			f, err := parseClamd(tt.answer, end)
			if err != nil {
				f.outcome = imsg.Failed
			}
			if f.outcome != tt.want || f.name != tt.name {
				t.Errorf("%q: %+v %v", tt.answer, f, err)
			}
		}
	}
	// What went wrong is said once, however often clamd says it.
	const twice = "/x: File path check failure: No such file or directory. ERROR\n"
	if _, err := parseClamd(twice+twice, "\n"); err == nil || err.Error() != "/x: File path check failure: No such file or directory." {
		t.Errorf("error %v", err)
	}
}

var spamdAnswers = []struct {
	answer string
	score  float64 // NaN stands for an error
}{
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r\n\r\n", 15},
	{"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; -2.3 / 5.0\r\n\r\n", -2.3},
	{"SPAMD/1.5 0 EX_OK\r\nspam: Yes ; 1000.2 / -1\r\n\r\nbody\r\n", 1000.2},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: No;+0/5\r\n\r\n", 0},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r\n", 15},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r\nContent-len", 15},
	{"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 15.0 / 5.0\r\n\r", 15},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\n", math.NaN()},
	{"SPAMD/1.1 76 EX_PROTOCOL\r\nSpam: False ; 0 / 5\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\nSpam: True ; 15.0 / 5.0\n\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\n\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\nSpam: True ; 9 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: Maybe ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; inf / 5.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 0x1p9 / 5.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ;  / 5.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1.2.3 / 5.0\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / x\r\n\r\n", math.NaN()},
	{"SPAMD/1.0 76 Bad header line: (EOF)\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 74 EX_IOERR\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 00 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"HTTP/1.1 200 OK\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\r\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"SPAMD/1.1 0 EX_OK\r\nX: a\nSpam: False ; 0 / 5\r\n\r\n", math.NaN()},
	{"\r\n\r\n", math.NaN()},
	{"", math.NaN()},
}

func TestParseSpamd(t *testing.T) {
	for _, tt := range spamdAnswers {
		score, err := parseSpamd(tt.answer)
		if (err != nil) != math.IsNaN(tt.score) || err == nil && score != tt.score {
			t.Errorf("%q: %v %v", tt.answer, score, err)
		}
	}
}

var mksdAnswers = []struct {
	answer string
	want   imsg.Outcome
	name   string
}{
	{"OK\n", imsg.Clean, ""},
	{"OK /spool/1.2\n", imsg.Clean, ""},
	{"OK", imsg.Clean, ""},
	{"CLN V /spool/1.2\n", imsg.Clean, ""},
	{"DEL V /spool/1.2\r\n", imsg.Clean, ""},
	{"VIR Eicar.Test /spool/1.2\n", imsg.Caught, "Eicar.Test"},
	{"VIR Eicar.Test\n", imsg.Caught, "Eicar.Test"},
	{"VIR \n", imsg.Caught, ""},
	{"VIR\n", imsg.Caught, ""},
	{"OKAY\n", imsg.Failed, ""},
	{"CLN\n", imsg.Failed, ""},
	{"ERR no such file\n", imsg.Failed, ""},
	{"ok\n", imsg.Failed, ""},
	{"O", imsg.Failed, ""},
	{"OK\nVIR Eicar\n", imsg.Failed, ""},
	{"\n", imsg.Failed, ""},
	{"", imsg.Failed, ""},
}

func TestParseMksd(t *testing.T) {
	for _, tt := range mksdAnswers {
		f, err := parseMksd(tt.answer)
		if err != nil {
			f.outcome = imsg.Failed
		}
		if f.outcome != tt.want || f.name != tt.name {
			t.Errorf("%q: %+v %v", tt.answer, f, err)
		}
	}
}

// fit tells whether a name or problem may be shown.
func fit(s string, limit int) bool {
	return len(s) <= limit && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

func FuzzParseClamd(f *testing.F) {
	for _, tt := range clamdAnswers {
		f.Add(tt.answer, false)
	}
	for _, tt := range clamdLines {
		f.Add(tt.answer, true)
	}
	ok := regexp.MustCompile(`^[^\x00\r\n]+: OK\r?$`)
	f.Fuzz(func(t *testing.T, answer string, plain bool) {
		end := map[bool]string{false: "\x00", true: "\n"}[plain]
		got, err := parseClamd(answer, end)
		switch {
		case err != nil:
		case got.outcome == imsg.Clean:
			text, whole := strings.CutSuffix(answer, end)
			first, _, _ := strings.Cut(text, end)
			if again := strings.Repeat(first+end, strings.Count(text, end)+1); !ok.MatchString(first) || !whole && !plain || text+end != again {
				t.Errorf("clean: %q", answer)
			}
		case got.outcome != imsg.Caught || !fit(got.name, maxName):
			t.Errorf("%q: %+v", answer, got)
		}
	})
}

func FuzzParseNumbered(f *testing.F) {
	for _, tt := range clamdAnswers {
		f.Add("7: "+tt.answer, uint64(7))
		f.Add("7: "+tt.answer+"8: "+tt.answer, uint64(7))
		f.Add(tt.answer, uint64(7))
	}
	f.Fuzz(func(t *testing.T, answer string, number uint64) {
		got, err := parseNumbered(answer, number)
		if err != nil {
			return
		}
		own, plain := fmt.Sprintf("%d: ", number), ""
		for line := range strings.SplitSeq(strings.TrimSuffix(answer, "\x00"), "\x00") {
			if !strings.HasPrefix(line, own) {
				t.Fatalf("%q is an answer to %d: %+v", answer, number, got)
			}
			plain += strings.TrimPrefix(line, own) + "\x00"
		}
		if again, err := parseClamd(plain, "\x00"); err != nil || again != got {
			t.Errorf("%q: %+v, without its number %+v %v", answer, got, again, err)
		}
	})
}

func FuzzParseSpamd(f *testing.F) {
	for _, tt := range spamdAnswers {
		f.Add(tt.answer)
	}
	verdict := regexp.MustCompile(`(?i)^SPAMD/\S*\s+0(\s[^\r]*)?\r\n(?s:.*)Spam:\s*(true|false|yes|no)\s*;\s*[-+.0-9]+\s*/\s*[-+.0-9]+\s*\r\n`)
	f.Fuzz(func(t *testing.T, answer string) {
		score, err := parseSpamd(answer)
		if err != nil {
			return
		}
		if math.IsNaN(score) || math.Abs(score) > imsg.MaxScore {
			t.Errorf("%q: %v", answer, score)
		}
		if strings.IndexFunc(answer, func(c rune) bool { return c > '~' || c < ' ' && c != '\r' && c != '\n' }) < 0 && !verdict.MatchString(answer) {
			t.Errorf("%q gives %v", answer, score)
		}
	})
}

func FuzzParseMksd(f *testing.F) {
	for _, tt := range mksdAnswers {
		f.Add(tt.answer)
	}
	ok := regexp.MustCompile(`^(OK( [^\n]*)?\r?|(CLN|DEL) [^\n]*)\n?$`)
	f.Fuzz(func(t *testing.T, answer string) {
		got, err := parseMksd(answer)
		switch {
		case err != nil:
		case got.outcome == imsg.Clean:
			if !ok.MatchString(answer) {
				t.Errorf("clean: %q", answer)
			}
		case got.outcome != imsg.Caught || !fit(got.name, maxName):
			t.Errorf("%q: %+v", answer, got)
		}
	})
}
