import { controlsBeyond, meet, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { WardenClient } from './client.ts'

const bounds = ['memory', 'cpu', 'processes', 'io'] as const

/** Meet of controls. Throws MayflyError CONFLICT for a request that loosens one: a sandbox only tightens. */
export function tightenedControls(before: Controls, to: Controls): Controls {
  const beyond = controlsBeyond(to, before)
  if (beyond.length === 0) return meet(before, to)
  const what = beyond.join(', ')
  throw new MayflyError('CONFLICT', `Cannot loosen "${what}": a sandbox only tightens`)
}

/**
 * Lowers the bounds of a claimed wall that are less in `next` than in `before`, and resolves to the bounds in force: a
 * bound that this machine has no mechanism for keeps its value of `before`. Rejects if the warden could not set one.
 */
export async function tightenBounds(
  warden: Pick<WardenClient, 'tighten'>,
  wall: string,
  before: Controls,
  next: Controls,
): Promise<Pick<Controls, (typeof bounds)[number]>> {
  const less = bounds.filter((bound) => next[bound] < before[bound])
  const { memory, cpu, processes, io } = next
  if (less.length === 0) return { memory, cpu, processes, io }
  const asked = Object.fromEntries(less.map((bound) => [bound, next[bound]]))
  const held = await warden.tighten(wall, asked)
  const loose = less.filter((bound) => held[bound] === 'none')
  const stays = Object.fromEntries(loose.map((bound) => [bound, before[bound]]))
  return { memory, cpu, processes, io, ...stays }
}
