package verdict

import "github.com/smtp-gated/smtp-gated/imsg"

// This file owns which of several findings decides.

// virusFinding returns the finding that decides over a virus: one that caught it,
// else one that is no verdict, else a clean one.
func virusFinding(all []imsg.Finding) *imsg.Finding {
	return decisive(all, imsg.RoleVirus, func(f *imsg.Finding) bool { return f.Outcome == imsg.Caught })
}

// spamFinding returns the finding that decides over spam: one that reached the
// threshold, else one that is no verdict, else a lower score; the higher one of two.
func spamFinding(all []imsg.Finding, threshold float64) *imsg.Finding {
	return decisive(all, imsg.RoleSpam, func(f *imsg.Finding) bool { return f.Outcome == imsg.Clean && f.Score >= threshold })
}

// decisive returns the worst finding of a role. Without one it is no verdict.
func decisive(all []imsg.Finding, role imsg.Roles, bad func(*imsg.Finding) bool) *imsg.Finding {
	const clean, failed, found = 1, 2, 3
	worst, most := new(imsg.Finding), 0
	for i := range all {
		f := &all[i]
		if f.Roles&role == 0 {
			continue
		}
		rank := failed
		switch {
		case bad(f):
			rank = found
		case f.Outcome == imsg.Clean:
			rank = clean
		}
		if rank > most || rank == most && f.Score > worst.Score {
			worst, most = f, rank
		}
	}
	return worst
}
