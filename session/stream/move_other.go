//go:build !linux

package stream

const canSplice = false

type pipe struct{}

func (*pipe) close() {}

func (t *Stream) splice(*Stream) (int, error) { return 0, ErrAgain }
