import * as z from 'zod'
import { isClosedRange } from '../contract/address.ts'
import { MayflyError } from '../contract/error.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Settings of sandbox-runtime in their own format: `network.allowedDomains`, `filesystem.denyRead` and so on.
 *
 * A field that restricts access is enforced, or refused by name if this wall cannot enforce it: a setting that is
 * accepted and not enforced would be worse than an error. A field that would allow more than `mayfly exec` does is
 * ignored, with a note.
 */
export interface FolderRules {
  /**
   * `read` shows paths again that `hidden` hides. If settings are given, only `write` is writable: not even the folder
   * itself.
   */
  readonly read: readonly string[]
  readonly write: readonly string[]
  readonly hidden: readonly string[]
  readonly closed: readonly { readonly path: string; readonly to: 'write' | 'all' }[]
  /** File names that are treated as secrets in every folder. */
  readonly secretNames: readonly string[]
  /** Network patterns, as in Controls. */
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  readonly withoutVariables: readonly string[]
  /** No name may resolve to a private address, also where the configuration permits it. */
  readonly withoutPrivateHosts: boolean
  /** Notes about ignored fields, one sentence each. */
  readonly notes: readonly string[]
}

export const noRules: FolderRules = {
  read: [],
  write: [],
  hidden: [],
  closed: [],
  secretNames: [],
  allow: [],
  deny: [],
  withoutVariables: [],
  withoutPrivateHosts: false,
  notes: [],
}

const LIST_MAX = 1000
const SETTINGS_CHARACTERS_MAX = 1 << 20
const paths = z.array(z.string().min(1).max(4096)).max(LIST_MAX)
const domains = z.array(z.string().min(1).max(300)).max(LIST_MAX)
const credential = z.object({ mode: z.enum(['deny', 'mask']) })

type Section = '' | 'network' | 'filesystem' | 'credentials'

/**
 * Fields ignored without a note: they would only widen access, or are for other systems or for sandbox-runtime's own
 * programs.
 */
const IGNORED: Readonly<Record<Section, readonly string[]>> = {
  '': [
    'ignoreViolations',
    'enableWeakerNestedSandbox',
    'enableWeakerNetworkIsolation',
    'allowAppleEvents',
    'mandatoryDenySearchDepth',
    'ripgrep',
    'allowPty',
    'seccomp',
    'bwrapPath',
    'socatPath',
    'binShell',
    'javaAgentJarPath',
    'windows',
    'git',
  ],
  network: [
    'deniedDomainReasons',
    'strictAllowlist',
    'allowUnixSockets',
    'allowLocalBinding',
    'allowMachLookup',
  ],
  filesystem: [],
  credentials: [],
}

const settingsSchema = z.looseObject({
  network: z.looseObject({
    allowedDomains: domains,
    deniedDomains: domains,
    deniedResolvedAddresses: domains.optional(),
    allowAllUnixSockets: z.boolean().optional(),
    httpProxyPort: z.number().optional(),
    socksProxyPort: z.number().optional(),
    mitmProxy: z.unknown().optional(),
    parentProxy: z.unknown().optional(),
    tlsTerminate: z.unknown().optional(),
  }),
  filesystem: z.looseObject({
    disabled: z.boolean().optional(),
    denyRead: paths,
    allowRead: paths.optional(),
    allowWrite: paths,
    denyWrite: paths,
    allowGitConfig: z.boolean().optional(),
  }),
  credentials: z
    .looseObject({
      files: z.array(credential.extend({ path: z.string().min(1).max(4096) })).optional(),
      envVars: z
        .array(credential.extend({ name: z.string().regex(/^[A-Za-z_]\w{0,255}$/) }))
        .optional(),
      awsPairs: z.unknown().optional(),
      allowPlaintextInject: z.unknown().optional(),
    })
    .optional(),
})

type Settings = z.infer<typeof settingsSchema>

/** Throws MayflyError USAGE for malformed text, and for restrictions that this wall cannot enforce. */
export function readSettings(text: string, name: string): FolderRules {
  const settings = parsed(text, name)
  const { network, filesystem, credentials } = settings
  const hidden = filesystem.denyRead.map(patternOf)
  const files = credentials?.files ?? []
  assertEnforceable(network, name)
  assertPaths(filesystem.denyWrite, 'filesystem.denyWrite', name)
  assertPaths(
    files.map(({ path }) => path),
    'credentials.files',
    name,
  )
  return {
    read: filesystem.allowRead ?? [],
    write: filesystem.allowWrite.map(withoutStars),
    hidden: hidden.flatMap((one) => ('path' in one ? [one.path] : [])),
    closed: [
      ...files.map(({ path }) => ({ path: withoutStars(path), to: 'all' as const })),
      ...filesystem.denyWrite.map((path) => ({ path: withoutStars(path), to: 'write' as const })),
    ],
    secretNames: hidden.flatMap((one) => ('name' in one ? [one.name] : [])),
    allow: network.allowedDomains.map((domain) => hostPattern(domain, name)),
    deny: network.deniedDomains.map((domain) => hostPattern(domain, name)),
    withoutVariables: (credentials?.envVars ?? []).map((one) => one.name),
    withoutPrivateHosts: (network.deniedResolvedAddresses ?? []).length > 0,
    notes: [
      ...notesOf(network, filesystem, [...files, ...(credentials?.envVars ?? [])]),
      ...unknownFields(settings),
    ],
  }
}

