import type { Assembly } from '../assemble/assemble.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import { outcomeFor } from '../contract/outcome-for.ts'
import type { JobFile, JobRequest, Language } from '../contract/job.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { ProvedProvider } from '../contract/provider.ts'
import type { TierName } from '../contract/tier.ts'
import { duration } from '../contract/units.ts'
import { openNetworkStub, type NetworkStub } from '../egress/stub.ts'
import { newJob } from '../job.ts'
import { lifeOf } from '../picture/life.js'
import { pictureOf } from '../picture/picture.js'
import { svgOf } from '../picture/svg.js'
import type { Globals } from './print.ts'
import { createCollector, judge, type InspectReport, type InspectedRun } from './inspection.ts'
import {
  readInspectTarget,
  unpackedTarget,
  type InspectTarget,
  type TargetSource,
} from './inspect-target.ts'
import { localAsker } from './local-asker.ts'
import { openAssembly } from './open-assembly.ts'
import { stopSignal } from './stop-signal.ts'
import { entryOf } from './verdict-report.ts'

export interface InspectFlags extends Globals {
  readonly language?: Language
  readonly tier?: TierName
  readonly timeout: string
  readonly html?: string
  readonly failOn?: 'suspicious' | 'malicious'
}

const limits = { memory: '512MB', disk: '256MB', processes: 128 } as const
const outputCharactersMax = 20_000
const scheduleName = 'inspect'

/**
 * Analyses a target, then runs it behind the strongest wall of this machine with planted credentials and a stubbed
 * internet; where that wall does not report files and programs, once more behind one that does, unless its risk asks for
 * more than that wall. Throws MayflyError USAGE for a target that cannot be read.
 */
export async function runInspection(
  given: string,
  flags: InspectFlags,
  progress: (text: string) => void,
): Promise<InspectReport> {
  const read = await readInspectTarget(given, flags.language)
  await using stub = await openNetworkStub()
  const runs = new Set<string>()
  const collector = createCollector(runs)
  const trigger: { assembly?: Assembly } = {}
  const captured = new Set<string>()
  await using opened = await openAssembly(flags, 'once', {
    sinks: [
      collector.sink,
      ({ point, run, fields }) => {
        if (point !== 'anomaly/found' || run === null || !runs.has(run) || captured.has(run)) return
        if (fields['severity'] === 'low') return
        captured.add(run)
        const operator = { principal: 'cli', tenant: undefined }
        void trigger.assembly?.operations.capture(run, operator).catch(() => undefined)
      },
    ],
    adapt: (config) => inspecting(config, flags),
    dial: { trust: stub.trust, upstream: stub.upstream },
  })
  const { assembly } = opened
  trigger.assembly = assembly
  const cancel = new AbortController()
  void stopSignal().then(() => cancel.abort())

  const notes: string[] = []
  const target = await withFiles(read, assembly, cancel.signal, notes)
  progress(
    `Analysing ${target.sources.length} ${target.sources.length === 1 ? 'source' : 'sources'}`,
  )
  const { analysis, language, risk } = await analysed(target, assembly)
  const ended: InspectedRun[] = []
  if (!target.request)
    notes.push(
      'Nothing was run: it has no manifest and no file by which it is usually started; name a program in it',
    )
  else
    for (const { provider } of await wallsFor(language, risk, flags, assembly, notes)) {
      progress(`Running it behind ${provider.name} (${provider.tier})`)
      ended.push(
        await runOnce(target.request, provider.name, { assembly, runs, signal: cancel.signal }),
      )
    }
  const { hosts, ...seen } = collector.seen()
  const found = { analysis, ...seen, persistence: [...seen.persistence] }
  if (stub.leftOut > 0) notes.push(`${stub.leftOut} more requests were not kept`)
  return {
    target: given,
    kind: target.kind,
    ...judge({ kind: target.kind, ...found }),
    ...found,
    runs: ended,
    network: { hosts, requests: requestsOf(stub) },
    notes,
  }
}

/** Requests with the count of equal ones, as of a target that ran behind two walls. */
function requestsOf({ requests }: NetworkStub): InspectReport['network']['requests'] {
  const groups = Map.groupBy(requests, ({ method, url, body }) =>
    JSON.stringify([method, url, body]),
  )
  return [...groups.values()].map((equal) => ({ ...equal[0]!, count: equal.length }))
}

/** Configuration of the operator with the schedule of inspections; no risk blocks, and all TLS is read. */
function inspecting(config: Config, { timeout, tier }: InspectFlags): Config {
  const ms = duration.parse(timeout)
  const escalation = tier ? [] : config.escalation.filter(({ to }) => to !== 'block')
  const schedule: Config['schedules'][string] = {
    phases: [{ name: 'watched', for: ms, controls: {} }],
    on_anomaly: { low: 'record', medium: 'record', high: 'record' },
    shorten: 1,
    clock: 'wall',
    zones: {},
    for_origins: [],
    for_capabilities: [],
    begin_at: {},
    honeytokens: true,
    observe_files: true,
  }
  return {
    ...config,
    escalation,
    egress: { ...config.egress, inspect: 'all' },
    schedules: { ...config.schedules, [scheduleName]: schedule },
  }
}

