/** Nice values: the warden enforces every bound and the server times phases, so both have priority over walls. */
export const niceOf = { warden: -10, server: -5, wall: 0 } as const
