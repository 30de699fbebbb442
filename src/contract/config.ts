import * as z from 'zod'
import { anomalySeverities } from './anomaly.ts'
import type { Controls } from './controls.ts'
import { bytesAsked, hostPattern, networkAsked, origins } from './job.ts'
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
import { defaultRestraint, restraint } from './restraint.ts'
import { envelopesMax } from './signature.ts'
import { strengthOf, tierName, type TierName } from './tier.ts'
import { whyNotStricter } from './thresholds.ts'
import { duration as durationAsked, size as sizeAsked } from './units.ts'
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

/** Titles name, in the reference, values with more than one notation. */
const duration = durationAsked.meta({ title: 'duration' })
const size = sizeAsked.meta({ title: 'size' })

const networkText =
  'expected "none", "open", { allow = ["host", …], sent = "1MB" } or { deny = ["host", …] }, each host such as ' +
  '"api.example.com", "*.example.net" or "https://api.example.com:443"'

/** A network in user notation; becomes the canonical form. */
const network = z
  .custom<NetworkInput>((value) => networkAsked.safeParse(value).success, networkText)
  .transform((asked) => networkOf(asked))
  .meta({ title: 'network' })

/** The same for grants and ceilings of a configuration: a rule may allow private addresses. */
const hostRule = z.union([
  hostPattern,
  z.strictObject({ host: hostPattern, private: z.boolean().default(false) }),
])
const configuredAsked = z.union([
  networkAsked,
  z.strictObject({ allow: z.array(hostRule).max(1000), ...bytesAsked }),
])
const configuredText = `${networkText}; a host to allow may also be { host = "https://registry.corp.example", private = true }`
const configuredNetwork = z
  .custom<ConfiguredNetworkInput>(
    (value) => configuredAsked.safeParse(value).success,
    configuredText,
  )
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
    z.union([
      z.string().max(300),
      z.strictObject({ host: z.string().max(300), private: z.boolean().default(false) }),
    ]),
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
        message: isPrivate ? message : `expected each entry to be ${patternText}`,
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
  .union([z.enum(['any', 'none']), z.array(z.string().min(1).max(200)).max(1000)], {
    error: 'expected "any", "none" or a list of names',
  })
  .transform((asked) => {
    if (asked === 'any') return asked
    return asked === 'none' ? [] : [...new Set(asked)].sort()
  })
  .meta({ title: 'names' })

const cores = z.number().positive().max(1024)
const threads = z.number().int().min(1).max(100_000)
const life = duration.refine((ms) => ms >= 1, 'expected at least 1 ms')

const limitsShape = {
  timeout: life.describe('Longest run of user code'),
  memory: size.describe('Memory above the idle size of the wall'),
  cpu: cores.describe('Cores'),
  processes: threads.describe('Processes and threads'),
  disk: size.describe('Bytes on disk'),
  output: size.describe('Bytes of each of stdout and stderr'),
} as const

const limits = z.strictObject({
  timeout: limitsShape.timeout.prefault('5s'),
  memory: limitsShape.memory.prefault('128MB'),
  cpu: limitsShape.cpu.default(1),
  processes: limitsShape.processes.default(64),
  disk: limitsShape.disk.prefault('64MB'),
  output: limitsShape.output.prefault('1MB'),
  result: size.prefault('4MB').describe('Bytes of the result as JSON'),
  artifacts: size.prefault('16MB').describe('Bytes of all artifacts together'),
})

const ceilingsNetwork = network.optional().describe('The most that a job may ask for')

const ceilingShape = {
  timeout: limitsShape.timeout.optional(),
  memory: limitsShape.memory.optional(),
  cpu: limitsShape.cpu.optional(),
  processes: limitsShape.processes.optional(),
  disk: limitsShape.disk.optional(),
  output: limitsShape.output.optional(),
  artifacts: size
    .optional()
    .describe(
      'Bytes of all artifacts together; left out, 64 MB, or limits.artifacts where that is more',
    ),
  network: configuredNetwork.optional().describe('The most that a job may ask for'),
} as const
const ceilings = z.strictObject({
  ...ceilingShape,
  output: limitsShape.output.prefault('64MB'),
})

const tenantCeilingShape = {
  ...ceilingShape,
  concurrency: z.number().int().min(1).max(100_000).optional().describe('Jobs at the same time'),
  runs_per_minute: z.number().int().min(1).max(1_000_000).optional().describe('Jobs a minute'),
  cpu_seconds_per_minute: z
    .number()
    .positive()
    .max(1_000_000)
    .optional()
    .describe('Seconds of processor time a minute, all jobs together'),
  bytes_per_minute: size
    .optional()
    .describe('Bytes of code, input and files in, of results and output out'),
} as const

