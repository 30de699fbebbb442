/** Classes of system calls that a wall with a sentinel can close while its program runs. What each holds is policy. */
export const callClasses = ['exec', 'process', 'network', 'write', 'outside'] as const
export type CallClass = (typeof callClasses)[number]
