// Whose code the programs link, and by which licence: for PACKAGING.md a table, for who
// hands out the programs all the notices that have to go with them, as a copyright file
// of Debian's. This file owns that both follow go.mod. It never judges a licence: of one
// that it does not know it says so.

package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

const (
	copyrightFile = "../../etc/packages/copyright"
	apacheFile    = "../../etc/packages/LICENSE.Apache-2.0"
)

// linkedModule is one of go.mod of which a program links something.
type linkedModule struct {
	path, version, dir string
	programs           map[string]bool
	folders            map[string]bool // below dir, of the packages that are linked
}

// linkedModules returns them by path. Vendored ones have no folder but those of packages.
func linkedModules(t *testing.T) []*linkedModule {
	t.Helper()
	all := map[string]*linkedModule{}
	for _, program := range programNames {
		for _, goos := range platforms {
			for _, line := range deps(t, program, goos, `{{with .Module}}{{if not .Main}}{{.Path}}|{{.Version}}|{{$.Dir}}|{{$.ImportPath}}{{end}}{{end}}`) {
				word := strings.Split(line, "|")
				if len(word) != 4 {
					continue
				}
				below := strings.TrimPrefix(word[3], word[0])
				m := all[word[0]]
				if m == nil {
					m = &linkedModule{word[0], word[1], strings.TrimSuffix(word[2], filepath.FromSlash(below)), map[string]bool{}, map[string]bool{}}
					all[m.path] = m
				}
				m.programs[program] = true
				m.folders[path.Join(".", below)] = true
			}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *linkedModule) int { return strings.Compare(a.path, b.path) })
}

// notice is what a folder of a module says of its licence, for what lies below it.
type notice struct {
	folder    string
	licences  []string // by their names in SPDX
	copyright []string
	text      string // of all licences but Apache-2.0, which one file has for all
	said      string // by a NOTICE, which Apache-2.0 wants to be handed on
}