const signing = z.strictObject({
  required: z.boolean().default(false).describe('Run only code that a trusted signer signed'),
  signers: z
    .number()
    .int()
    .min(1)
    .max(envelopesMax)
    .default(1)
    .describe('How many trusted signers it takes where one is required'),
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
  floor: tierName.optional().describe('The least tier any job of this tenant runs on'),
  ceilings: z
    .strictObject(tenantCeilingShape)
    .prefault({})
    .describe('The most a job may have, whatever it asks for'),
  signing: signing.prefault({}).describe('Signed code only, for this tenant'),
})

/** Target of an escalation step: a tier, or `block`. */
export type EscalationTo = TierName | 'block'
export interface EscalationStep {
  /** Lowest risk, 0 to 100, at which the step applies. */
  readonly at: number
  readonly to: EscalationTo
}

/** Rank of a step, for the rule that a higher risk never gets a weaker tier. */
export const rankOfStep = (to: EscalationTo): number => (to === 'block' ? 6 : strengthOf[to])

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

const condition = z.string().min(1).max(conditionCharactersMax).meta({ title: 'condition' })

const controlShape = {
  network: network.optional().describe('Left out, as in the phase before; so with all below'),
  files: files.optional().describe('Folders'),
  cpu: cores.optional().describe('Cores'),
  memory: size.optional().describe('Memory above the idle size of the wall'),
  io: size.optional().describe('Bytes a second'),
  processes: threads.optional().describe('Processes and threads'),
  syscalls: nameList
    .optional()
    .describe(
      'Classes of system calls that stay: `exec`, `process`, `network`, `write`, `outside`',
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
    name: z.string().min(1).max(64).describe('As it stands in the timeline'),
    for: life.describe('How long it lasts'),
    ...controlShape,
    advance_if: condition.optional().describe('A CEL condition: the next phase begins'),
    terminate_if: condition.optional().describe('A CEL condition: the life is over'),
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
    .describe('In order, each no looser than the one before; after the last: terminate'),
  on_anomaly: z
    .strictObject({
      low: reaction.default('record'),
      medium: reaction.default('advance'),
      high: reaction.default('terminate'),
    })
    .prefault({})
    .describe('What an anomaly of each severity does'),
  shorten: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe('Share of their length that the remaining phases keep after an advance'),
  clock: z
    .enum(['wall', 'cpu'])
    .default('wall')
    .describe('`cpu`: processor time ends a phase too, where that is sooner; it prolongs none'),
} as const

const phaseName = z.string().min(1).max(64).optional()

/** A schedule bound to an origin or a capability applies to every job that has it. */
const boundShape = {
  for_origins: z
    .array(z.enum(origins))
    .max(origins.length)
    .default([])
    .describe('Holds for jobs that come in there'),
  for_capabilities: z
    .array(z.string().min(1).max(200))
    .max(1000)
    .default([])
    .describe('Holds for jobs that ask for one of these'),
  begin_at: z
    .strictObject({
      suspect: phaseName.describe('Of code whose risk is 40 or more, signed or not'),
      plain: phaseName.describe('Of all other code'),
      signed: phaseName.describe('Of code that a trusted signer signed'),
    })
    .default({})
    .describe(
      'The phase a life begins with, by what is thought of the code; the first, unless named',
    ),
  honeytokens: z
    .boolean()
    .default(false)
    .describe('Lay false credentials into these lives, as `anomalies.honeytokens` does into all'),
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
} as const

const schedule = z
  .strictObject({
    ...scheduleShape,
    ...boundShape,
    zones: z
      .record(name, z.strictObject(zoneShape))
      .default({})
      .describe('Schedules of parts of one execution, by kind: docs/how-to/zones.md'),
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
    .optional()
    .describe('Megabytes above the idle size of the wall'),
  cpu_limit: cores.optional().describe('Cores'),
  network_policy: networkPolicy.optional().describe('Bare names: ports 80 and 443'),
  fs_policy: fsPolicy.optional().describe('Absolute folders, each with all below it'),
})

const server = z.strictObject({
  host: z.string().min(1).max(253).default('127.0.0.1').describe('Address the server listens on'),
  port: z
    .number()
    .int()
    .min(0)
    .max(65_534)
    .default(7420)
    .describe('Port of the static endpoint; the active one is the next. 0: any two free ports'),
  drain: duration.prefault('5s').describe('How long running jobs may go on after a stop signal'),
  jobs: z
    .int()
    .min(1)
    .max(768)
    .exactOptional()
    .describe('Walls of jobs at once, those that sleep included; unless given, 64 a core'),
  queue_wait: duration
    .prefault('30s')
    .describe('How long a job may wait for a place before it is refused with 503'),
  body: size.prefault('32MB').describe('Largest request body'),
  tls_cert: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe('File of the TLS certificate with its chain, as PEM; needs `tls_key`'),
  tls_key: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe('File of its key, as PEM without a passphrase'),
  tls_dev: z
    .boolean()
    .default(false)
    .describe('TLS for `localhost` by a local authority that is made on the first start'),
  insecure_http: z.boolean().default(false).describe('Listen off loopback without TLS'),
})

const sessions = z.strictObject({
  anonymous: z
    .boolean()
    .optional()
    .describe('Tokens for anonymous visitors of the page; left out: on loopback only'),
  concurrency: z.number().int().min(1).max(1000).default(2).describe('Jobs at once of one visitor'),
  per_minute: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(60)
    .describe('Jobs a minute of one visitor'),
})

const telemetry = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/, error: 'expected an http or https URL' })
    .max(2048)
    .optional()
    .describe(
      'OTLP/HTTP collector for spans and metrics; `OTEL_EXPORTER_OTLP_ENDPOINT` wins. Left out, nothing is sent',
    ),
  service_name: z
    .string()
    .min(1)
    .max(255)
    .default('mayfly')
    .describe('What telemetry calls this; `OTEL_SERVICE_NAME` wins'),
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
    .describe('Those of `policies/anomalies.json`, by name; each may only become stricter'),
  honeytokens: z
    .boolean()
    .default(false)
    .describe(
      'Lay false credentials into the home folder and the variables of programs, and look for them in what leaves',
    ),
  images: z
    .boolean()
    .default(false)
    .describe(
      'Learn what runs of no effect usually do, by the image and language they run in; for a Mayfly with one kind of job',
    ),
  stronger_from: anomalyFrom
    .default('never')
    .describe('From which severity on the next runs of the same code get a stronger wall'),
  stronger_for: duration.prefault('24h').describe('For how long they do'),
})

