package main

import "golang.org/x/sys/unix"

// spaceAt tells what is left where a folder lies.
func spaceAt(path string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return space{}, err
	}
	size := uint64(s.F_bsize)
	return space{free: uint64(max(s.F_bavail, 0)) * size, size: s.F_blocks * size, names: uint64(max(s.F_favail, 0)), found: s.F_files}, nil
}
