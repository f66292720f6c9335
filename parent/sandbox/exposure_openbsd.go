package sandbox

func endProtection() error { return nil }

// setDumpable does nothing: who has changed its user leaves no core dump and is not
// looked into (sysctl(2), KERN_NOSUIDCOREDUMP; ptrace(2)).
func setDumpable(bool) error { return nil }
