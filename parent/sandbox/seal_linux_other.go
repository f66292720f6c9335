//go:build linux && !amd64 && !arm64

package sandbox

// machine is unknown: its calls are not filtered, which Layers says.
const machine = 0

func (r *Rights) seal() error { return nil }
