import { MayflyError } from '../../../contract/error.ts'
import { callClasses } from '../../../contract/calls.ts'
import { composeBubblewrap } from '../../../jail/bubblewrap.ts'
import {
  composeEmbedded,
  type JailCommand,
  type JailedProgram,
  type JailOptions,
} from '../../../jail/embedded.ts'
import type { JailFacts, JailLayer } from '../../../jail/facts.ts'
import { analyst } from '../../../threat/launch.ts'
import { isolateWorker } from '../../../tiers/isolated-vm/launch.ts'
import type { EnclosureSpec } from '../../../contract/engine.ts'

const DISK_BYTES = 64 * 2 ** 20

/** Composes the program by its provider's `launch.ts`; rarely needed ones are loaded on first use. */
export async function programFor(
  asked: EnclosureSpec,
  without: readonly JailLayer[],
): Promise<JailedProgram> {
  switch (asked.program) {
    case 'analyst':
      return analyst(asked.spares, without)
    case 'isolated-vm':
      return isolateWorker(asked, without)
    case 'wasi':
      return (await import('../../../tiers/wasi/launch.ts')).wasmWorker(without)
    case 'node':
      return (await wholeGuests()).nodeProgram(settingsOf(asked))
    case 'python':
      return (await wholeGuests()).pythonProgram(settingsOf(asked))
  }
}

let guests: Promise<typeof import('../../../jail/whole-guests.ts')> | undefined

function wholeGuests() {
  guests ??= import('../../../jail/whole-guests.ts')
  return guests
}

/** Composes the command of the jail. Throws MayflyError UNAVAILABLE if this jail kind is missing. */
export function composeJail(
  asked: 'any' | 'embedded' | 'bubblewrap',
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions & { readonly prefer: 'embedded' | 'bubblewrap' | undefined },
): JailCommand {
  const wanted = asked === 'any' ? options.prefer : asked
  const bubblewrap =
    wanted === 'bubblewrap' ? composeBubblewrap(program, facts, options) : undefined
  if (bubblewrap || asked !== 'bubblewrap')
    return bubblewrap ?? composeEmbedded(program, facts, options)
  throw new MayflyError(
    'UNAVAILABLE',
    'Cannot start a wall by bubblewrap: it is missing, or cannot create namespaces',
    {
      hint: 'Install bubblewrap, and allow namespaces',
    },
  )
}

function settingsOf({ disk = DISK_BYTES, spares, calls = callClasses }: EnclosureSpec) {
  return { scratchBytes: disk, isWarm: spares > 0, hasThreads: calls.includes('process') }
}
