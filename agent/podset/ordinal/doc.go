// Package ordinal decides about sets whose pods have numbers: which ordinals want a pod, of which revision, and what may
// change now. It is the pod set engine's answer to the clauses of StatefulSet (workloads.md 2.4 to 2.14): the arithmetic is
// its own, facts, plans and the hands that carry them out are podset's.
//
// It reads and writes nothing. It promises that a plan can be carried out in any order and only partly, that an ordered set
// changes one pod at a time and waits for each, that no plan takes an available pod below what maxUnavailable leaves, and
// that the pods which the partition keeps are never updated.
package ordinal
