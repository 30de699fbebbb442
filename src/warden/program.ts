import { MayflyError } from '../contract/error.ts'
import { callClasses } from '../contract/calls.ts'
import { composeBubblewrap } from '../jail/bubblewrap.ts'
import {
  composeEmbedded,
  type JailCommand,
  type JailedProgram,
  type JailOptions,
} from '../jail/embedded.ts'
import type { JailFacts, Layer } from '../jail/facts.ts'
import { analyst } from '../threat/launch.ts'
import { isolateWorker } from '../tiers/isolated-vm/launch.ts'
import type { Request } from '../contract/warden.ts'

/** What a start names; the launchers decide the rest. */
export type Wanted = Pick<
  Extract<Request, { op: 'start' }>,
  'program' | 'spares' | 'spareMiB' | 'way' | 'disk' | 'calls' | 'layers'
>

const DISK_BYTES = 64 * 2 ** 20

/** Those that not every Mayfly needs are loaded when they are asked for. */
export async function programFor(asked: Wanted, without: readonly Layer[]): Promise<JailedProgram> {
  switch (asked.program) {
    case 'analyst':
      return analyst(asked.spares, without)
    case 'isolated-vm':
      return isolateWorker(asked, without)
    case 'wasi':
      return (await import('../tiers/wasi/launch.ts')).wasmWorker(without)
    case 'node':
      return (await import('../tiers/process/launch.ts')).nodeProgram(settingsOf(asked))
    case 'python':
      return (await import('../tiers/process/launch.ts')).pythonProgram(settingsOf(asked))
  }
}

/** Two starts with the same are asked for the same. */
export function keyOf(wanted: Wanted): string {
  const { program, spares, spareMiB, way = 'any', disk = 0, calls, layers = [] } = wanted
  const mounted = layers.map(({ kind, layer }) => `${kind}:${layer}`).join()
  return `${program} ${spares} ${spareMiB} ${way} ${disk} ${calls?.join() ?? 'all'} ${mounted}`
}

/** Throws MayflyError UNAVAILABLE where the way that was asked for is not there. */
export function composeWay(
  way: 'any' | 'embedded' | 'bubblewrap',
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions & { readonly prefer: 'embedded' | 'bubblewrap' | undefined },
): JailCommand {
  const wanted = way === 'any' ? options.prefer : way
  const bubblewrap =
    wanted === 'bubblewrap' ? composeBubblewrap(program, facts, options) : undefined
  if (bubblewrap || way !== 'bubblewrap')
    return bubblewrap ?? composeEmbedded(program, facts, options)
  throw new MayflyError(
    'UNAVAILABLE',
    'Cannot start a wall by bubblewrap: it is missing here, or can make no namespaces',
    {
      hint: 'Install bubblewrap, and allow namespaces',
    },
  )
}

function settingsOf({ disk = DISK_BYTES, spares, calls = callClasses }: Wanted) {
  return { scratchBytes: disk, isWarm: spares > 0, hasThreads: calls.includes('process') }
}
