//go:build !race

package imsgtest

const race = false
