/** Host uids for walls: within the 65,536 ids that the map of a container usually has, above the uids of people. */
export const wallUids = { first: 52_001, last: 52_900 } as const

export const isWallUid = (uid: number) => uid >= wallUids.first && uid <= wallUids.last

/** The server's uid where the warden is root. */
export const serverUid = 52_000
