package man

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// TestSites: what the page on sizing has sites write is right, and of the daemon's own.
func TestSites(t *testing.T) {
	text, err := os.ReadFile("smtp-gated-sizing.7")
	if err != nil {
		t.Fatal(err)
	}
	sites := regexp.MustCompile(`(?m)^\.Bd .*\n(\[(?:.*\n)+?)\.Ed`).FindAllStringSubmatch(string(text), -1)
	if len(sites) < 2 {
		t.Errorf("%d sites", len(sites))
	}
	for _, site := range sites {
		if !strings.Contains(site[1], "[target]") {
			site[1] += "[target]\nmode = \"fixed+xclient\"\nserver = \"127.0.0.1\"\n"
		}
		c, warnings, err := config.Parse("smtp-gated-sizing.7", []byte(site[1]))
		if err == nil {
			err = c.Check()
		}
		if err != nil || len(warnings) > 0 {
			t.Errorf("%v %v\n%s", warnings, err, site[1])
		}
	}
}

// TestSizing holds the descriptors that the page on sizing names against those that a worker
// is given.
func TestSizing(t *testing.T) {
	text, err := os.ReadFile("smtp-gated-sizing.7")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\.It ([0-9,]+) Ta ([0-9,]+) Ta `).FindAllStringSubmatch(string(text), -1)
	if len(rows) < 6 {
		t.Errorf("%d rows", len(rows))
	}
	number := func(s string) int {
		n, err := strconv.Atoi(strings.ReplaceAll(s, ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, row := range rows {
		s := &site.Site{Config: &config.Config{MaxConnections: number(row[1])}}
		if want := int(s.SessionFiles()); number(row[2]) != want {
			t.Errorf("%s sessions take %d descriptors, not %s", row[1], want, row[2])
		}
	}
}
