import { isIPv4, isIPv6 } from 'node:net'

const nameCharactersMax = 253

/**
 * Canonical spelling of a host: an ASCII name in lower case without the final dot, a dotted IPv4 address, or an IPv6
 * address in brackets; undefined otherwise. Clients normalise other spellings themselves, so those that remain
 * (`0x7f.1`, `2130706433`, `127.1`, `%31`, a zone id, user info) would be parsed differently elsewhere.
 */
export function readHost(written: string): string | undefined {
  if (written.startsWith('[')) return readBracketed(written)
  const name = written.toLowerCase().replace(/\.$/, '')
  if (isIPv4(name)) return name
  return isName(name) && !isNumeric(name) ? name : undefined
}

/** Address without brackets; undefined for a name. */
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

/**
 * Names with a numeric last label, also hexadecimal, are parsed as IPv4 addresses by some clients (WHATWG URL,
 * inet_aton).
 */
function isNumeric(name: string): boolean {
  return /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)
}
