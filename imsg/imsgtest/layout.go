package imsgtest

import (
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"testing"
)

// Layout compiles a C file in which static assertions hold our numbers about a
// kernel's structures, each of them a macro there, against what a compiler finds:
// for words of 64 bits and of 32 where it can do both. On a BSD the file takes that
// system's structures from the true headers. A number that could as well be another
// one is held by nothing, and fails the test.
func Layout(t testing.TB, file string, numbers map[string]int) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		Lacks(t, "no C compiler: %v", err)
	}
	words := []string{"-DNATIVE"}
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		words = []string{"-m64", "-m32"}
	}
	compile := func(word string, numbers map[string]int) (string, error) {
		args := []string{word, "-std=c11", "-fsyntax-only", "-ffreestanding", "-Wall", "-Wextra", "-Werror", file}
		for _, name := range slices.Sorted(maps.Keys(numbers)) {
			args = append(args, fmt.Sprintf("-D%s=%du", name, numbers[name]))
		}
		out, err := exec.Command(cc, args...).CombinedOutput()
		return string(out), err
	}
	for _, word := range words {
		if out, err := compile(word, numbers); err != nil {
			t.Fatalf("%s %s: %v\n%s", cc, word, err, out)
		}
	}
	for name := range numbers {
		wrong := maps.Clone(numbers)
		wrong[name]++
		held := slices.ContainsFunc(words, func(word string) bool {
			_, err := compile(word, wrong)
			return err != nil
		})
		// With one size of word a number of the other one is idle.
		if !held && len(words) > 1 {
			t.Errorf("%s asserts nothing about %s", file, name)
		}
	}
}
