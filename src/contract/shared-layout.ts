/**
 * Loss of programs that are forked from a template, as `providers` and the walls themselves name it. `fresh = true` in the
 * configuration starts each by an exec of its own.
 */
export const sharedLayout =
  'own address layout: programs in Python that one template forked, 200 at most within 60 s, share the layout of addresses, stack canary, pointer guard and hash seed of its exec; `fresh = true` starts each by its own'
