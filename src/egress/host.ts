import { isIPv4, isIPv6 } from 'node:net'

const nameCharactersMax = 253

/**
 * The one spelling of a host as it may stand in a request: a name in ASCII and lower case without its last dot, four
 * plain decimal numbers, or an IPv6 address in brackets. Undefined for all else. Clients turn other spellings into
 * these before they ask, so what is left over (`0x7f.1`, `2130706433`, `127.1`, `%31`, a zone, a user) is there to be
 * read in two ways.
 */
export function readHost(written: string): string | undefined {
  if (written.startsWith('[')) return readBracketed(written)
  const name = written.toLowerCase().replace(/\.$/, '')
  if (isIPv4(name)) return name
  return isName(name) && !isNumeric(name) ? name : undefined
}

/** An address without its brackets; undefined when the host is a name. */
export function addressOf(host: string): string | undefined {
  if (host.startsWith('[')) return host.slice(1, -1)
  return isIPv4(host) ? host : undefined
}

function readBracketed(written: string): string | undefined {
  const inner = written.slice(1, -1)
  if (!written.endsWith(']') || inner.includes('%') || !isIPv6(inner)) return undefined
  return URL.parse(`http://${written}/`)?.hostname
}

function isName(name: string): boolean {
  return (
    name.length <= nameCharactersMax &&
    name.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
  )
}

/** Some would read a name whose last label is a number, also a hexadecimal one, as an address. */
function isNumeric(name: string): boolean {
  return /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)
}
