/** Host uids that belong to walls: inside the 65,536 that a container's map usually holds, above those of people. */
export const wallUids = { first: 52_001, last: 52_900 } as const
/** The server's uid where the warden is root. */
export const serverUid = 52_000
