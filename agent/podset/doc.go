// Package podset is the engine for kinds that own pods. A kind translates its
// object into a Spec and its pods into Pods (Lens); Decide answers with the
// next safe step, Hands carry it out, and Status has the counts and the
// sentence a user reads.
//
// It owns the arithmetic of scaling and updating (workloads.md 1.7 to 1.13,
// 1.15). Decide and Status read nothing but their arguments and write nothing;
// Hands write pods and their claims, and nothing but what a plan says. It
// promises: the same facts give the same plan; no state is kept between calls,
// so an agent that restarts goes on from facts alone; a plan may be carried
// out in part; and a plan takes no more available pods down than the budgets
// leave. DESIGN.md says which test holds which promise.
package podset
