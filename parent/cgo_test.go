//go:build cgo

package parent

// linkedWithCgo: what binds a room's threads reaches only one of them (see
// everyThread); what is shipped is linked without.
const linkedWithCgo = true
