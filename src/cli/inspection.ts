import policy from '../../policies/persistence.json' with { type: 'json' }
import type { Event, Sink } from '../contract/event.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { StubRequest } from '../egress/stub.ts'
import type { entryOf } from './verdict-report.ts'

/** From the mildest; `unremarkable`: nothing was seen, which does not mean that there is nothing. */
export const inspectionVerdicts = ['unremarkable', 'suspicious', 'malicious'] as const
export type InspectionVerdict = (typeof inspectionVerdicts)[number]

/** Report of `mayfly inspect`; text in it comes from the target, and is to be escaped where it is shown. */
export interface InspectReport {
  readonly target: string
  readonly kind: 'program' | 'npm-package' | 'python-package' | 'files'
  readonly verdict: InspectionVerdict
  readonly because: readonly string[]
  /** Sources, the most threatening first. */
  readonly analysis: readonly ReturnType<typeof entryOf>[]
  readonly runs: readonly InspectedRun[]
  readonly programs: readonly SeenProgram[]
  readonly files: { readonly read: readonly SeenFile[]; readonly written: readonly SeenFile[] }
  readonly network: {
    readonly hosts: readonly SeenHost[]
    /** As the stubbed internet got them. */
    readonly requests: readonly (StubRequest & { readonly count: number })[]
  }
  readonly persistence: readonly Persistence[]
  /** Uses of planted credentials. */
  readonly credentials: readonly { readonly token: string; readonly where: string }[]
  readonly anomalies: readonly {
    readonly name: string
    readonly severity: string
    readonly reason: string
  }[]
  /** Limits of what was seen, with their reasons. */
  readonly notes: readonly string[]
}

export interface InspectedRun extends Pick<
  Outcome,
  'id' | 'status' | 'tier' | 'provider' | 'exitCode' | 'error'
> {
  readonly executionTime: number
  readonly behaviorScore: number
  readonly stdout: string
  readonly stderr: string
  /** Files that it left in its folder. */
  readonly left: readonly { readonly path: string; readonly size: number }[]
  /** Captures of its memory, stored as evidence. */
  readonly captures: number
  /** SVG of its life. */
  readonly picture: string
}

export interface SeenProgram {
  readonly path: string
  /** True for a program that the target made. */
  readonly written: boolean
  readonly denied: boolean
  readonly count: number
}

export interface SeenFile {
  readonly path: string
  readonly denied: boolean
}

export interface SeenHost {
  readonly host: string
  readonly port: number
  /** cut: ended while data left, as when it held a planted credential. */
  readonly verdict: 'allowed' | 'denied' | 'cut'
  readonly because?: string
  readonly count: number
}

export interface Persistence {
  readonly path: string
  readonly technique: string
  readonly because: string
}

const hostVerdicts = {
  'egress/allowed': 'allowed',
  'egress/denied': 'denied',
  'egress/cut': 'cut',
  'name/refused': 'denied',
} as const

/** Bound of each list; a guest decides how long it would be. */
const rowsMax = 500

type Lists = Pick<
  InspectReport,
  'programs' | 'files' | 'persistence' | 'credentials' | 'anomalies'
> & {
  readonly hosts: readonly SeenHost[]
}

/** Collects events of runs into the lists of a report. Text in events is cut where they are made. */
export function createCollector(runs: ReadonlySet<string>): {
  readonly sink: Sink
  readonly seen: () => Lists
} {
  const rows: Rows = {
    programs: new Map(),
    read: new Map(),
    write: new Map(),
    hosts: new Map(),
    credentials: new Map(),
    anomalies: new Map(),
  }
  const begun = new Set<string>()
  /** Forgets what came before the first line of the target: the opening of its archive. */
  const begin = (run: string) => {
    if (begun.has(run)) return
    begun.add(run)
    for (const one of [rows.programs, rows.read, rows.write]) one.clear()
  }
  return {
    sink: (event) => {
      if (event.run === null || !runs.has(event.run)) return
      if (event.point === 'seen/open' && textOf(event, 'path').endsWith(beginMark)) begin(event.run)
      else keep(event, rows)
    },
    seen: () => {
      const [programs, written] = [[...rows.programs.values()], [...rows.write.values()]]
      return {
        programs,
        files: { read: [...rows.read.values()], written },
        hosts: [...rows.hosts.values()],
        credentials: [...rows.credentials.values()],
        anomalies: [...rows.anomalies.values()],
        persistence: persistenceIn(
          written.map(({ path }) => path),
          programs.map(({ path }) => path),
        ),
      }
    },
  }
}

