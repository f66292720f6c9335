package socket

// spreads is false: SO_REUSEPORT gives all connections to one of the sockets.
const spreads = false

func spread(int) error { return nil }
