// Package logs is the log of a room: a slog handler, records in the forms of each
// sink, and a writer that never makes the room wait.
package logs
