// The command line of the old daemon, letter by letter. This file owns what the
// letters mean and their exit statuses.

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

const usage = `usage: smtp-gated [-f] [-C name | -K | -L client | -r | -s | -S | -t | -T | -v | -V | -h] file

  -f        stay in the foreground and log to stderr
  -t        check the file and print the configuration in effect
  -T        the same with the texts for clients and the accepted values
  -C name   print one option
  -r        have the running daemon read its file again
  -K        have it stop after the last session
  -s        have it write its state file, and print that
  -S        have it write its state file, and print the name
  -L client print a rate limit record: an address, address-ident, or its old file
  -v        print the version
  -V        print the version and what is built in
  -h        print this, and end with status 10; --help with 0
`

const (
	letters   = "fhKrsStTvVC:L:" // a colon: takes an argument
	exclusive = "hKrsStTvVCL"

	help = 'H' // --help: -h has the exit status of the old daemon
)

// longWords are the words that every program knows.
var longWords = map[string]byte{"--help": help, "--version": 'v'}

// invocation is a command line.
type invocation struct {
	foreground bool
	do         byte   // one of exclusive, 0 to start
	argument   string // of -C and -L
	file       string // empty: none named
}

// parse reads a command line as getopt(3) does: letters may be joined, options
// may follow the file. many tells that more than one thing was asked for.
func parse(args []string) (inv invocation, many bool, err error) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			for _, file := range args[i+1:] {
				if err := inv.name(file); err != nil {
					return inv, false, err
				}
			}
			break
		}
		if do := longWords[a]; do != 0 {
			many = many || inv.do != 0 && inv.do != do
			inv.do = do
			continue
		}
		if len(a) < 2 || a[0] != '-' {
			if err := inv.name(a); err != nil {
				return inv, false, err
			}
			continue
		}
		for j := 1; j < len(a); j++ {
			at := strings.IndexByte(letters, a[j])
			if at < 0 || a[j] == ':' {
				return inv, false, fmt.Errorf("there is no option -%c", a[j])
			}
			if a[j] == 'f' {
				inv.foreground = true
				continue
			}
			takes := at+1 < len(letters) && letters[at+1] == ':'
			many = many || inv.do != 0 && (inv.do != a[j] || takes)
			inv.do = a[j]
			if !takes {
				continue
			}
			if inv.argument = a[j+1:]; inv.argument == "" {
				if i++; i == len(args) {
					return inv, false, fmt.Errorf("option -%c needs an argument", inv.do)
				}
				inv.argument = args[i]
			}
			break
		}
	}
	return inv, many, nil
}

func (inv *invocation) name(file string) error {
	if inv.file != "" {
		return fmt.Errorf("one configuration file is enough")
	}
	inv.file = file
	return nil
}

// command does what a command line asks for and returns the exit status.
func command(args []string) int {
	inv, many, err := parse(args)
	switch {
	case err != nil:
		complain(err)
		io.WriteString(os.Stderr, usage)
		return exitFailure
	case many:
		fmt.Fprintln(os.Stderr, "smtp-gated: one of -"+exclusive+" at a time")
		return exitManyAsked
	}
	switch inv.do {
	case 'h':
		io.WriteString(os.Stdout, usage)
		return exitHelp
	case help:
		io.WriteString(os.Stdout, usage)
		return 0
	case 'v':
		printVersion(os.Stdout)
		return 0
	case 'V':
		printVersion(os.Stdout)
		printBuild(os.Stdout)
		return 0
	case 't', 'T', 'C':
		return inv.printConfig()
	}
	if inv.file == "" {
		fmt.Fprintln(os.Stderr, "smtp-gated: no configuration file is named")
		io.WriteString(os.Stderr, usage)
		return exitFailure
	}
	if inv.do == 0 {
		return start(inv.file, inv.foreground)
	}
	return inv.ask()
}

