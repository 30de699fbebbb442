import * as z from 'zod'
import { anomalySeverities } from './anomaly.ts'
import type { Controls } from './controls.ts'
import { imageReferencePattern } from './image-reference.ts'
import { unknownMethodIn } from './http-method.ts'
import { bytesAsked, hostPattern, instructions, networkAsked, origins } from './job.ts'
import { languageAmong } from './language.ts'
import {
  type ConfiguredNetworkInput,
  type ConfiguredNetwork,
  configuredNetworkOf,
  type NetworkInput,
  networkOf,
  parsePattern,
  patternText,
  privateOf,
} from './network.ts'
import { conditionCharactersMax, reaction } from './phase.ts'
import { reservedWords } from './reserved-words.ts'
import { defaultRestraint, restraint } from './restraint.ts'
import { filled, flag, whole } from './schema-parts.ts'
import { envelopesMax } from './signature.ts'
import { strengthOf, tierName, type TierName } from './tier.ts'
import { whyNotStricter } from './thresholds.ts'
import { vulnerabilitySeverities } from './vulnerability.ts'
import { zoneNameSchema } from './zones.ts'
import {
  cores,
  diskSize as diskAsked,
  duration as durationAsked,
  feedAge,
  ioRate as ioAsked,
  memorySize as memoryAsked,
  size as sizeAsked,
} from './units.ts'
import { trustLevels } from './verdict.ts'

/**
 * The whole configuration, with the names of the TOML file. Parsing turns durations into
 * milliseconds, sizes into bytes and networks into the canonical patterns of Controls; an unknown
 * key is an error. The TOML reference is generated from the descriptions below.
 */
const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'expected a name: 64 letters, digits, ".", "_" or "-"',
  )

const fileName = filled(4096).refine((text) => !text.includes('\0'), 'expected no NUL character')
const httpUrl = z.url({ protocol: /^https?$/, error: 'expected an http or https URL' }).max(2048)
const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/)

/** The title is the name of the type in the generated reference. */
const duration = durationAsked.meta({ title: 'duration' })
const size = sizeAsked.meta({ title: 'size' })
const diskSize = diskAsked.meta({ title: 'size' })
const ioRate = ioAsked.meta({ title: 'size' })
const memorySize = memoryAsked.meta({ title: 'size' })
const age = feedAge.meta({ title: 'age' })

const networkText =
  'expected "none", "open", { allow = ["host", …], sent = "1MB" } or { deny = ["host", …] }, each host such as ' +
  '"api.example.com", "*.example.net" or "https://api.example.com:443"'

/** A network in user notation; becomes the canonical form. */
const network = z
  .custom<NetworkInput>((value) => networkAsked.safeParse(value).success, {
    error: ({ input }) => unknownMethodIn(input) ?? networkText,
  })
  .transform((asked) => networkOf(asked))
  .meta({ title: 'network' })

/** A network in a grant or a ceiling of the configuration, whose rules may allow private addresses. */
const hostRule = z.union([hostPattern, z.strictObject({ host: hostPattern, private: flag })])
const configuredAsked = z.union([
  networkAsked,
  z.strictObject({ allow: z.array(hostRule).max(1000), ...bytesAsked }),
])
const configuredText = `${networkText}; a host to allow may also be { host = "https://registry.corp.example", private = true }`
const configuredNetwork = z
  .custom<ConfiguredNetworkInput>((value) => configuredAsked.safeParse(value).success, {
    error: ({ input }) => unknownMethodIn(input) ?? configuredText,
  })
  .transform((asked, ctx): ConfiguredNetwork => {
    try {
      return configuredNetworkOf(asked)
    } catch (thrown) {
      ctx.addIssue({ code: 'custom', message: (thrown as Error).message })
      return z.NEVER
    }
  })
  .meta({ title: 'network' })

/** The network policy of a capability's entry; bare names are ports 80 and 443. */
const networkPolicyText =
  'expected "None", "Full", { AllowList = ["host", …] } or { DenyList = ["host", …] }'
const hostList = z.array(z.string().max(300)).max(1000)
const hostRules = z
  .array(
    z.union([z.string().max(300), z.strictObject({ host: z.string().max(300), private: flag })]),
  )
  .max(1000)
