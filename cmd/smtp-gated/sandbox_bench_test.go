//go:build linux && amd64

package main

import "testing"

// BenchmarkSandbox sends mails, a session each, to two families in turn: one that the
// kernel holds to its words, and one on a kernel that can hold none. It reports the CPU
// that all of a family's processes take for a session, in microseconds, and the ratio of
// the two.
func BenchmarkSandbox(b *testing.B) {
	const perTurn = 50
	families := map[string]*gate{}
	for kernel, flags := range map[string]string{"held": "", "free": "-X main.kernel=none"} {
		families[kernel], _ = stageOf(b, playing(b, flags), false, "")
	}
	spent := map[string]float64{}
	for b.Loop() {
		for _, kernel := range []string{"held", "free"} {
			g := families[kernel]
			before := g.cpu(b)
			for range perTurn {
				must(b, sendClean(g))
			}
			spent[kernel] += g.cpu(b) - before
		}
	}
	for kernel, s := range spent {
		b.ReportMetric(s*1e6/float64(b.N*perTurn), kernel+"-µs/session")
	}
	b.ReportMetric(spent["held"]/spent["free"], "held/free")
}

// cpu is what all processes of the family have spent until now, in seconds.
func (g *gate) cpu(t testing.TB) float64 {
	t.Helper()
	all, err := g.whole(0)
	must(t, err)
	return cpuOf(t, append([]int{g.pid}, pids(all)...)...)
}