// load reads the file if one is named; the defaults are a configuration too. Only
// who checks a file hears its warnings: cron would mail them each time a script
// asks for one option.
func (inv *invocation) load() (*config.Config, error) {
	if inv.file == "" {
		return config.Default(), nil
	}
	c, warnings, err := config.Load(inv.file)
	if inv.do != 'C' {
		sayWarnings(warnings)
	}
	return c, err
}

func sayWarnings(warnings []config.Warning) {
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "smtp-gated: warning:", w)
	}
}

func (inv *invocation) printConfig() int {
	c, err := inv.load()
	if err != nil {
		return badConfig(err)
	}
	switch inv.do {
	case 'C':
		line, ok := c.PrintOne(inv.argument)
		if !ok {
			fmt.Fprintf(os.Stderr, "smtp-gated: there is no option %q\n", inv.argument)
			return exitNoOption
		}
		_, err = fmt.Println(line)
	case 't':
		err = c.Print(os.Stdout, false, false)
	case 'T':
		err = c.Print(os.Stdout, true, true)
	}
	if err != nil {
		return complain(err)
	}
	return 0
}

// printVersion says which program this is. Readers of the old daemon's output take
// the version from the second line and the date from the fourth.
func printVersion(w io.Writer) {
	fmt.Fprintln(w, "smtp-gated, a transparent SMTP gateway")
	printFacts(w, [][2]string{
		{"version", version.Name()},
		{"system", runtime.GOOS + "/" + runtime.GOARCH},
		{"compile date", version.Date()},
	})
}

// printBuild lists what scripts of the old daemon look for, and what it is made of.
func printBuild(w io.Writer) {
	layers, missing := sandbox.Layers(kernel)
	if sandbox.LinkedWithCgo {
		layers = []string{"none: linked with cgo, it does not start"}
	}
	printFacts(w, [][2]string{
		{"USE_NAT", strings.Join(modes(), " ")}, // one has a comma in its name,
		{"USE_SPF", "yes"},
		{"USE_REGEX", "yes"},
		{"FILTER_CHUNKING", filtered()},
		{"SCANNER_LIBDSPAM", "no"},
		{"CONN_REJ_CODE", "554"},
		{"scanners", strings.Join(scanners(), " ")},
		{"sandbox, as root", strings.Join(layers, " ")},
		{"sandbox lacks", cmp.Or(strings.Join(missing, ", "), "nothing")},
		{"go", runtime.Version()},
	})
}

func printFacts(w io.Writer, facts [][2]string) {
	for _, line := range facts {
		fmt.Fprintf(w, "  %-20s : %s\n", line[0], line[1])
	}
}

// filtered tells whether CHUNKING is masked when nobody says otherwise.
func filtered() string {
	if config.Default().ScanChunks {
		return "no"
	}
	return "yes"
}

// scanners are the engines there are, for viruses and for spam.
func scanners() []string {
	var all []string
	for _, o := range config.Options() {
		if o.Name == "antivirus_type" || o.Name == "antispam_type" {
			all = append(all, strings.Split(o.Accepted(), " | ")...)
		}
	}
	all = slices.DeleteFunc(all, func(word string) bool { return word == "off" })
	slices.Sort(all)
	return slices.Compact(all)
}

// systems names where the modes that ask a kernel of one kind can be served.
var systems = map[imsg.Mode]string{
	imsg.ModeNetfilter:       "linux",
	imsg.ModeTproxy:          "linux",
	imsg.ModeTproxyNetfilter: "linux",
	imsg.ModeIpfilter:        "freebsd",
	imsg.ModePf:              "freebsd openbsd",
}

// modes are those this system can serve.
func modes() []string {
	var all []string
	for m := imsg.ModeFixed; m <= imsg.ModeFixedProxy; m++ {
		if on, some := systems[m]; !some || strings.Contains(on, runtime.GOOS) {
			all = append(all, m.String())
		}
	}
	return all
}
