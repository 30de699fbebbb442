/** Nice values: the warden enforces every bound and the server keeps the time of phases, so both run before walls. */
export const niceOf = { warden: -10, server: -5, wall: 0 } as const
