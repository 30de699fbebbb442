/** Causes of the end of a zone, as the outcome names them. */
export const memoryHit = 'limit MEMORY'
export const overByItself = 'its programs have ended'

/** Slack after a zone's deadline, in milliseconds: normally the supervisor's own timer ends it first. */
export const zoneSlackMs = 40
export const nestedTooDeep = 'its zone would be nested too deep'
