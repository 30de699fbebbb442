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
 * What is taken from a zone must not come back to it through others. A zone that lost something and one that still has
 * it must not reach each other, by however many zones between, whether those ever had it or not.
 *
 * A channel counts in both directions. Arguments go one way and answers the other, and nobody can see what a zone makes
 * of what it heard: a zone that lost the network has a request sent by whom it calls, and just as well by its caller,
 * as its answer, or by a caller of a zone that both call. Its direction would only hold for code that keeps nothing
 * between calls, which is what analysis believes and no wall enforces.
 *
 * Controls only shrink and channels only close, so that what was judged once stays so: only a loss can make a way back,
 * and neither the end of a zone nor a call can.
 */

/** From who calls to who is called. */
export interface Ends {
  readonly from: string
  readonly to: string
}

/** What a zone had as the program began, and what it has now: within that, and both in canonical form. */
export interface Standing {
  readonly had: Controls
  readonly has: Controls
}

export interface WayBack<Channel extends Ends> {
  readonly channel: Channel
  /** Who would have back through it what it lost. */
  readonly zone: string
}

/**
 * Which of the open channels must close, in their order, so that no zone reaches one that still has what it lost. Each
 * of them is of a zone that lost something, and none closes that could stay open beside those that do.
 */
export function waysBack<Channel extends Ends>(
  zones: ReadonlyMap<string, Standing>,
  open: readonly Channel[],
): readonly WayBack<Channel>[] {
  const givers = giversIn(zones)
  const isOfLoser = ({ from, to }: Ends) => givers.has(from) || givers.has(to)
  const kept: Ends[] = open.filter((channel) => !isOfLoser(channel))
  const ways: WayBack<Channel>[] = []
  for (const channel of open.filter(isOfLoser)) {
    const { from, to } = channel
    const beside = [...kept, channel]
    const zone = [from, to, ...givers.keys()].find((one) => {
      const known = givers.get(one)
      return known && !reached(one, beside).isDisjointFrom(known)
    })
    if (zone === undefined) kept.push(channel)
    else ways.push({ channel, zone })
  }
  return ways
}

/** Of each zone that lost something that others still have, who these are. */
function giversIn(zones: ReadonlyMap<string, Standing>): ReadonlyMap<string, ReadonlySet<string>> {
  const givers = new Map<string, ReadonlySet<string>>()
  for (const [zone, standing] of zones) {
    const others = [...zones].filter(
      ([other, { has }]) => other !== zone && givesBack(has, standing),
    )
    if (others.length > 0) givers.set(zone, new Set(others.map(([other]) => other)))
  }
  return givers
}

/** Whether somebody has any of what was taken. What a zone never had is not given back to it. */
function givesBack(other: Controls, { had, has }: Standing): boolean {
  const unlike = controlNames.filter((name) => !isSame(name, had, has) && !isSame(name, other, has))
  if (unlike.length === 0) return false
  if (unlike.some((name) => isSame(name, other, had))) return true
  // Networks may be long, and to meet them takes milliseconds: only where they can make a difference.
  const compared = ({ network, ...rest }: Controls): Controls => ({
    ...rest,
    network: unlike.includes('network') ? network : noNetwork,
  })
  const [before, now, theirs] = [compared(had), compared(has), compared(other)]
  const shared = meet(before, theirs)
  return controlsBeyond(shared, now).length > 0 || isEntangled(before, theirs, shared)
}

/** In canonical form equal rights are equal data. */
function isSame(name: Control, a: Controls, b: Controls): boolean {
  return a[name] === b[name] || JSON.stringify(a[name]) === JSON.stringify(b[name])
}

/** Whether two networks come out as none for being too many patterns to be met: they may have anything in common. */
function isEntangled({ network: a }: Controls, { network: b }: Controls, { network }: Controls) {
  if (grantsNetwork(network)) return false
  return allowedBy(a).some((mine) =>
    allowedBy(b).some((theirs) => meetPattern(mine, theirs) !== undefined),
  )
}

function reached(from: string, channels: readonly Ends[]): ReadonlySet<string> {
  const seen = new Set([from])
  // What is added while it is walked is walked too.
  for (const zone of seen)
    for (const channel of channels) {
      if (channel.from === zone) seen.add(channel.to)
      if (channel.to === zone) seen.add(channel.from)
    }
  return seen
}
