// Which TCP ports a room may use, as far as the configuration names them. nil is
// any: where clients say whereto, no list would be long enough.

package config

// dns is the port of name servers.
const dns = 53

// any local port that the kernel chooses.
var chosen = []uint16{0}

// SessionPorts returns the ports of mail servers, and those that sessions connect
// from.
func (c *Config) SessionPorts() (connect, bind []uint16) {
	if c.Mode.Fixed() {
		connect = []uint16{}
		for _, s := range c.MailServers() {
			connect = append(connect, s.Port())
		}
		if c.TLS.Port != 0 {
			connect = append(connect, c.TLS.Port)
		}
	}
	if !c.KeepPort {
		bind = chosen
	}
	return connect, bind
}

// ScandPorts returns those of scanners.
func (c *Config) ScandPorts() (connect, bind []uint16) {
	connect = []uint16{}
	for _, e := range c.Scand(func(string) string { return "" }).Engines {
		if e.Address.IsValid() {
			connect = append(connect, e.Address.Port())
		}
	}
	return connect, chosen
}

// ScansBySocket tells whether a scanner is reached by a UNIX socket.
func (c *Config) ScansBySocket() bool {
	return len(c.ScannerSockets()) > 0
}

// ScansByTCP tells whether a scanner is reached by an address.
func (c *Config) ScansByTCP() bool {
	connect, _ := c.ScandPorts()
	return len(connect) > 0
}

// LookupdPorts returns those of name servers, and of routers in the modes that ask one.
func (c *Config) LookupdPorts() (connect, bind []uint16) {
	connect = []uint16{dns}
	if c.Mode.Remote() {
		connect = append(connect, c.RemotePort)
	}
	for _, server := range c.Nameservers {
		connect = append(connect, server.Port())
	}
	return connect, chosen
}
