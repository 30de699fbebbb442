import {
  allowedBy,
  controlNames,
  controlsBeyond,
  grantsNetwork,
  meet,
  noNetwork,
  type Control,
  type Controls,
} from '../contract/controls.ts'
import { meetPattern } from '../contract/pattern.ts'

/**
 * Indirect ways back to a right that a zone lost (confused deputy).
 *
 * Problem: a zone that lost a right could regain it through a zone that still has it, over any number of zones
 * between.
 *
 * Mechanism: zones are nodes and open channels undirected edges. After each loss, channels of losing zones are
 * revoked until no loser is connected to a zone that has what it lost. Edges are undirected because answers carry
 * data back, and zones may keep data between calls: a caller, or a common callee, can relay a request as well as a
 * callee.
 *
 * Relies on controls only shrinking and channels only closing: only a loss can create a way back, neither a call nor
 * the end of a zone.
 */

/** Caller and callee of a channel. */
export interface ChannelEnds {
  readonly from: string
  readonly to: string
}

/** Controls of a zone at program start and now, both in canonical form. */
export interface ZoneRights {
  readonly had: Controls
  readonly has: Controls
}

export interface RevocationDue<Channel extends ChannelEnds> {
  readonly channel: Channel
  /** Zone that would regain a lost right. */
  readonly zone: string
}

/**
 * Open channels to revoke, in their order, so that no zone is connected to one that still has what it lost. Only
 * channels of losing zones are chosen, and none that could stay open beside the others.
 */
export function channelsToRevoke<Channel extends ChannelEnds>(
  zones: ReadonlyMap<string, ZoneRights>,
  open: readonly Channel[],
): readonly RevocationDue<Channel>[] {
  const givers = giversIn(zones)
  const isOfLoser = ({ from, to }: ChannelEnds) => givers.has(from) || givers.has(to)
  const kept: ChannelEnds[] = open.filter((channel) => !isOfLoser(channel))
  const due: RevocationDue<Channel>[] = []
  for (const channel of open.filter(isOfLoser)) {
    const { from, to } = channel
    const beside = [...kept, channel]
    const zone = [from, to, ...givers.keys()].find((one) => {
      const known = givers.get(one)
      return known && !reached(one, beside).isDisjointFrom(known)
    })
    if (zone === undefined) kept.push(channel)
    else due.push({ channel, zone })
  }
  return due
}

/** For each zone that lost a right, the zones that still have it. */
function giversIn(
  zones: ReadonlyMap<string, ZoneRights>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const givers = new Map<string, ReadonlySet<string>>()
  for (const [zone, standing] of zones) {
    const others = [...zones].filter(
      ([other, { has }]) => other !== zone && givesBack(has, standing),
    )
    if (others.length > 0) givers.set(zone, new Set(others.map(([other]) => other)))
  }
  return givers
}

/** True if `other` has something that the zone lost. Rights it never had do not count. */
function givesBack(other: Controls, { had, has }: ZoneRights): boolean {
  const unlike = controlNames.filter((name) => !isSame(name, had, has) && !isSame(name, other, has))
  if (unlike.length === 0) return false
  if (unlike.some((name) => isSame(name, other, had))) return true
  // Meeting long networks takes milliseconds; skip it where it makes no difference.
  const compared = ({ network, ...rest }: Controls): Controls => ({
    ...rest,
    network: unlike.includes('network') ? network : noNetwork,
  })
  const [before, now, theirs] = [compared(had), compared(has), compared(other)]
  const shared = meet(before, theirs)
  return controlsBeyond(shared, now).length > 0 || isEntangled(before, theirs, shared)
}

/** In canonical form equal controls serialise to equal JSON. */
function isSame(name: Control, a: Controls, b: Controls): boolean {
  return a[name] === b[name] || JSON.stringify(a[name]) === JSON.stringify(b[name])
}

/** True if the meet of two networks was abandoned because it has too many patterns; they count as overlapping. */
function isEntangled({ network: a }: Controls, { network: b }: Controls, { network }: Controls) {
  if (grantsNetwork(network)) return false
  return allowedBy(a).some((mine) =>
    allowedBy(b).some((theirs) => meetPattern(mine, theirs) !== undefined),
  )
}

function reached(from: string, channels: readonly ChannelEnds[]): ReadonlySet<string> {
  const seen = new Set([from])
  // A Set iterates over elements added during iteration (breadth-first search).
  for (const zone of seen)
    for (const channel of channels) {
      if (channel.from === zone) seen.add(channel.to)
      if (channel.to === zone) seen.add(channel.from)
    }
  return seen
}
