// That others can see which configuration is in force.

package parent

import "github.com/smtp-gated/smtp-gated/parent/host"

// showRunning writes the configuration in force to its file. An heir does so when what
// others find a family by is its own.
func (p *parent) showRunning() {
	if p.unnamed || p.stopping || p.current == nil {
		return
	}
	if err := p.holdings.ShowRunning(p.current.site, p.current.number); err != nil {
		p.log.Warn("it is not written down which configuration is in force", "error", host.OneLine(err))
	}
}
