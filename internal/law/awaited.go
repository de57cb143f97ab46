package law

import (
	"slices"
	"time"
)

// Awaited are the people whose approval a pending operation lacks, by id: each of them could approve it now, and would
// count for a key that has too few approvals. None if the operation is not pending.
func (o Operation) Awaited(f Facts, now time.Time) []SubjectID {
	o = o.Settle(f, now).Operation
	if o.Recorded != Pending {
		return nil
	}
	var people []SubjectID
	for _, p := range o.Progress(f) {
		if p.Needed.MetBy(len(p.Counted)) {
			continue
		}
		for _, who := range o.Eligible[p.Key] {
			if o.eligible(who, p.Key, f) && o.standing(who) < 0 {
				people = append(people, who)
			}
		}
	}
	slices.Sort(people)
	return slices.Compact(people)
}
