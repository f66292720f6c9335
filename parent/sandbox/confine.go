// What is left to a process that has opened all it will ever need.

package sandbox

// Rights are what Confine leaves, in the words of each system.
type Rights struct {
	Promises     string // OpenBSD: words of pledge(2)
	Capabilities uint32 // Linux: a bit for each of capabilities(7) to keep, if it is there
}
