package main

import "golang.org/x/sys/unix"

// spaceAt tells what is left where a folder lies.
func spaceAt(path string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return space{}, err
	}
	return space{free: uint64(max(s.Bavail, 0)) * s.Bsize, size: s.Blocks * s.Bsize, names: uint64(max(s.Ffree, 0)), found: s.Files}, nil
}