const networkPolicyWritten = z.union(
  [
    z.enum(['None', 'Full']),
    z.strictObject({ AllowList: hostRules }),
    z.strictObject({ DenyList: hostList }),
  ],
  { error: networkPolicyText },
)
const networkPolicy = networkPolicyWritten
  .transform((policy, ctx): ConfiguredNetwork => {
    if (policy === 'None' || policy === 'Full')
      return networkOf(policy === 'None' ? 'none' : 'open')
    try {
      if ('DenyList' in policy) return networkOf({ deny: policy.DenyList })
      const rules = policy.AllowList.map((rule) =>
        typeof rule === 'string' ? { host: rule } : rule,
      )
      const allow = rules.flatMap(({ host }) => parsePattern(host, 'web') ?? host)
      const named = rules.filter((rule) => 'private' in rule && rule.private)
      return {
        ...networkOf({ allow }),
        ...privateOf(
          named.map(({ host }) => host),
          'web',
        ),
      }
    } catch (thrown) {
      const { message } = thrown as Error
      const isPrivate = message.startsWith('Cannot let')
      ctx.addIssue({
        code: 'custom',
        message: isPrivate
          ? message
          : (unknownMethodIn(policy) ?? `expected each entry to be ${patternText}`),
      })
      return z.NEVER
    }
  })
  .meta({ title: 'network policy' })

const folder = z
  .string()
  .max(300)
  .refine(
    (path) => path.startsWith('/') && !path.split('/').includes('..') && !path.includes('\0'),
    {
      message: 'expected an absolute folder without ".."',
    },
  )
  .transform((path) => path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1'))
const folders = z.array(folder).max(1000)

const filesText = 'expected "none" or { read = ["/folder", …], write = ["/folder", …] }'
const files = z
  .union(
    [z.literal('none'), z.strictObject({ read: folders.default([]), write: folders.default([]) })],
    { error: filesText },
  )
  .transform((asked) => (asked === 'none' ? { read: [], write: [] } : asked))
  .meta({ title: 'files' })

/** The file system policy of a capability's entry. */
const fsPolicy = z
  .union(
    [
      z.literal('None'),
      z.strictObject({ ReadOnly: folders }),
      z.strictObject({ ReadWrite: folders }),
    ],
    { error: 'expected "None", { ReadOnly = ["/folder", …] } or { ReadWrite = ["/folder", …] }' },
  )
  .transform((policy) => {
    if (policy === 'None') return { read: [], write: [] }
    return 'ReadOnly' in policy
      ? { read: policy.ReadOnly, write: [] }
      : { read: policy.ReadWrite, write: policy.ReadWrite }
  })
  .meta({ title: 'fs policy' })

const nameList = z
  .union([z.enum(['any', 'none']), z.array(filled(200)).max(1000)], {
    error: 'expected "any", "none" or a list of names',
  })
  .transform((asked) => {
    if (asked === 'any') return asked
    return asked === 'none' ? [] : [...new Set(asked)].sort()
  })
  .meta({ title: 'names' })

const threads = whole(1, 100_000)
const life = duration.refine((ms) => ms >= 1, 'expected at least 1 ms')

const limitsShape = {
  timeout: life.describe('Longest run of user code'),
  memory: memorySize.describe('Memory above the idle size of the wall'),
  cpu: cores.describe('Cores'),
  cpu_time: life.describe('Processor time of all processes together; left out, unlimited'),
  processes: threads.describe('Processes and threads'),
  disk: size.describe('Bytes on disk'),
  output: size.describe('Limit of stdout and of stderr, in bytes'),
  instructions: instructions.describe(
    'Instructions of a WebAssembly module; left out, they are not counted',
  ),
} as const

const diskOfJob = diskSize.describe('Bytes on disk, 64 GB at most')

const limits = z.strictObject({
  timeout: limitsShape.timeout.prefault('5s'),
  memory: limitsShape.memory.prefault('128MB'),
  cpu: limitsShape.cpu.default(1),
  processes: limitsShape.processes.default(64),
  disk: diskOfJob.prefault('64MB'),
  output: limitsShape.output.prefault('1MB'),
  result: size.prefault('4MB').describe('Bytes of the result as JSON'),
  artifacts: size.prefault('16MB').describe('Bytes of all artifacts together'),
  cpu_time: limitsShape.cpu_time.optional(),
  instructions: limitsShape.instructions.optional(),
})

/** Names of all limits, in the order of the reference. */
export const limitNames = Object.keys(limits.shape)

const ceilingsNetwork = network.optional().describe('Upper limit of what a job may request')

const ceilingShape = {
  ...z.strictObject(limitsShape).partial().shape,
  artifacts: size
    .optional()
    .describe(
      'Bytes of all artifacts together; left out, 64 MB, or limits.artifacts where that is more',
    ),
  network: configuredNetwork.optional().describe('Upper limit of what a job may request'),
} as const
const ceilings = z.strictObject({
  ...ceilingShape,
  output: limitsShape.output.prefault('64MB'),
})

const cpuSecondsPerMinute = z.number().positive().max(1_000_000)

const tenantCeilingShape = {
  ...ceilingShape,
  concurrency: whole(1, 100_000).optional().describe('Concurrent jobs'),
  runs_per_minute: whole(1, 1_000_000).optional().describe('Jobs a minute'),
  cpu_seconds_per_minute: cpuSecondsPerMinute
    .optional()
    .describe('Seconds of processor time a minute, all jobs together'),
  bytes_per_minute: size
    .optional()
    .describe('Bytes a minute: code, input and files in, results and output out'),
} as const

const signing = z.strictObject({
  required: flag.describe('Run only code that a trusted signer signed'),
  signers: whole(1, envelopesMax)
    .default(1)
    .describe('Number of trusted signers whose signatures are required'),
})

const tenant = z.strictObject({
  name: name.describe('The tenant; the built-in one is `default`'),
  keys: z
    .array(
      z
        .string()
        .regex(
          /^sha256:[0-9a-f]{64}$/,
          'expected "sha256:" and 64 lower-case hex digits: the hash of the whole key',
        ),
    )
    .max(1000)
    .default([])
    .describe('SHA-256 of each API key, a key having 32 characters or more'),
  floor: tierName.optional().describe('Weakest tier that jobs of this tenant may run on'),
  ceilings: z
    .strictObject(tenantCeilingShape)
    .prefault({})
    .describe('Upper limits of a job of this tenant, whatever it requests'),
  signing: signing.prefault({}).describe('Signature requirements of this tenant'),
})

/** Target of an escalation step: a tier, or `block`. */
export type EscalationTo = TierName | 'block'
export interface EscalationStep {
  /** Lowest risk, 0 to 100, at which the step applies. */
  readonly at: number
  readonly to: EscalationTo
}

/** Rank of a step, for the rule that a higher risk never gets a weaker tier. */
const rankOfStep = (to: EscalationTo): number => (to === 'block' ? 6 : strengthOf[to])

/** Risks at which `next` gives a weaker tier than `now`. */
export function weakerRisks(
  next: readonly EscalationStep[],
  now: readonly EscalationStep[],
): readonly number[] {
  const risks = [0, ...now.map(({ at }) => at), ...next.map(({ at }) => at)]
  return risks.filter((risk) => rankAt(next, risk) < rankAt(now, risk))
}

function rankAt(steps: readonly EscalationStep[], risk: number): number {
  const step = steps.findLast(({ at }) => at <= risk)
  return step ? rankOfStep(step.to) : strengthOf.none
}

const escalation = z
  .record(
    z.string(),
    z.union([tierName, z.literal('block')], { error: 'expected a tier or "block"' }),
  )
  .transform((table, ctx): EscalationStep[] => {
    const steps = Object.entries(table).map(([key, to]) => ({ at: Number(key), to, key }))
    for (const { at, key } of steps)
      if (!/^\d{1,3}$/.test(key) || at > 100)
        ctx.addIssue({ code: 'custom', path: [key], message: 'expected a risk from 0 to 100' })
    steps.sort((a, b) => a.at - b.at)
    for (const [index, { to, key }] of steps.entries())
      if (index > 0 && rankOfStep(to) < rankOfStep(steps[index - 1]!.to))
        ctx.addIssue({
          code: 'custom',
          path: [key],
          message: `expected a tier no weaker than "${steps[index - 1]!.to}", that of a lower risk`,
        })
    return steps.map(({ at, to }) => ({ at, to }))
  })
  .meta({ title: 'escalation' })

const condition = filled(conditionCharactersMax).meta({ title: 'condition' })

const controlShape = {
  network: network
    .optional()
    .describe('Default for this and the following controls: as in the phase before'),
  files: files.optional().describe('Folders'),
  cpu: cores.optional().describe('Cores'),
  memory: memorySize.optional().describe('Memory above the idle size of the wall'),
  io: ioRate.optional().describe('Bytes a second, 4 KB at least'),
  processes: threads.optional().describe('Processes and threads'),
  syscalls: nameList
    .optional()
    .describe(
      'Classes of system calls that stay allowed: `exec`, `process`, `network`, `write`, `outside`',
    ),
  capabilities: nameList.optional().describe('Granted capability names'),
} as const

type ControlsWritten = { readonly [K in keyof Controls]?: Controls[K] | undefined }

function given(written: ControlsWritten): Partial<Controls> {
  return Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined))
}