interface Rows {
  readonly programs: Map<string, SeenProgram>
  readonly read: Map<string, SeenFile>
  readonly write: Map<string, SeenFile>
  readonly hosts: Map<string, SeenHost>
  readonly credentials: Map<string, InspectReport['credentials'][number]>
  readonly anomalies: Map<string, InspectReport['anomalies'][number]>
}

function keep(event: Event, rows: Rows): void {
  const { point, fields } = event
  const text = (name: string) => textOf(event, name)
  const denied = fields['denied'] === true
  if (point === 'seen/exec') {
    const [path, written] = [text('path'), fields['written'] === true]
    add(rows.programs, `${path} ${denied}`, (one) => ({
      path,
      written: written || (one?.written ?? false),
      denied,
      count: (one?.count ?? 0) + 1,
    }))
  } else if (point === 'seen/open') {
    const path = text('path')
    if (isOwnFile(path)) return
    const of = fields['access'] === 'write' ? rows.write : rows.read
    add(of, path, (one) => ({ path, denied: denied && (one?.denied ?? true) }))
  } else if (isHostPoint(point)) {
    const host = text('host') || text('name')
    const verdict = hostVerdicts[point]
    const port = Number(fields['port'] ?? 0)
    const because = verdict === 'allowed' ? '' : text('because')
    add(rows.hosts, `${host} ${port} ${verdict}`, (one) => ({
      host,
      port,
      verdict,
      ...(because !== '' && { because }),
      count: (one?.count ?? 0) + 1,
    }))
  } else if (point === 'seen/honeytoken') {
    const [token, where] = [text('token'), text('where')]
    add(rows.credentials, `${token} ${where}`, () => ({ token, where }))
  } else if (point === 'anomaly/found') {
    const [name, severity, reason] = [text('name'), text('severity'), text('reason')]
    add(rows.anomalies, `${name} ${reason}`, () => ({ name, severity, reason }))
  }
}

function isHostPoint(point: string): point is keyof typeof hostVerdicts {
  return Object.hasOwn(hostVerdicts, point)
}

function textOf({ fields }: Event, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : ''
}

/** File that the driver of an archive opens once, before any code of the target runs; later opens of it have no effect. */
export const beginMark = '/inspect-begin'

/** Files that the runner of the wall opens, in the process of the target. */
function isOwnFile(path: string): boolean {
  return /^\/(tmp\/\.mayfly-|proc\/\d+\/stat$)/.test(path)
}

function add<T>(to: Map<string, T>, key: string, make: (one: T | undefined) => T): void {
  const one = to.get(key)
  if (one !== undefined || to.size < rowsMax) to.set(key, make(one))
}

/** Places of `policies/persistence.json` among written files and started programs. */
export function persistenceIn(
  written: readonly string[],
  programs: readonly string[],
): readonly Persistence[] {
  const found = (paths: readonly string[], places: typeof policy.paths) =>
    paths.flatMap((path) =>
      places
        .filter(({ part }) => isAt(path, part))
        .slice(0, 1)
        .map(({ technique, because }) => ({ path, technique, because })),
    )
  return [...found(written, policy.paths), ...found(programs, policy.programs)]
}

/** `part` ends with a slash for a folder anywhere in the path; else it is its end, or its beginning. */
function isAt(path: string, part: string): boolean {
  return part.endsWith('/') ? path.includes(part) : path.endsWith(part) || path.startsWith(part)
}

/** Verdict of what was seen and of the analysis, with its reasons. */
export function judge(
  found: Pick<
    InspectReport,
    'kind' | 'analysis' | 'persistence' | 'credentials' | 'anomalies' | 'programs'
  >,
): Pick<InspectReport, 'verdict' | 'because'> {
  const { kind, analysis, persistence, credentials, anomalies, programs } = found
  // A score of a source alone says little of a file in a package, which is granted what it reaches for.
  const alone = kind === 'program' ? analysis : []
  const high = anomalies.filter(({ severity }) => severity === 'high').map(({ reason }) => reason)
  const used = credentials.map(
    ({ token, where }) => `It used the planted credential "${token}" (${where})`,
  )
  const malicious = [...new Set([...used, ...high])]
  const suspicious = [
    ...anomalies.filter(({ severity }) => severity === 'medium').map(({ reason }) => reason),
    ...persistence.map(
      ({ path, technique, because }) => `It touched "${path}", ${because} (${technique})`,
    ),
    ...programs
      .filter(({ written }) => written)
      .map(({ path }) => `It started "${path}", which it made itself`),
    ...alone
      .filter(({ blocked }) => blocked)
      .map(({ file, threatScore }) => `The analysis of "${file}" gives threat ${threatScore}`),
  ]
  const because = [...malicious, ...suspicious]
  if (malicious.length > 0) return { verdict: 'malicious', because }
  return { verdict: suspicious.length > 0 ? 'suspicious' : 'unremarkable', because }
}
