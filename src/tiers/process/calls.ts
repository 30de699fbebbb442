import { callClasses, type CallClass } from '../../contract/calls.ts'
import type { Controls } from '../../contract/controls.ts'
import type { Voice } from '../../contract/event.ts'
import type { WardenClient } from '../../warden/client.ts'
import type { CallSeen, Wall } from '../../warden/protocol.ts'

/** What a program's system calls have to do with its controls, where its wall has a sentinel. */
export function hasSentinel({ layers }: Wall): boolean {
  return layers.includes('sentinel')
}

/**
 * Classes that stay open when controls become less; undefined where none closes. A network that becomes none closes at
 * its way out: sockets between the program's own processes, by the loopback too, are theirs until a class is named.
 */
export function callsLeft(before: Controls, next: Controls): readonly CallClass[] | undefined {
  const closed = new Set<CallClass>(
    callClasses.filter((name) => next.syscalls !== 'any' && !next.syscalls.includes(name)),
  )
  const isEmptied = (was: readonly string[], is: readonly string[]) =>
    was.length > 0 && is.length === 0
  if (isEmptied(before.files.write, next.files.write)) closed.add('write')
  if (isEmptied(before.files.read, next.files.read)) closed.add('outside')
  return closed.size === 0 ? undefined : callClasses.filter((name) => !closed.has(name))
}

/** Of what a sentinel cannot hold in part, what was held before: folders other than none. */
export function heldByCalls(
  before: Controls,
  next: Controls,
): Pick<Controls, 'files' | 'syscalls'> {
  const { read, write } = before.files
  return {
    syscalls: next.syscalls,
    files: {
      read: next.files.read.length === 0 ? [] : read,
      write: next.files.write.length === 0 ? [] : write,
    },
  }
}

/** Says what a program is seen to call, from its release on, in the words that every tier uses. */
export function tellCalls(parts: {
  readonly warden: Pick<WardenClient, 'onCall'>
  readonly wall: string
  readonly run: string
  readonly voice: Voice
}): void {
  const { warden, wall, run, voice } = parts
  const about = { run, zone: 'main', trust: 'wall', actor: 'sentinel' } as const
  warden.onCall(wall, (seen) => {
    const [point, fields] = wordsOf(seen)
    voice.say(point, fields, about)
  })
}

function wordsOf({ class: name, call, path, denied, writes }: CallSeen) {
  if (name === 'exec' && path !== undefined) return ['seen/exec', { path, denied }] as const
  if (path !== undefined)
    return ['seen/open', { path, access: writes ? 'write' : 'read', denied }] as const
  return ['seen/syscall', { class: name, call, count: 1, denied }] as const
}
