package process

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

func TestLayout(t *testing.T) {
	numbers := map[string]int{}
	numbers["FSCALE64"], numbers["LOADAVG64"] = fscale(8)
	numbers["FSCALE32"], numbers["LOADAVG32"] = fscale(4)
	imsgtest.Layout(t, "testdata/layout.c", numbers)
}

func TestLoadAverage(t *testing.T) {
	e := binary.NativeEndian
	three := slices.Clip(e.AppendUint32(e.AppendUint32(e.AppendUint32(nil, 3072), 1), 1))
	for name, c := range map[string]struct {
		b    []byte
		long int
		want float64
	}{
		"64 bits":  {e.AppendUint64(e.AppendUint32(three, 0), 2048), 8, 1.5},
		"32 bits":  {e.AppendUint32(three, 2048), 4, 1.5},
		"short":    {e.AppendUint32(three, 2048), 8, 0},
		"no scale": {e.AppendUint32(three, 0), 4, 0},
		"nothing":  {nil, 8, 0},
	} {
		if got := loadAverage(c.b, c.long); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
