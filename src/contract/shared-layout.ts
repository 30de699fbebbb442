/**
 * Weakness of programs that are forked from a template: they share their ASLR layout. Listed as a missing layer by
 * `mayfly providers` and by each wall. `fresh = true` in the configuration starts each program by its own exec.
 */
export const sharedLayout =
  'own address layout: programs in Python that one template forked, 200 at most within 60 s, share the layout of addresses, stack canary, pointer guard and hash seed of its exec; `fresh = true` starts each by its own'