/** Controls in user notation; omitted ones stay unset. */
export const controlsAsked = z.strictObject(controlShape).transform(given)

const phase = z
  .strictObject({
    name: filled(64).describe('Name of the phase in the timeline'),
    for: life.describe('Length of the phase'),
    ...controlShape,
    advance_if: condition.optional().describe('CEL condition; when true, the next phase begins'),
    terminate_if: condition.optional().describe('CEL condition; when true, the job ends'),
  })
  .transform(({ name, for: ms, advance_if, terminate_if, ...controls }): PhaseConfig => ({
    name,
    for: ms,
    ...(advance_if !== undefined && { advance_if }),
    ...(terminate_if !== undefined && { terminate_if }),
    controls: given(controls),
  }))

/**
 * A configured phase: only the controls it names; omitted ones keep the value of the phase before.
 */
export interface PhaseConfig {
  readonly name: string
  readonly for: number
  readonly advance_if?: string
  readonly terminate_if?: string
  readonly controls: Partial<Controls>
}

const scheduleShape = {
  phases: z
    .array(phase)
    .min(1)
    .max(64)
    .describe(
      'Phases in order; none is looser than the one before, and the job is terminated after the last',
    ),
  on_anomaly: z
    .strictObject({
      low: reaction.default('record'),
      medium: reaction.default('advance'),
      high: reaction.default('terminate'),
    })
    .prefault({})
    .describe('Reaction to an anomaly, by severity'),
  shorten: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe('Share of their length that the remaining phases keep after an early advance'),
  clock: z
    .enum(['wall', 'cpu'])
    .default('wall')
    .describe('`cpu`: a phase ends by CPU time or by wall time, whichever is sooner'),
} as const

