package scand

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// BenchmarkClamd measures scans of a message of 4 KB by the real clamd, through the
// room: one at a time, and so many as sessions ask for at once.
func BenchmarkClamd(b *testing.B) {
	socket, addr := realClamd(b)
	for _, tt := range []struct {
		name    string
		at      imsg.EngineConfig
		callers int
	}{
		{"FILDES", imsg.EngineConfig{Socket: socket}, 1},
		{"FILDES", imsg.EngineConfig{Socket: socket}, 20},
		{"INSTREAM", imsg.EngineConfig{Address: addr}, 1},
		{"INSTREAM", imsg.EngineConfig{Address: addr}, 20},
		{"SCAN", imsg.EngineConfig{Socket: socket, Method: imsg.MethodScan}, 1},
	} {
		b.Run(fmt.Sprintf("%s/%d", tt.name, tt.callers), func(b *testing.B) {
			dir := short(b)
			write(b, dir+"/1.2", string(bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\r\n"), 91)))
			conf := builtins()
			conf.Parallel, conf.SpoolPath = 8, dir
			tt.at.Engine, tt.at.Roles, tt.at.Timeout = imsg.EngineClamd, imsg.RoleVirus, patience
			conf.Engines = []imsg.EngineConfig{tt.at}
			c := open(b, conf).session()
			f := openFile(b, dir+"/1.2")
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			done := make(chan error, tt.callers)
			b.ResetTimer()
			for range tt.callers {
				go func() {
					for range left {
						m, err := link.Ask(c, &imsg.Scan{Roles: imsg.RoleVirus, Spool: "1.2"}, patience, f)
						if err == nil && each(m).virus.Outcome != imsg.Clean {
							err = fmt.Errorf("%+v", m)
						}
						if err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range tt.callers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}
