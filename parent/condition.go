// What the service manager is told of how the gateway is. This file owns how that reads.

package parent

import "github.com/smtp-gated/smtp-gated/imsg"

// condition is what the status of the service is made of.
type condition struct {
	serving string // whether we do, as last said to be so
	imsg.Condition
}

func (c *condition) String() string {
	if c.Health == imsg.Well {
		return c.serving
	}
	return c.serving + "; " + c.Health.String() + ": " + c.Worst
}

// sayServing tells the service manager that we are ready. The error says that it does not
// hear.
func (p *parent) sayServing(how string) error {
	p.condition.serving = how
	return p.notify.Ready(p.condition.String())
}

// onCondition hears from lockd how we are.
func (p *parent) onCondition(m *imsg.Condition) {
	p.condition.Condition = *m
	if p.condition.serving != "" && !p.stopping && p.heir == nil {
		p.notify.Status(p.condition.String())
	}
}
