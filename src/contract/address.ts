import { isIPv4, isIPv6 } from 'node:net'

/**
 * Addresses that may be dialled: public unicast, excluding forms that embed another address
 * (mapped, 6to4, NAT64 …). The tables are IANA's special-purpose registries (RFC 6890 and
 * successors) plus the metadata addresses at which clouds hand out credentials.
 */
const v4: readonly (readonly [block: string, what: string])[] = [
  ['0.0.0.0/8', 'this host'],
  ['10.0.0.0/8', 'a private network'],
  ['100.64.0.0/10', "a carrier's shared network"],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local, where clouds keep their metadata'],
  ['172.16.0.0/12', 'a private network'],
  ['192.0.0.0/24', 'reserved for protocols'],
  ['192.0.2.0/24', 'for documentation'],
  ['192.88.99.0/24', 'a relay into 6to4'],
  ['192.168.0.0/16', 'a private network'],
  ['198.18.0.0/15', 'for benchmarks'],
  ['198.51.100.0/24', 'for documentation'],
  ['203.0.113.0/24', 'for documentation'],
  ['168.63.129.16/32', 'the metadata of a cloud'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
]

const v6: readonly (readonly [block: string, what: string])[] = [
  ['::/96', 'an IPv4 address in IPv6 form'],
  ['::ffff:0:0/96', 'an IPv4 address in IPv6 form'],
  ['::ffff:0:0:0/96', 'an IPv4 address in IPv6 form'],
  ['64:ff9b:1::/48', 'a translator into a private network'],
  ['100::/64', 'for discarding'],
  ['2001::/32', 'a Teredo tunnel'],
  ['2001::/23', 'reserved for protocols'],
  ['2001:db8::/32', 'for documentation'],
  ['2002::/16', 'a 6to4 tunnel'],
  ['3fff::/20', 'for documentation'],
  ['fc00::/7', 'a private network'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'a private network'],
  ['ff00::/8', 'multicast'],
]
const wellKnown = [{ bits: bits6('64:ff9b::') >> 32n, length: 96 }]
const globalUnicast = blockOf('2000::/3')
const blocks4 = v4.map(([block, what]) => ({ ...blockOf(block), what }))
const blocks6 = v6.map(([block, what]) => ({ ...blockOf(block), what }))

/**
 * Class of an address, which decides how an operator's rule can allow it: `private` by name or
 * address, `loopback` only by address and port, `never` not at all.
 */
export type AddressKind =
  | { readonly kind: 'public' }
  | { readonly kind: 'private' | 'loopback' | 'never'; readonly what: string }

/**
 * Classifies an address. `private`: RFC 1918, the shared range of RFC 6598 and unique local
 * addresses (RFC 4193). `never`: link-local, metadata, multicast, reserved, and every address that
 * embeds another.
 */
export function addressKind(address: string): AddressKind {
  const what = closedAddress(address)
  if (what === undefined) return { kind: 'public' }
  if (isInAny(address, loopback)) return { kind: 'loopback', what }
  const isPrivate = isInAny(address, privateBlocks) && !isInAny(address, metadata)
  return {
    kind: isPrivate ? 'private' : 'never',
    what: isPrivate ? what : neverText(address, what),
  }
}

const loopback = ['127.0.0.0/8', '::1/128'].map(blockOf)
const privateBlocks = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.168.0.0/16',
  'fc00::/7',
].map(blockOf)
/**
 * Metadata addresses inside private networks, never allowed: Alibaba, AWS (IMDS, DNS, time, EKS),
 * Google, Scaleway.
 */
const metadata = ['100.100.100.200/32', 'fd00:ec2::/32', 'fd20:ce::/32', 'fd00:42::42/128'].map(
  blockOf,
)

function neverText(address: string, what: string): string {
  return isInAny(address, metadata) ? 'the metadata of a cloud' : what
}

function isInAny(address: string, blocks: readonly Block[]): boolean {
  const isFour = isIPv4(address)
  if (!isFour && (!isIPv6(address) || address.includes('%'))) return false
  const bits = isFour ? bits4(address) : bits6(address)
  return blocks.some((block) => block.isFour === isFour && isIn(bits, block))
}

/**
 * Reason why an address is not public, such as `loopback` or `a private network`; undefined for a
 * public one.
 */
