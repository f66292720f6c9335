//go:build race

package imsgtest

const race = true