const phaseName = filled(64).optional()

/** A schedule bound to an origin or a capability applies to every job that has it. */
const boundShape = {
  for_origins: z
    .array(z.enum(origins))
    .max(origins.length)
    .default([])
    .describe('Applies to jobs from these entry points'),
  for_capabilities: z
    .array(filled(200))
    .max(1000)
    .default([])
    .describe(
      'Applies to jobs that request one of these, with the schedules bound to their origin',
    ),
  begin_at: z
    .strictObject({
      suspect: phaseName.describe('First phase of code with a risk of 40 or more, signed or not'),
      plain: phaseName.describe('First phase of all other code'),
      signed: phaseName.describe('First phase of code with a trusted signature'),
    })
    .default({})
    .describe('First phase by trust in the code; default: the first of the schedule'),
  honeytokens: flag.describe(
    'Plant honeytokens in these jobs, as `anomalies.honeytokens` does in all',
  ),
  observe_files: flag.describe(
    'Report each file that programs open, also where no reaction needs that; walls with a sentinel can',
  ),
} as const

const programPattern = z
  .string()
  .max(256)
  .regex(
    /^(?:\/(?!.*(?:^|\/)\.{1,2}(?:\/|$))[^\0]+|[^\0/]+)$/,
    'expected the name of a program, or its absolute path; "*" stands for anything',
  )

const zoneShape = {
  ...scheduleShape,
  program: z
    .union([programPattern, z.array(programPattern).min(1).max(16)])
    .transform((one) => [one].flat())
    .optional()
    .describe(
      'Makes each run of these programs a zone: names or absolute paths, `*` for anything. Its phases name `memory`, `cpu` and `processes`',
    ),
  function: z
    .union([zoneNameSchema, z.array(zoneNameSchema).min(1).max(16)])
    .transform((one) => [one].flat())
    .optional()
    .describe(
      'Makes these functions of JavaScript a zone, by name, whatever their kind; a job whose function cannot be one does not run',
    ),
} as const

const channelEnd = filled(64)

/** Rules apply together: the strictest of those that match a channel holds. */
const channelRule = z.strictObject({
  from: channelEnd.describe('Calling zone: its name in `zones`, `main`, or `*` for any'),
  to: channelEnd.describe('Called zone, likewise'),
  permit: z.boolean().default(true).describe('`false`: closed from the start'),
  calls: z.number().int().min(1).optional().describe('Calls in its life'),
  calls_per_second: z
    .number()
    .positive()
    .optional()
    .describe('Rate of calls; one second of it may come at once'),
  bytes: size.optional().describe('Arguments and answers together, as characters of JSON'),
  for: life.optional().describe('Closed after this time of the run'),
})

const schedule = z
  .strictObject({
    ...scheduleShape,
    ...boundShape,
    zones: z
      .record(name, z.strictObject(zoneShape))
      .default({})
      .describe(
        'Schedules of parts of one execution: by kind, by `function` or by `program`: docs/how-to/zones.md',
      ),
    channels: z
      .array(channelRule)
      .max(64)
      .optional()
      .describe('Limits of the channels between zones, or that there is none'),
  })
  .superRefine(({ phases, begin_at }, ctx) => {
    const names = phases.map(({ name }) => name)
    let latest = phases.length
    for (const trust of trustLevels) {
      const begins = begin_at[trust]
      const place = begins === undefined ? 0 : names.indexOf(begins)
      const message =
        place < 0
          ? `expected one of its phases: ${names.map((one) => `"${one}"`).join(', ')}`
          : `expected a phase no later than that of code that is trusted less`
      if (place < 0 || place > latest)
        ctx.addIssue({ code: 'custom', path: ['begin_at', trust], message })
      if (place >= 0) latest = place
    }
  })

const capability = z.strictObject({
  timeout: life.optional().describe('Longest call'),
  memory_limit_mb: z
    .number()
    .positive()
    .max(2 ** 20)
    .refine((megabytes) => Math.round(megabytes * 2 ** 20) >= 1, 'expected at least 1 byte')
    .optional()
    .describe('Megabytes above the idle size of the wall'),
  cpu_limit: cores.optional().describe('Cores'),
  network_policy: networkPolicy
    .optional()
    .describe('Allowed hosts; a name without a port means ports 80 and 443'),
  fs_policy: fsPolicy.optional().describe('Absolute folders, each with its subtree'),
})