var (
	licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|attrib|notice)`)
	// A holder, or a year, follows; "copyright notice" is no claim.
	claim = regexp.MustCompile(`(?m)^[ \t/*]*Copyright (?:\([cC]\) )?([0-9]{4}.*|[A-Z][a-z]+ [A-Z].*)$`)
)

// licencesIn finds licences by the words that make them. What it does not know is "?".
func licencesIn(text string) (found []string) {
	one := strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(words string) bool { return strings.Contains(one, words) }
	if has("apache license") && has("version 2.0") {
		found = append(found, "Apache-2.0")
	}
	if has("redistribution and use in source and binary forms") {
		if has("endorse or promote") {
			found = append(found, "BSD-3-Clause")
		} else {
			found = append(found, "BSD-2-Clause")
		}
	}
	if has("permission is hereby granted, free of charge") {
		found = append(found, "MIT")
	}
	if found == nil || has("general public license") || has("mozilla public license") {
		found = append(found, "?")
	}
	return found
}

// notices returns those of the folders above and in what is linked.
func (m *linkedModule) notices(t *testing.T) (list []notice) {
	t.Helper()
	folders := map[string]bool{".": true}
	for f := range m.folders {
		for ; f != "."; f = path.Dir(f) {
			folders[f] = true
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		entries, err := os.ReadDir(filepath.Join(m.dir, folder))
		must(t, err)
		n := notice{folder: folder}
		found := map[string]bool{}
		for _, e := range entries {
			if e.IsDir() || !licenceName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(m.dir, folder, e.Name()))
			must(t, err)
			text := strings.ReplaceAll(string(raw), "\r", "")
			if strings.HasPrefix(e.Name(), "NOTICE") {
				n.said += text
				n.claims(text)
				continue
			}
			// psx gives a choice, and we take its first.
			text, _, _ = strings.Cut(text, "-------------------------------------------------------------------------\nGPL v2.0:\n")
			for _, l := range licencesIn(text) {
				if l == "?" {
					t.Errorf("%s: who knows the licence in %s?", m.path, e.Name())
				}
				found[l] = true
			}
			if strings.Contains(text, "Apache License") {
				continue
			}
			n.claims(text)
			if n.text != "" {
				n.text += "\n"
			}
			n.text += strings.Trim(text, "\n") + "\n"
		}
		if len(found) == 0 {
			if folder == "." {
				t.Errorf("%s has no licence", m.path)
			}
			continue
		}
		n.licences = slices.Sorted(maps.Keys(found))
		if n.copyright == nil { // then the code claims it
			for f := range m.folders {
				files, _ := filepath.Glob(filepath.Join(m.dir, f, "*.go"))
				for _, file := range files {
					code, err := os.ReadFile(file)
					must(t, err)
					n.claims(string(code))
				}
			}
			slices.Sort(n.copyright)
		}
		if n.copyright == nil {
			t.Errorf("nobody claims %s", m.path)
		}
		list = append(list, n)
	}
	return list
}

func (n *notice) claims(text string) {
	for _, m := range claim.FindAllStringSubmatch(text, -1) {
		who := strings.TrimSpace(strings.TrimSuffix(m[1], "All rights reserved."))
		if !slices.Contains(n.copyright, who) {
			n.copyright = append(n.copyright, who)
		}
	}
}

// debian has the names of licences that a copyright file of Debian's has.
var debian = strings.NewReplacer("MIT", "Expat", "-Clause", "-clause")

// field writes text as a field of many lines has it.
func field(b *bytes.Buffer, text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \t\n"); line == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
}

// TestLicences holds the table in PACKAGING.md, and the notices in etc/packages, to what
// is linked. -update writes them.
func TestLicences(t *testing.T) {
	ours, err := os.ReadFile("../../LICENSE")
	must(t, err)
	suite, err := os.ReadFile("../../lookupd/testdata/spf/rfc7208-tests.LICENSE")
	must(t, err)
	var b bytes.Buffer
	paragraph := func(files string, copyright []string, licence, text, comment string) {
		fmt.Fprintf(&b, "\nFiles: %s\nCopyright: %s\nLicense: %s\n", files, strings.Join(copyright, "\n           "), licence)
		field(&b, text)
		if comment != "" {
			b.WriteString("Comment:\n")
			field(&b, comment)
		}
	}
	b.WriteString(`Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: smtp-gated
Source: https://github.com/smtp-gated/smtp-gated
Comment:
 The programs are linked statically. Below vendor stands what is in them of others', at
 the place that go mod vendor gives it, and below go Go's own library. PACKAGING.md says
 which program has what. This file is written by
 go test ./cmd/smtp-gated -run TestLicences -update
`)
	_, licence, _ := strings.Cut(string(ours), "authors\n\n")
	paragraph("*", []string{"2026 The smtp-gated authors"}, "ISC", licence, "")
	_, licence, _ = strings.Cut(string(suite), "All rights reserved.\n\n")
	paragraph("lookupd/testdata/spf/*", []string{
		"2006-2008 Stuart D Gathman <stuart@bmsi.com>", "2007-2008 Julian Mehnle <julian@mehnle.net>",
		"2014 Scott Kitterman <scott@kitterman.com>",
	}, "BSD-3-clause", licence, "Tests read it; no program has it in it.\n")

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "module\tversion\tlicence\tlinked by")
	var apache []byte
	for _, m := range linkedModules(t) {
		licences := map[string]bool{}
		for _, n := range m.notices(t) {
			paragraph(path.Join("vendor", m.path, n.folder, "*"), n.copyright, debian.Replace(strings.Join(n.licences, " and ")), n.text, n.said)
			for _, l := range n.licences {
				licences[l] = true
			}
		}
		if m.path == "golang.org/x/sys" {
			// Go's own is the same, and Go is not everywhere installed with it.
			paragraph("go/*", m.notices(t)[0].copyright, "BSD-3-clause", m.notices(t)[0].text, "The standard library of Go.\n")
		}
		if m.path == "github.com/prometheus/client_golang" { // its text is that of apache.org
			apache, err = os.ReadFile(filepath.Join(m.dir, "LICENSE"))
			must(t, err)
		}
		by := slices.DeleteFunc(slices.Clone(programNames), func(p string) bool { return !m.programs[p] })
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.path, m.version, strings.Join(slices.Sorted(maps.Keys(licences)), ", "), strings.Join(by, ", "))
	}
	b.WriteString(`
License: Apache-2.0
 The whole text lies beside this file as LICENSE.Apache-2.0; on Debian it is
 /usr/share/common-licenses/Apache-2.0.
`)
	w.Flush()
	imsgtest.Part(t, "../../PACKAGING.md", "linked", imsgtest.Block(table.String()), *update)
	for file, now := range map[string][]byte{copyrightFile: b.Bytes(), apacheFile: apache} {
		if *update {
			must(t, os.WriteFile(file, now, 0o644))
		}
		old, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if d := diff.Diff(strings.TrimPrefix(file, "../../"), old, "linked now", now); d != nil {
			t.Errorf("go test ./cmd/smtp-gated -run TestLicences -update writes it anew:\n%s", d)
		}
	}
}
