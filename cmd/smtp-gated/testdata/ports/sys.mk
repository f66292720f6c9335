# Nothing that make knows by itself is for a port.