const networks = [z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]
/** A network of all addresses would let each client name itself. */
const proxyNetwork = z
  .string()
  .max(64)
  .refine(
    (text) => networks.some((one) => one.safeParse(text).success) && !/\/0+$/.test(text),
    'expected an IP address, or a network such as `10.0.0.0/8`',
  )

const server = z.strictObject({
  host: filled(253).default('127.0.0.1').describe('Address the server listens on'),
  port: whole(0, 65_534)
    .default(7420)
    .describe('Port of the static endpoint; the active one is the next. 0: any two free ports'),
  drain: duration.prefault('5s').describe('Time for running jobs to end after a stop signal'),
  jobs: z
    .int()
    .min(1)
    .max(768)
    .exactOptional()
    .describe('Concurrent walls of jobs, sleeping ones included; default: 64 a core'),
  queue_wait: duration
    .prefault('30s')
    .describe('Time a job may wait in the admission queue before it is refused with 503'),
  body: size.prefault('32MB').describe('Largest request body'),
  tls_cert: fileName
    .optional()
    .describe('File of the TLS certificate with its chain, as PEM; needs `tls_key`'),
  tls_key: fileName.optional().describe('File of the private key, as PEM without a passphrase'),
  tls_dev: flag.describe(
    'TLS for `localhost` by a local certificate authority, created at the first start',
  ),
  insecure_http: flag.describe('Allow listening without TLS on other addresses than loopback'),
  trusted_proxies: z
    .array(proxyNetwork)
    .max(64)
    .prefault([])
    .describe('Addresses and networks of reverse proxies that name the client in `proxy_header`'),
  proxy_header: z
    .enum(['x-forwarded-for', 'forwarded'])
    .prefault('x-forwarded-for')
    .describe('Header to which each of `trusted_proxies` appends; the other is not read'),
})

const visitorAddress = z.strictObject({
  concurrency: whole(1, 100_000).default(16).describe('Concurrent jobs of one address'),
  per_minute: whole(1, 1_000_000).default(600).describe('Jobs a minute of one address'),
  cpu_seconds_per_minute: cpuSecondsPerMinute
    .optional()
    .describe('Seconds of processor time a minute of one address; default: that half'),
  bytes_per_minute: size.prefault('256MB').describe('Bytes a minute of one address'),
  tokens_per_minute: whole(1, 1_000_000)
    .default(300)
    .describe('Session tokens a minute for one address: loads of pages'),
})

const sessions = z.strictObject({
  anonymous: z
    .boolean()
    .optional()
    .describe('Session tokens for anonymous visitors of the page; default: on loopback only'),
  concurrency: whole(1, 1000).default(2).describe('Concurrent jobs of one visitor'),
  per_minute: whole(1, 100_000).default(60).describe('Jobs a minute of one visitor'),
  cpu_seconds_per_minute: cpuSecondsPerMinute
    .default(20)
    .describe('Seconds of processor time a minute of one visitor'),
  bytes_per_minute: size
    .prefault('64MB')
    .describe('Bytes a minute of one visitor: code and input in, results and output out'),
  cpu_share: z
    .number()
    .positive()
    .max(1)
    .default(0.5)
    .describe(
      'Part of the processors that all visitors together may use, within the ceilings of the tenant `page`',
    ),
  address: visitorAddress
    .prefault({})
    .describe(
      'All visitors of one address, or of one /64 in IPv6, together; never more than half of what all visitors may have',
    ),
})

const sandboxes = z.strictObject({
  timeout: life
    .prefault('5m')
    .describe('Time until a session ends, unless its owner asks for another or renews it'),
  lifetime: life.prefault('1h').describe('Longest life of a session, renewals included'),
  idle: life.prefault('30m').describe('Time without an exec after which a session ends'),
})

const telemetry = z.strictObject({
  endpoint: httpUrl
    .optional()
    .describe(
      'OTLP/HTTP collector for spans and metrics; `OTEL_EXPORTER_OTLP_ENDPOINT` has precedence. Default: nothing is sent',
    ),
  service_name: filled(255)
    .default('mayfly')
    .describe('Service name in telemetry; `OTEL_SERVICE_NAME` has precedence'),
})