const webhook = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'expected an http or https URL' })
    .max(2048)
    .describe('Where anomalies are posted to, as CloudEvents; never follows a redirect'),
  secret_file: z
    .string()
    .min(1)
    .max(4096)
    .describe(
      'File with the secret it is signed with: `whsec_…` for HMAC-SHA256, or an Ed25519 private key as PEM',
    ),
  from: z.enum(anomalySeverities).default('medium').describe('The least severity that is told'),
  private: z
    .boolean()
    .default(false)
    .describe('May be at an address that is not public, such as one of this machine'),
})

const credential = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/)
    .describe('A job writes `mayfly-secret:NAME` where the value is to go'),
  env: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/)
    .describe("The variable of Mayfly's own environment that holds it"),
  header: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,100}$/)
    .describe('The header it may be put into'),
  hosts: z.array(z.string().min(1).max(300)).min(1).max(100).describe('The hosts it may go to'),
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
      'The proxy that all requests of jobs leave by: `CONNECT`, and plain HTTP as it is. It resolves names itself',
    ),
  proxy_credentials_env: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/)
    .optional()
    .describe("The variable of Mayfly's own environment that holds `USER:PASSWORD` for the proxy"),
  no_proxy: z
    .array(
      z
        .string()
        .max(300)
        .refine((text) => parsePattern(text, 'every') !== undefined, `expected ${patternText}`),
    )
    .max(1000)
    .default([])
    .describe('Hosts that are reached without it, such as `*.corp.example` or `10.0.0.5:8080`'),
})

const cache = z.strictObject({
  bytes: size.prefault('64MB').describe('All that is kept, of every tenant; 0 keeps nothing'),
  age: duration.prefault('10m').describe('How long an outcome is given again'),
})

const rule = z.strictObject({
  name: name.describe('As it stands in explain'),
  when: z.string().min(1).max(4096).describe('A CEL expression'),
  set: z.record(z.string(), z.unknown()).describe('Fields of the profile'),
})