function parsed(text: string, name: string): Settings {
  if (text.length > SETTINGS_CHARACTERS_MAX) throw unreadable(name, 'it is too large')
  try {
    return settingsSchema.parse(parseJson(text))
  } catch (thrown) {
    const issue = thrown instanceof z.ZodError ? thrown.issues[0] : undefined
    throw unreadable(name, issue ? `"${issue.path.join('.')}": ${issue.message}` : 'it is not JSON')
  }
}

/** Refuses restricting fields that cannot be enforced here. */
function assertEnforceable(network: Settings['network'], name: string): void {
  const proxies = ['httpProxyPort', 'socksProxyPort', 'mitmProxy', 'tlsTerminate'] as const
  const proxy = proxies.find((one) => network[one] !== undefined)
  if (proxy) throw unenforceable(name, `network.${proxy}`, 'Mayfly’s own proxy cannot be replaced')
  const open = (network.deniedResolvedAddresses ?? []).find((range) => !isClosedRange(range))
  if (open !== undefined)
    throw unenforceable(name, 'network.deniedResolvedAddresses', `"${open}" is not a private range`)
}

/** Refuses patterns where only paths can be closed. */
function assertPaths(written: readonly string[], field: string, name: string): void {
  const wide = written.find((one) => hasStars(withoutStars(one)))
  if (wide !== undefined)
    throw unenforceable(name, field, `"${wide}" is not a path: name files or folders`)
}

function notesOf(
  network: Settings['network'],
  filesystem: Settings['filesystem'],
  credentials: readonly { readonly mode: string }[],
): readonly string[] {
  const ignored = (field: string, why: string) => `Setting "${field}" is ignored: ${why}`
  return [
    ...(filesystem.disabled ? [ignored('filesystem.disabled', 'files stay protected')] : []),
    ...(filesystem.allowGitConfig
      ? [ignored('filesystem.allowGitConfig', 'the configuration of git stays protected')]
      : []),
    ...(network.allowAllUnixSockets
      ? [ignored('network.allowAllUnixSockets', 'no socket of this machine is reached')]
      : []),
    ...(network.parentProxy
      ? [ignored('network.parentProxy', 'the configuration names a proxy, [egress] proxy')]
      : []),
    ...(credentials.some(({ mode }) => mode === 'mask')
      ? ['Credentials with mode "mask" are closed as with "deny"']
      : []),
  ]
}

/** Notes about unknown fields: a field of a later version may be a restriction, and is not enforced. */
function unknownFields(settings: Settings): readonly string[] {
  const { network, filesystem, credentials } = settingsSchema.shape
  const all = [
    { prefix: '', has: settings, known: settingsSchema.shape },
    { prefix: 'network', has: settings.network, known: network.shape },
    { prefix: 'filesystem', has: settings.filesystem, known: filesystem.shape },
    {
      prefix: 'credentials',
      has: settings.credentials ?? {},
      known: credentials.unwrap().shape,
    },
  ] as const
  return all.flatMap(({ prefix, has, known }) =>
    Object.keys(has)
      .filter((field) => !Object.hasOwn(known, field) && !IGNORED[prefix].includes(field))
      .map(
        (field) =>
          `Setting "${[prefix, field].filter(Boolean).join('.')}" is unknown: it is not enforced`,
      ),
  )
}

const hasStars = (text: string): boolean => /[*?[\]]/.test(text)

/** `folder/**` means the folder. */
function withoutStars(written: string): string {
  return written.replace(/\/\*\*$/, '')
}

/** A path, or a file name in any folder, which is checked at open(2). */
function patternOf(written: string): { readonly path: string } | { readonly name: string } {
  const plain = withoutStars(written)
  if (!hasStars(plain)) return { path: plain }
  const name = /^(?:\.\/)?(?:\*\*\/)?([^/]+)$/.exec(plain)?.[1]
  if (name !== undefined && /^[^*?[\]]*\*?[^*?[\]]*$/.test(name) && name !== '*') return { name }
  throw new MayflyError('USAGE', `Cannot enforce "${written}" of "filesystem.denyRead"`, {
    hint: 'Name a path, or a file name at any depth with at most one star, such as "**/*.secret"',
  })
}

/** Converts a host of sandbox-runtime to a pattern: any scheme, and any port unless it names one. */
function hostPattern(domain: string, name: string): string {
  const [, host, port = '*'] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}|\*))?$/.exec(domain) ?? []
  if (host === undefined) throw unreadable(name, `"${domain}" is not a host`)
  return `*://${host}:${port}`
}

function unreadable(name: string, why: string): MayflyError {
  return new MayflyError('USAGE', `Cannot read the settings "${name}": ${why}`, {
    hint: 'The format is that of sandbox-runtime: "network" and "filesystem" with their lists',
  })
}

function unenforceable(name: string, field: string, why: string): MayflyError {
  return new MayflyError('USAGE', `Cannot enforce "${field}" of the settings "${name}": ${why}`)
}