const anomalyFrom = z.enum([...anomalySeverities, 'never'])
const anomalies = z.strictObject({
  thresholds: z
    .record(z.string().max(100), z.number())
    .default({})
    .superRefine((changes, ctx) => {
      for (const [name, value] of Object.entries(changes)) {
        const message = whyNotStricter(name, value)
        if (message) ctx.addIssue({ code: 'custom', path: [name], message })
      }
    })
    .describe('Thresholds of `policies/anomalies.json`, by name; each can only be made stricter'),
  honeytokens: flag.describe(
    'Plant honeytokens (false credentials) in the home folder and environment of programs, and detect them in output and egress',
  ),
  images: flag.describe(
    'Learn baselines for jobs that are no effect, by image and language; for a server with one kind of job',
  ),
  stronger_from: anomalyFrom
    .default('never')
    .describe(
      'Minimum severity of an anomaly after which later runs of the same code get a stronger tier',
    ),
  stronger_for: duration.prefault('24h').describe('Duration of the stronger tier'),
})

const webhook = z.strictObject({
  url: httpUrl.describe(
    'URL that receives anomalies as CloudEvents, by POST; redirects are not followed',
  ),
  secret_file: fileName.describe(
    'File with the signing secret: `whsec_…` for HMAC-SHA256, or an Ed25519 private key as PEM',
  ),
  from: z.enum(anomalySeverities).default('medium').describe('Minimum severity that is sent'),
  private: flag.describe('Allow a private address, such as one of this machine'),
})

/** Headers that the egress proxy removes or writes itself. */
const proxyHeader =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|expect|accept-encoding|proxy-.*)$/i

const wholeHost = hostPattern.refine(
  (text) => parsePattern(text, 'https')?.every((one) => /^\S+\/\/[^/]+$/.test(one)) ?? true,
  'expected a host without a method or a path',
)

const credential = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/)
    .describe(
      'Name of the secret; a job writes `mayfly-secret:NAME` as a placeholder for the value',
    ),
  env: variableName.describe("Variable of Mayfly's own environment that holds the value"),
  header: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,100}$/)
    .refine((text) => !proxyHeader.test(text), 'expected a header that the proxy does not write')
    .describe('Header in which the placeholder is replaced'),
  hosts: z.array(wholeHost).min(1).max(100).describe('Hosts that may receive the value'),
})

const egress = z.strictObject({
  proxy: z
    .string()
    .max(300)
    .regex(
      /^http:\/\/(?:[A-Za-z0-9_.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}\/?$/,
      'expected "http://HOST:PORT"; credentials come by proxy_credentials_env',
    )
    .optional()
    .describe(
      'Upstream proxy for all requests of jobs: `CONNECT`, and plain HTTP unchanged. It resolves names itself',
    ),
  proxy_credentials_env: variableName
    .optional()
    .describe("Variable of Mayfly's own environment that holds `USER:PASSWORD` for the proxy"),
  no_proxy: z
    .array(
      z
        .string()
        .max(300)
        .refine((text) => parsePattern(text, 'every') !== undefined, `expected ${patternText}`),
    )
    .max(1000)
    .default([])
    .describe('Hosts that bypass the proxy, such as `*.corp.example` or `10.0.0.5:8080`'),
  inspect: z
    .enum(['needed', 'all'])
    .default('needed')
    .describe(
      'TLS that is inspected: where a rule or a credential needs it, or all, so that no request in it names another host than its tunnel; all closes tunnels of other content',
    ),
})

const cache = z.strictObject({
  bytes: size
    .prefault('64MB')
    .describe('Limit of the cache for all tenants together; 0 disables it'),
  age: duration.prefault('10m').describe('Time for which an outcome is served from the cache'),
})

const images = z.strictObject({
  max_severity: z
    .enum(vulnerabilitySeverities)
    .default('medium')
    .describe('Greatest severity of a known vulnerability in an image that may be used'),
  unknown_severity: z
    .enum(vulnerabilitySeverities)
    .default('high')
    .describe('Severity of a vulnerability whose feeds name none'),
  max_feed_age: age
    .prefault('7d')
    .describe('Age of a feed, as `12h` or `7d`, from which on its scans no longer count'),
  allow_imported: flag.describe(
    'Use images that were imported: their own list of packages is all that a scan knows of them',
  ),
  unscanned_defaults: z
    .boolean()
    .default(true)
    .describe(
      'Boot machines of jobs that name no image although no current scan speaks of theirs; what a scan found refuses it all the same',
    ),
})

const keptSpares = z.strictObject({
  provider: filled(64).describe('Provider that makes the walls, by its name in `mayfly providers`'),
  language: languageAmong(['node', 'sh', 'bash', 'python']).describe(
    'Language of the jobs that they are for',
  ),
  image: z
    .string()
    .regex(imageReferencePattern)
    .optional()
    .describe('Image that they have, by tag or digest; by default that of the provider'),
  count: whole(1, 64).describe('Walls that wait ready, also without demand'),
})

/** Reserved words of JavaScript, and globals that the code of a model already has. */
const reservedNames = new Set([...reservedWords, 'input', 'console', 'call', 'fetch', 'undefined'])
const toolPatterns = z.array(filled(200)).max(200)

const mcpServer = z
  .strictObject({
    name: z
      .string()
      .regex(
        /^[a-z][a-z0-9_]{0,31}$/,
        'expected a name of lower-case letters, digits and "_" that begins with a letter',
      )
      .refine(
        (text) => !reservedNames.has(text),
        'expected a name that JavaScript does not reserve',
      )
      .describe('Name of the server in code: its tools are functions of an object of that name'),
    url: httpUrl.optional().describe('Address of a server that speaks streamable HTTP'),
    headers_env: z
      .record(z.string().regex(/^[A-Za-z0-9-]{1,100}$/), variableName)
      .default({})
      .describe(
        "Headers of each request to `url`, by the variable of Mayfly's own environment that holds the value",
      ),
    command: z
      .array(fileName)
      .min(1)
      .max(64)
      .optional()
      .describe('Program that speaks MCP on standard input and output, with its arguments'),
    env: z
      .array(variableName)
      .max(64)
      .default([])
      .describe("Variables of Mayfly's own environment that the program of `command` gets"),
    tools: toolPatterns
      .default(['*'])
      .describe('Tools that may be called; `*` stands for any characters'),
    approve: toolPatterns
      .default([])
      .describe('Tools whose calls wait for the approval of a person, such as `create_*`'),
    tenants: z.array(name).max(1000).optional().describe('Tenants that may call it; default: all'),
    timeout: life.prefault('30s').describe('Longest call'),
    answer: size.prefault('256KB').describe('Largest answer'),
  })
  .refine(({ url, command }) => (url === undefined) !== (command === undefined), {
    message: 'expected either url or command',
    path: ['url'],
  })

const mcp = z.strictObject({
  servers: z
    .array(mcpServer)
    .max(32)
    .default([])
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, {
      message: 'expected servers of different names',
    })
    .describe('MCP servers whose tools the code of agents may call: docs/how-to/code-mode.md'),
})

