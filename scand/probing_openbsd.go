package scand

// probing is empty: here sysctl net.inet.tcp.keepidle and its like decide for all.
var probing []int
