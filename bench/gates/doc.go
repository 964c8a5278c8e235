// Package gates holds the tests that count what the hot paths take, in
// instructions, allocations and bytes, against the budgets in budgets.md. Unlike
// times, counts are the same on a busy machine and on an idle one, so that they can
// fail a build. Package counted has the work.
package gates