const rule = z.strictObject({
  name: name.describe('Name of the rule in `--explain`'),
  when: filled(4096).describe('A CEL expression'),
  set: z.record(z.string(), z.unknown()).describe('Fields of the profile'),
})

const providers = z.strictObject({
  folder: fileName
    .optional()
    .describe(
      'Folder of provider modules (`.js`, `.mjs`, `.ts`, `.mts`); a file dropped in is loaded without a restart',
    ),
  modules: z
    .array(fileName)
    .max(64)
    .default([])
    .describe('Provider modules by file; all of them are code that Mayfly trusts'),
})

const intel = z.strictObject({
  source: filled(2048).describe('File, folder or TAXII 2.1 collection'),
  refresh: duration.optional().describe('Refresh interval'),
})

/** The escalation when none is configured. */
export const defaultEscalation = {
  '0': 'isolate',
  '40': 'process',
  '60': 'gvisor',
  '80': 'microvm',
  '95': 'block',
} as const

export const configSchema = z.strictObject({
  default_provider: filled(64)
    .default('auto')
    .describe("`auto`, or a provider's name; `mock` is refused when MAYFLY_ENV is `production`"),
  state: fileName
    .optional()
    .describe(
      'Folder of record, keys, leases and caches; default: `$XDG_STATE_HOME/mayfly`, else `/var/lib/mayfly` for root and `~/.local/state/mayfly` for others',
    ),
  network: configuredNetwork.prefault('none').describe('Network of jobs that request none'),
  escalation: escalation
    .prefault(defaultEscalation)
    .describe(
      'Weakest tier by risk. Replaces the default as a whole; without `block` no job is blocked by its score',
    ),
  restraint: restraint
    .prefault(defaultRestraint)
    .describe('Reduction of limits by risk. Replaces the default as a whole; `{}` reduces nothing'),
  limits: limits.prefault({}).describe('Limits of jobs that request none'),
  ceilings: ceilings.prefault({}).describe('Upper limits of any job, whatever it requests'),
  tenants: z
    .array(tenant)
    .max(10_000)
    .default([])
    .describe('Tenants; they share nothing with each other'),
  capability_configs: z
    .record(filled(200), capability)
    .default({})
    .describe('Limits and policies of capability calls, by name: docs/how-to/capabilities.md'),
  schedules: z
    .record(name, schedule)
    .default({})
    .describe('Schedules by name; `default` applies to jobs that name none'),
  signing: signing.prefault({}).describe('Signature requirements of every tenant'),
  anomalies: anomalies.prefault({}).describe('Detection of anomalies, and reactions to them'),
  webhooks: z
    .array(webhook)
    .max(16)
    .default([])
    .refine((all) => new Set(all.map(({ url }) => url)).size === all.length, {
      // The queue is by URL: each entry would send what the other queued, signed with its own secret.
      message: 'expected receivers of different URLs',
    })
    .describe('Receivers of anomalies'),
  credentials: z
    .array(credential)
    .max(100)
    .default([])
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, {
      message: 'expected credentials of different names',
    })
    .describe('Secrets that the egress proxy inserts; they never enter a wall'),
  egress: egress.prefault({}).describe('Egress path of requests of jobs'),
  providers: providers
    .prefault({})
    .describe('Provider modules of your own: docs/how-to/add-a-wall.md'),
  images: images.prefault({}).describe('Images that jobs may name: docs/how-to/scan-images.md'),
  spares: z
    .array(keptSpares)
    .max(32)
    .default([])
    .describe('Walls that always wait ready: docs/how-to/choose-a-wall.md'),
  fresh: flag.describe(
    'Start each program by an exec of its own, none as a fork of a warmed template: programs in Python then share no layout of addresses, and take some 25 ms of processor time more',
  ),
  cache: cache.prefault({}).describe('Cache of outcomes of idempotent jobs'),
  mcp: mcp.prefault({}).describe('MCP servers of others'),
  server: server.prefault({}).describe('The HTTP server'),
  sessions: sessions.prefault({}).describe("The page's session tokens"),
  sandboxes: sandboxes.prefault({}).describe('Sessions: sandboxes that stay open for their owner'),
  telemetry: telemetry.prefault({}).describe('OpenTelemetry'),
  rules: z
    .array(rule)
    .max(1000)
    .default([])
    .describe('Context rules; not supported yet: giving one is an error'),
  intel: z
    .array(intel)
    .max(100)
    .default([])
    .describe('Threat intelligence; not supported yet: giving one is an error'),
})