export function closedAddress(address: string): string | undefined {
  if (isIPv4(address)) return blocks4.find((block) => isIn(bits4(address), block))?.what
  if (!isIPv6(address) || address.includes('%')) return 'no plain address'
  const bits = bits6(address)
  const block = blocks6.find((one) => isIn(bits, one))
  if (block) return block.what
  // NAT64 (RFC 6052): the only route to IPv4 hosts in an IPv6-only network.
  const four = translatedAddress(address)
  if (four !== undefined) return closedAddress(four)
  return isIn(bits, globalUnicast) ? undefined : 'reserved'
}

/** Prefix of a translator from IPv6 to IPv4 (NAT64), of one of the lengths of RFC 6052. */
export interface TranslatorPrefix {
  readonly bits: bigint
  readonly length: number
}
const prefixLengths = [32, 40, 48, 56, 64, 96]

/** Prefixes under which an IPv6 address contains this IPv4 address. */
export function prefixesWith(address: string, four: string): readonly TranslatorPrefix[] {
  if (!isIPv6(address) || address.includes('%')) return []
  const bits = bits6(address)
  return prefixLengths
    .filter((length) => text4(embedded(bits, length)) === four)
    .map((length) => ({ bits: bits >> BigInt(128 - length), length }))
}

/** IPv4 address to which NAT64 translates this one; undefined if it is of no such prefix. */
export function translatedAddress(
  address: string,
  prefixes: readonly TranslatorPrefix[] = wellKnown,
): string | undefined {
  if (!isIPv6(address) || address.includes('%')) return undefined
  const bits = bits6(address)
  const found = prefixes.find((one) => bits >> BigInt(128 - one.length) === one.bits)
  return found && text4(embedded(bits, found.length))
}

/** The 32 bits after a prefix; an octet of zeros is between those before bit 64 and those after it. */
function embedded(bits: bigint, length: number): bigint {
  if (length === 96) return bits & 0xffff_ffffn
  const joined = ((bits >> 64n) << 56n) | (bits & 0xff_ffff_ffff_ffffn)
  return (joined >> BigInt(120 - 32 - length)) & 0xffff_ffffn
}

/** True for an address or a range (`10.0.0.0/8`) of which every address is in one closed block. */
export function isClosedRange(range: string): boolean {
  const [, address = '', length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(range) ?? []
  const bits = isIPv4(address) ? 32 : 128
  if ((bits === 128 && !isIPv6(address)) || address.includes('%') || Number(length ?? 0) > bits)
    return false
  const asked = blockOf(`${address}/${length ?? bits}`)
  return [...blocks4, ...blocks6].some(
    (block) =>
      block.isFour === asked.isFour && asked.hostBits <= block.hostBits && isIn(asked.bits, block),
  )
}

/** Names refused before resolution: this machine and cloud metadata hosts. */
export function closedName(host: string): string | undefined {
  if (/(^|\.)localhost(\.localdomain)?$/.test(host)) return 'this host'
  return /^(metadata|metadata\.google\.internal|instance-data(\.ec2\.internal)?)$/.test(host)
    ? 'the metadata of a cloud'
    : undefined
}

interface Block {
  readonly bits: bigint
  /** Number of low bits to ignore in a comparison. */
  readonly hostBits: bigint
  readonly isFour: boolean
}

function blockOf(text: string): Block {
  const [address = '', length = '0'] = text.split('/')
  const isFour = isIPv4(address)
  return {
    bits: isFour ? bits4(address) : bits6(address),
    hostBits: BigInt((isFour ? 32 : 128) - Number(length)),
    isFour,
  }
}

function isIn(bits: bigint, block: Block): boolean {
  return bits >> block.hostBits === block.bits >> block.hostBits
}

function bits4(address: string): bigint {
  return address.split('.').reduce((bits, part) => (bits << 8n) | BigInt(part), 0n)
}

function bits6(address: string): bigint {
  const tail = /[\d.]+$/.exec(address)?.[0] ?? ''
  const plain = isIPv4(tail) ? address.slice(0, -tail.length) + hex4(bits4(tail)) : address
  const [left = '', right] = plain.split('::')
  const [head, end] = [groups(left), groups(right ?? '')]
  const gap = right === undefined ? [] : Array<string>(8 - head.length - end.length).fill('0')
  return [...head, ...gap, ...end].reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n)
}

function groups(text: string): readonly string[] {
  return text === '' ? [] : text.split(':')
}

function hex4(bits: bigint): string {
  return `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`
}

function text4(bits: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((bits >> shift) & 0xffn)).join('.')
}
