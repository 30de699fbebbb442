import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job, JobAccount } from '../contract/job.ts'
import type { LayerCode } from '../contract/pipeline.ts'
import { patternNames } from '../contract/verdict.ts'
import { parseJson } from '../lib/parse-json.ts'
import { packageUnitsMax, unreadIn } from './files.ts'
import { NoAnalystError } from './no-analyst.ts'
import { patternMatchSchema, type PatternMatch } from './pattern-match.ts'

export type LayerMatcher = (job: Job) => Promise<readonly PatternMatch[]>

interface LayerParts {
  readonly ask: (tenant: string, requestText: string, account?: JobAccount) => Promise<string>
  readonly layers: LayerCode | undefined
  readonly version: () => string
  readonly emitter: Pick<Emitter, 'emit'>
}

/** Cached layers of all tenants; each belongs to one tenant. */
const KNOWN_MAX = 256
const keptSchema = z.strictObject({
  version: z.string(),
  found: z.array(patternMatchSchema).max(patternNames.length),
})
const replySchema = z.object({ found: keptSchema.shape.found })

/**
 * Finds patterns in a job's package layers, once per layer, and stores the result beside it. A layer is read
 * whole or not at all; unread layers and parser crashes are UNREAD_DEPENDENCY, and the latter are retried.
 */
export function createLayerAnalyst({ ask, layers, version, emitter }: LayerParts): LayerMatcher {
  const known = new Map<string, readonly PatternMatch[]>()

  async function find(layer: string, job: Job): Promise<readonly PatternMatch[]> {
    const bytes = layers?.codeBytes(layer)
    if (!layers || bytes === undefined || bytes > packageUnitsMax) return [unreadIn('package')]
    const kept = readKept(layers.recall(layer), version())
    if (kept) return kept
    const files = layers.read(layer)
    if (files.length === 0) return []
    const request = { code: '', language: 'node', entry: 'program', files }
    const reply = await ask(job.tenant, JSON.stringify(request), job.account)
    const found = replySchema.parse(parseJson(reply)).found.filter(isOfPackage)
    layers.keep(layer, JSON.stringify({ version: version(), found }))
    return found
  }

  async function findOnce(layer: string, job: Job): Promise<readonly PatternMatch[]> {
    const key = `${job.tenant}\0${version()}\0${layer}`
    const before = known.get(key)
    if (before) return before
    try {
      const found = await find(layer, job)
      known.set(key, found)
      if (known.size > KNOWN_MAX) known.delete(known.keys().next().value!)
      return found
    } catch (thrown) {
      const isOfProcess = thrown instanceof MayflyError && thrown.code === 'UNAVAILABLE'
      const isOfMachine = thrown instanceof MayflyError && !isOfProcess
      if (isOfMachine || thrown instanceof NoAnalystError) throw thrown
      const why = thrown instanceof Error ? thrown.message.slice(0, 200) : 'unknown'
      emitter.emit('threat/unparsed', { why, tenant: job.tenant, layer }, { run: job.id })
      return [unreadIn('package')]
    }
  }

  return async (job) => {
    const found: PatternMatch[] = []
    for (const { kind, layer } of job.packages ?? [])
      if (kind === 'node') found.push(...(await findOnce(layer, job)))
    return found
  }
}

/** False for findings in the empty source that stands in for the job's own. */
function isOfPackage({ detail }: { readonly detail?: string | undefined }): boolean {
  return detail !== undefined
}

function readKept(text: string | undefined, version: string): readonly PatternMatch[] | undefined {
  if (text === undefined) return undefined
  try {
    const kept = keptSchema.parse(parseJson(text))
    return kept.version === version ? kept.found : undefined
  } catch {
    return undefined
  }
}
