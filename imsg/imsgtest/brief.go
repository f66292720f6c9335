package imsgtest

import "testing"

// Brief tells whether a test that plays thousands of cases is to play but some: with
// -short, and under the race detector, to which a few tell as much.
func Brief() bool { return race || testing.Short() }
