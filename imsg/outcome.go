// Outcomes of questions of any kind, and the word that one is given up.

package imsg

// Failure answers an Ask that could not be fulfilled.
type Failure struct {
	Errno Errno `rule:"1.."`
}

// Done answers an Ask that has no result but its outcome. Errno is zero when all
// went well. Detail is for an operator's eyes; no room acts on it.
type Done struct {
	Errno  Errno
	Detail string `rule:"..4096 lines: the tool makes them printable"`
}

// GiveUp says that nobody waits any more for the answer to the question of this
// id, which came over the same link. The link itself takes it.
type GiveUp struct {
	ID uint32 `rule:"any: looked up among the questions of its link"`
}

func (*GiveUp) notice() {}