/** Files of an archive, which a job takes out of it behind a wall. */
async function withFiles(
  target: InspectTarget,
  assembly: Assembly,
  signal: AbortSignal,
  notes: string[],
): Promise<InspectTarget> {
  if (!target.unpack) return target
  const job = newJob({ ...target.unpack, floor: 'process' }, { ...localAsker }, assembly.clock)
  const outcome = await assembly.run(job, { signal })
  if (outcome.status !== 'ok') {
    const why = outcome.error?.message ?? outcome.stderr
    throw new MayflyError('USAGE', `Cannot open the archive: ${why.slice(0, 300)}`, {
      hint: 'Give an archive of tar or zip, below 64 MB',
    })
  }
  const files = outcome.artifacts.flatMap((one): JobFile[] =>
    one.content === undefined ? [] : [{ path: one.path, content: one.content, encoding: 'base64' }],
  )
  if (outcome.artifactsLeftOut.length > 0)
    notes.push(
      `${outcome.artifactsLeftOut.length} files of the archive were not analysed: too many or too large`,
    )
  return unpackedTarget(target, files)
}

const analysesAtOnce = 4

async function analysed({ sources, request }: InspectTarget, assembly: Assembly) {
  const rows: ReturnType<typeof entryOf>[] = []
  const judged = async ({ file, code, language }: TargetSource) => {
    const job = newJob({ code, ...(language && { language }) }, { ...localAsker }, assembly.clock)
    return entryOf({ file, analysis: await assembly.analyse(job) })
  }
  for (let from = 0; from < sources.length; from += analysesAtOnce)
    rows.push(...(await Promise.all(sources.slice(from, from + analysesAtOnce).map(judged))))
  const analysis = rows.toSorted((a, b) => b.threatScore - a.threatScore || b.risk - a.risk)
  const main =
    request && (await assembly.analyse(newJob(request, { ...localAsker }, assembly.clock)))
  const risks = analysis.map((one) => (one.judged ? one.risk : 0))
  const risk = Math.max(0, main?.verdict.risk ?? 0, ...risks)
  return { analysis, language: main?.verdict.language ?? 'sh', risk }
}

/** True for a wall that reports opened files and started programs of this language. */
function observes({ availability }: ProvedProvider, language: string): boolean {
  const isRealm = language === 'js' || language === 'ts' || language === 'wasm'
  return availability.available && (isRealm || availability.layers.includes('sentinel'))
}

/** The strongest wall here; then, where it does not report files and programs, the strongest one that does. */
async function wallsFor(
  language: ProvedProvider['provider']['languages'][number],
  risk: number,
  { tier }: InspectFlags,
  assembly: Assembly,
  notes: string[],
): Promise<readonly ProvedProvider[]> {
  const strengthOf = ({ availability }: ProvedProvider) =>
    availability.available ? availability.strength : 0
  const proved = (await assembly.providers())
    .filter(
      (one) =>
        strengthOf(one) > 0 &&
        one.provider.languages.includes(language) &&
        one.provider.can.includes('network'),
    )
    .filter(({ provider }) => tier === undefined || provider.tier === tier)
    .toSorted((a, b) => strengthOf(b) - strengthOf(a))
  const [strongest] = proved
  if (!strongest)
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot inspect it: no wall of this machine runs ${language}${tier ? ` on the tier "${tier}"` : ''}`,
      {
        hint: 'See "mayfly providers"',
      },
    )
  if (observes(strongest, language)) return [strongest]
  const name = strongest.provider.name
  const observing = tier === undefined ? proved.find((one) => observes(one, language)) : undefined
  if (!observing) {
    notes.push(`Files and programs are not seen: "${name}" does not report them`)
    return [strongest]
  }
  const floor = assembly.config.escalation.findLast(({ at }) => at <= risk)
  const isTooWeak =
    floor !== undefined && floor.to !== 'block' && rank(floor.to, proved) > strengthOf(observing)
  if (isTooWeak) {
    notes.push(
      `Files and programs are not seen: "${name}" does not report them, and a risk of ${risk} asks for more than "${observing.provider.name}" (--tier ${observing.provider.tier} runs it there)`,
    )
    return [strongest]
  }
  return [strongest, observing]
}

function rank(tier: string, proved: readonly ProvedProvider[]): number {
  const of = proved.filter(({ provider }) => provider.tier === tier)
  return Math.max(
    0,
    ...of.map(({ availability }) => (availability.available ? availability.strength : 0)),
  )
}

interface RunParts {
  readonly assembly: Assembly
  readonly runs: Set<string>
  readonly signal: AbortSignal
}

async function runOnce(
  request: JobRequest,
  provider: string,
  { assembly, runs, signal }: RunParts,
): Promise<InspectedRun> {
  const ms = lengthOf(assembly.config.schedules[scheduleName]!.phases)
  const asked: JobRequest = {
    ...request,
    provider,
    schedule: scheduleName,
    network: 'open',
    limits: { ...limits, ...request.limits, timeout: ms },
    capture: true,
  }
  const job = newJob(asked, { ...localAsker }, assembly.clock)
  runs.add(job.id)
  const outcome = await assembly.run(job, { signal })
  return runOf(outcome)
}

function runOf(ended: Outcome): InspectedRun {
  const outcome = outcomeFor('inspect', ended)
  const { id, status, tier, provider, exitCode, error, metrics, security, artifacts } = outcome
  return {
    id,
    status,
    exitCode,
    ...(tier !== undefined && { tier }),
    ...(provider !== undefined && { provider }),
    ...(error && { error }),
    executionTime: metrics.executionTime,
    behaviorScore: security.behaviorScore,
    stdout: outcome.stdout.slice(-outputCharactersMax),
    stderr: outcome.stderr.slice(-outputCharactersMax),
    left: artifacts.map(({ path, size }) => ({ path, size })),
    captures: outcome.timeline.filter(
      ({ event, fields }) => event === 'captured' && fields?.['kind'] !== 'none',
    ).length,
    picture: svgOf(pictureOf(lifeOf(outcome))),
  }
}
