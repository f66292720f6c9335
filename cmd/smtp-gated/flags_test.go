package main

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want invocation
		many bool
		err  string
	}{
		{"a.conf", invocation{file: "a.conf"}, false, ""},
		{"-f a.conf", invocation{foreground: true, file: "a.conf"}, false, ""},
		{"a.conf -f", invocation{foreground: true, file: "a.conf"}, false, ""},
		{"-t", invocation{do: 't'}, false, ""},
		{"-ft a.conf", invocation{foreground: true, do: 't', file: "a.conf"}, false, ""},
		{"-C port a.conf", invocation{do: 'C', argument: "port", file: "a.conf"}, false, ""},
		{"-Cport a.conf", invocation{do: 'C', argument: "port", file: "a.conf"}, false, ""},
		{"-fL x a.conf", invocation{foreground: true, do: 'L', argument: "x", file: "a.conf"}, false, ""},
		{"-- -odd", invocation{file: "-odd"}, false, ""},
		{"-", invocation{file: "-"}, false, ""},
		{"-t -t", invocation{do: 't'}, false, ""},
		{"-r -K a.conf", invocation{do: 'K', file: "a.conf"}, true, ""},
		{"-C a -Cb x", invocation{do: 'C', argument: "b", file: "x"}, true, ""},
		{"-tC x", invocation{do: 'C', argument: "x"}, true, ""},
		{"-x", invocation{}, false, "no option -x"},
		{"-:", invocation{}, false, "no option -:"},
		{"-C", invocation{}, false, "-C needs an argument"},
		{"-f -L", invocation{}, false, "-L needs an argument"},
		{"a b", invocation{}, false, "one configuration file"},
		{"a -- b", invocation{}, false, "one configuration file"},
	} {
		got, many, err := parse(strings.Fields(c.args))
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.args, err, c.err)
			}
		case err != nil || got != c.want || many != c.many:
			t.Errorf("%q: %+v, %v, %v", c.args, got, many, err)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for args, want := range map[string]int{
		"-h": exitHelp, "--help": 0, "--version": 0, "-v": 0, "-V": 0, "-t": 0, "-T": 0, "-C port": 0, "-C nonsense": exitNoOption,
		"": exitFailure, "-z": exitFailure, "-f": exitFailure, "-r": exitFailure, "-t -r": exitManyAsked, "--help -t": exitManyAsked, "--halp": exitFailure, "-H": exitFailure,
		"-t /nowhere": exitBadConfig, "-K /nowhere": exitBadConfig, "-L x /nowhere": exitBadConfig, "-L x": exitFailure, "-C port -C mode": exitManyAsked,
	} {
		if got := command(strings.Fields(args)); got != want {
			t.Errorf("smtp-gated %s ends with %d, want %d", args, got, want)
		}
	}
}

func TestUsageNamesEveryLetter(t *testing.T) {
	for _, letter := range strings.ReplaceAll(letters, ":", "") {
		if !strings.Contains(usage, "\n  -"+string(letter)+" ") {
			t.Errorf("the usage does not explain -%c", letter)
		}
		if letter != 'f' && !strings.ContainsRune(exclusive, letter) {
			t.Errorf("-%c goes with anything", letter)
		}
	}
}