/** Overrides cannot allow private addresses; only the configuration file can. */
const overridden = { network: ceilingsNetwork } as const

/** Settings that may change while running; tenants by name. Omitted ones stay unchanged. */
export const overrideSchema = z.strictObject({
  default_provider: filled(64).optional(),
  network: network.optional(),
  escalation: escalation.optional(),
  limits: z
    .strictObject({
      ...limitsShape,
      disk: diskOfJob,
      result: size.describe('Bytes of the result as JSON'),
      artifacts: size.describe('Bytes of all artifacts together'),
    })
    .partial()
    .optional(),
  ceilings: z.strictObject({ ...ceilingShape, ...overridden }).optional(),
  sessions: z
    .strictObject({
      anonymous: z.boolean(),
      concurrency: whole(1, 1000),
      per_minute: whole(1, 100_000),
      cpu_seconds_per_minute: cpuSecondsPerMinute,
      bytes_per_minute: size,
      cpu_share: z.number().positive().max(1),
      address: z
        .strictObject({
          concurrency: whole(1, 100_000),
          per_minute: whole(1, 1_000_000),
          cpu_seconds_per_minute: cpuSecondsPerMinute,
          bytes_per_minute: size,
          tokens_per_minute: whole(1, 1_000_000),
        })
        .partial(),
    })
    .partial()
    .optional(),
  tenants: z
    .record(
      name,
      z.strictObject({
        floor: tierName.optional(),
        ceilings: z.strictObject({ ...tenantCeilingShape, ...overridden }).optional(),
      }),
    )
    .optional(),
})
export type Override = z.output<typeof overrideSchema>
export type OverrideInput = z.input<typeof overrideSchema>

/** Plain data, deeply frozen. */
export type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T

/** A file, an object or a layer, before it is parsed. */
export type ConfigInput = z.input<typeof configSchema>
export type ConfigValues = z.output<typeof configSchema>

/** The configuration in force. The first tenant is `default`, configured or not. */
export type McpServerConfig = Config['mcp']['servers'][number]
export type Config = DeepReadonly<
  Omit<ConfigValues, 'state'> & {
    /** Absolute path. */
    state: string
    /** MAYFLY_ENV, or `development`. */
    environment: string
    /**
     * True if no file, variable or override sets an escalation; only then may a weaker wall replace
     * a missing one.
     */
    hasDefaultEscalation?: boolean
  }
>
export type Tenant = Config['tenants'][number]
export type ProxyHeader = Config['server']['proxy_header']
export type ScheduleConfig = Config['schedules'][string]
export type CourseConfig = Omit<ScheduleConfig, 'zones' | 'channels' | keyof typeof boundShape>

/** The server buffers all artifacts of a job in memory, so a larger value needs a configured ceiling. */
export const artifactBytesMax = 64 * 2 ** 20

/** Bytes that the artifacts of any job may have, of a configured ceiling or the built-in one. */
export function artifactsCeiling({
  ceilings,
  limits,
}: Pick<Config, 'ceilings' | 'limits'>): number {
  return ceilings.artifacts ?? Math.max(artifactBytesMax, limits.artifacts)
}

/** True if the mock is refused and other development conveniences are off, in whichever case the name is written. */
export function isProduction(config: Pick<Config, 'environment'>): boolean {
  return /^prod(?:uction)?$/i.test(config.environment)
}
