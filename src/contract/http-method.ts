/**
 * Methods of HTTP that a network rule may name: those of the IANA registry and of Node's parser without a hyphen, and some that
 * servers define. A rule with another word would match no request, and a `deny` with it would deny nothing.
 */
const methods = new Set(
  (
    'GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE QUERY ACL BAN BIND CHECKIN CHECKOUT COPY LABEL LINK LIST LOCK ' +
    'MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE NOTIFY ORDERPATCH PRI PROPFIND PROPPATCH PURGE REBIND ' +
    'REFRESH REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNCHECKOUT UNLINK UNLOCK UNSUBSCRIBE UPDATE UPDATEREDIRECTREF'
  ).split(' '),
)
const USUAL = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or another registered one'

/** True for a method that a rule may name, in capital letters as in requests. */
export const isHttpMethod = (word: string): boolean => methods.has(word)

/** Levels of a network in user notation: its table, a list, a rule and its host. */
const LEVELS_MAX = 4
const SHOWN_CHARACTERS_MAX = 100

/** Error for the first pattern of a network in user notation that begins with a word that is no method. */
export function unknownMethodIn(written: unknown, levels = LEVELS_MAX): string | undefined {
  if (typeof written === 'string') return unknownMethodOf(written)
  if (typeof written !== 'object' || written === null || levels === 0) return undefined
  for (const part of Object.values(written)) {
    const unknown = unknownMethodIn(part, levels - 1)
    if (unknown !== undefined) return unknown
  }
  return undefined
}

function unknownMethodOf(pattern: string): string | undefined {
  const [, word] = /^([A-Za-z]{1,20}) \S/.exec(pattern) ?? []
  if (word === undefined || isHttpMethod(word)) return undefined
  const shown = pattern.slice(0, SHOWN_CHARACTERS_MAX)
  return `"${shown}" begins with "${word}", which is no method of HTTP: expected ${USUAL}; without a method a pattern is for every one`
}
