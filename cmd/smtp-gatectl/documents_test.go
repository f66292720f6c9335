// That what the documents tell people to type is there to be typed.

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// typed is a line that is typed: one of a block, in Markdown by its indent, in mdoc by its
// prompt.
var typed = regexp.MustCompile(`^(?:    |(?:\.Dl )?[#$] )(.*)$`)

// command is one of ours in such a line, to the end of its words.
var command = regexp.MustCompile(`(?:^|[ /])smtp-gatectl ([^|&#>;]*)`)

// TestDocumentedCommands: each command that README.md and the manuals have typed is one,
// takes the options that stand there, and as many arguments.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../../man/*.[1-9]")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			block := typed.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if block == nil {
				continue
			}
			for _, m := range command.FindAllStringSubmatch(block[1], -1) {
				found++
				c, rest, err := new(tool).command().Find(strings.Fields(m[1]))
				if err == nil {
					err = c.ParseFlags(rest)
				}
				if err == nil {
					err = c.ValidateArgs(c.Flags().Args())
				}
				if err == nil && c.HasSubCommands() {
					err = errUsage
				}
				if err != nil {
					t.Errorf("%s: smtp-gatectl %s: %v", filepath.Base(page), m[1], err)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d commands found", found)
	}
}

// TestDocumentedTargets: each target that README.md has made is in the Makefile.
func TestDocumentedTargets(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?m)(?:^    (?:.*&& )?(?:sudo )?|`)make ([a-z-]+)").FindAllStringSubmatch(string(readme), -1)
	for _, m := range found {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("README.md says make %s, which makes nothing", m[1])
		}
	}
	if len(found) < 4 {
		t.Errorf("only %d targets found", len(found))
	}
}
