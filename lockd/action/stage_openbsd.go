package action

// limitAddresses is none: here the data segment is all memory that a process maps for
// itself (getrlimit(2)).
const limitAddresses = -1