const path = z.string().min(1).max(4096)
const providers = z.strictObject({
  folder: path
    .optional()
    .describe(
      'Folder of provider modules (`.js`, `.mjs`, `.ts`, `.mts`); a file dropped in is loaded without a restart',
    ),
  modules: z
    .array(path)
    .max(64)
    .default([])
    .describe('Provider modules named one by one; all of it is code that Mayfly trusts'),
})

const intel = z.strictObject({
  source: z.string().min(1).max(2048).describe('File, folder or TAXII 2.1 collection'),
  refresh: duration.optional().describe('How often it is read again'),
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
  default_provider: z
    .string()
    .min(1)
    .max(64)
    .default('auto')
    .describe("`auto`, or a provider's name; `mock` is refused when MAYFLY_ENV is `production`"),
  state: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      'Folder of log, keys, leases and caches; default: `$XDG_STATE_HOME/mayfly`, else for root `/var/lib/mayfly`, for others `~/.local/state/mayfly`',
    ),
  network: configuredNetwork
    .prefault('none')
    .describe('What a job has that asks for no network of its own'),
  escalation: escalation
    .prefault(defaultEscalation)
    .describe(
      'The least tier by risk. Given, it replaces the default; without `block` nothing is blocked by score',
    ),
  restraint: restraint
    .prefault(defaultRestraint)
    .describe(
      'How much less a job has by risk. Given, it replaces the default; `{}` takes nothing',
    ),
  limits: limits.prefault({}).describe('What a job has that asks for no limits of its own'),
  ceilings: ceilings.prefault({}).describe('The most any job may have, whatever it asks for'),
  tenants: z
    .array(tenant)
    .max(10_000)
    .default([])
    .describe('Who never shares anything with another'),
  capability_configs: z
    .record(z.string().min(1).max(200), capability)
    .default({})
    .describe(
      'What calls of a capability may have, and the most that they can: docs/how-to/capabilities.md',
    ),
  schedules: z
    .record(name, schedule)
    .default({})
    .describe('Phases of a life; `default` holds for jobs that name none'),
  signing: signing.prefault({}).describe('Signed code only, for every tenant'),
  anomalies: anomalies.prefault({}).describe('What counts as one, and what comes after it'),
  webhooks: z.array(webhook).max(16).default([]).describe('Who is told of anomalies'),
  credentials: z
    .array(credential)
    .max(100)
    .default([])
    .describe('Secrets that are put in on the way out, and never enter a wall'),
  egress: egress.prefault({}).describe('How requests of jobs leave this machine'),
  providers: providers
    .prefault({})
    .describe('Walls of your own, as modules: docs/how-to/add-a-wall.md'),
  cache: cache.prefault({}).describe('Outcomes of idempotent jobs, given again'),
  server: server.prefault({}).describe('The HTTP server'),
  sessions: sessions.prefault({}).describe("The page's session tokens"),
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

/** Only the file may allow private addresses. */
const overridden = { network: ceilingsNetwork } as const

/** Settings that may change while running; tenants by name. Omitted ones stay unchanged. */
export const overrideSchema = z.strictObject({
  default_provider: z.string().min(1).max(64).optional(),
  network: network.optional(),
  escalation: escalation.optional(),
  limits: z
    .strictObject({
      ...limitsShape,
      result: size.describe('Bytes of the result as JSON'),
      artifacts: size.describe('Bytes of all artifacts together'),
    })
    .partial()
    .optional(),
  ceilings: z.strictObject({ ...ceilingShape, ...overridden }).optional(),
  sessions: z
    .strictObject({
      anonymous: z.boolean(),
      concurrency: z.number().int().min(1).max(1000),
      per_minute: z.number().int().min(1).max(100_000),
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
export type Config = DeepReadonly<
  Omit<ConfigValues, 'state'> & {
    /** Absolute path. */
    state: string
    /** MAYFLY_ENV, or `development`. */
    environment: string
    /**
     * No file, variable or override sets an escalation; only then may a weaker wall stand in for a
     * missing one.
     */
    hasDefaultEscalation?: boolean
  }
>
export type Tenant = Config['tenants'][number]
export type Ceilings = Config['ceilings']
export type ScheduleConfig = Config['schedules'][string]
export type CourseConfig = Omit<ScheduleConfig, 'zones' | keyof typeof boundShape>

/** True if the mock is refused and other development conveniences are off. */
export function isProduction(config: Pick<Config, 'environment'>): boolean {
  return config.environment === 'production' || config.environment === 'prod'
}
