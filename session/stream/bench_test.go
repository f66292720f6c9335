package stream

import (
	"context"
	"io"
	"testing"
)

// BenchmarkStream is a line in and a line out, with a wait before each: nothing
// allocates.
func BenchmarkStream(b *testing.B) {
	near, far := pair(b, newLoop(b))
	ctx := context.Background()
	line := []byte("RCPT TO:<somebody@mx.example>\r\n")
	echo := make([]byte, len(line))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := far.Write(line); err != nil {
			b.Fatal(err)
		}
		for len(near.Bytes()) < len(line) {
			if err := near.FillUntil(ctx); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := near.Write(near.Bytes()); err != nil {
			b.Fatal(err)
		}
		near.Consume(len(line))
		if _, err := io.ReadFull(far, echo); err != nil {
			b.Fatal(err)
		}
	}
}
