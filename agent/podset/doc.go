// Package podset is the engine for kinds that own pods. A kind translates its
// object into a Spec and its pods into Pods; Decide answers with the next safe
// step, Status with counts and the sentence a user reads.
//
// It owns the arithmetic of scaling and updating (workloads.md 1.7 to 1.12,
// 1.15), reads nothing but its arguments and writes nothing. It promises: the
// same facts give the same plan; no state is kept between calls, so an agent
// that restarts goes on from facts alone; a plan may be carried out in part;
// and a plan never takes more available pods down than the budgets leave.
package podset
