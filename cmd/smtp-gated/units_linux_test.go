package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// exposures are how exposed each service may be, as systemd-analyze security figures it: 10
// is what has no limits. With a drop-in it is another.
var exposures = map[string]float64{
	"smtp-gated.service":                        3.7,
	"smtp-gated.service with 10-no-script.conf": 3.2,
	"smtp-gated-exporter.service":               1.5,
	"smtp-gated-export.service":                 1.5,
	"smtp-gate-helper.service":                  1.9,
}

// installedUnits are all units below etc, as they are installed, and the programs they name.
func installedUnits(t *testing.T) (dir string, files []string) {
	dir = t.TempDir()
	must(t, filepath.WalkDir("../../etc", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".service", ".socket"}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		must(t, err)
		for _, name := range regexp.MustCompile(`@SBIN@/([a-z-]+)`).FindAllStringSubmatch(string(text), -1) {
			must(t, os.WriteFile(filepath.Join(dir, name[1]), []byte("#!/bin/sh\n"), 0o755))
		}
		file := filepath.Join(dir, filepath.Base(path))
		files = append(files, file)
		return os.WriteFile(file, []byte(strings.NewReplacer("@SBIN@", dir, "@SYSCONF@", dir).Replace(string(text))), 0o644)
	}))
	return dir, files
}

// TestUnitsVerified has systemd itself read the units: no key it does not know, no program
// that is not there.
func TestUnitsVerified(t *testing.T) {
	analyze := needProgram(t, "systemd-analyze")
	dir, files := installedUnits(t)
	verify := func() {
		t.Helper()
		cmd := exec.Command(analyze, append([]string{"verify", "--recursive-errors=no", "--man=no"}, files...)...)
		cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %s", err, out)
		}
	}
	verify()
	addDropIns(t, dir)
	verify()
}

// addDropIns adds all there are to the daemon's unit.
func addDropIns(t *testing.T, dir string) (names []string) {
	found, err := filepath.Glob("../../etc/systemd/*.conf")
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "smtp-gated.service.d"), 0o755))
	for _, path := range found {
		text, err := os.ReadFile(path)
		must(t, err)
		names = append(names, filepath.Base(path))
		write(t, filepath.Join(dir, "smtp-gated.service.d", filepath.Base(path)), string(text))
	}
	return names
}

// TestUnitsExposure: the figures are those that the manual tells, or better.
func TestUnitsExposure(t *testing.T) {
	analyze := needProgram(t, "systemd-analyze")
	dir, files := installedUnits(t)
	found := map[string]float64{}
	figure := func(file, more string) {
		t.Helper()
		out, err := exec.Command(analyze, "security", "--offline=yes", "--no-pager", file).CombinedOutput()
		is := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || is == nil {
			t.Fatalf("%s: %v: %s", file, err, out)
		}
		found[filepath.Base(file)+more], err = strconv.ParseFloat(string(is[1]), 64)
		must(t, err)
	}
	for _, file := range files {
		if filepath.Ext(file) == ".service" {
			figure(file, "")
		}
	}
	figure(filepath.Join(dir, "smtp-gated.service"), " with "+strings.Join(addDropIns(t, dir), ", "))
	for name, is := range found {
		if limit, known := exposures[name]; !known || is > limit {
			t.Errorf("%s: %.1f, allowed is %.1f", name, is, limit)
		}
	}
	t.Log(found)
}
