import * as z from 'zod'
import { addressKind } from '../contract/address.ts'
import { MayflyError } from '../contract/error.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Settings of sandbox-runtime, read as they stand: `network.allowedDomains`, `filesystem.denyRead` and the rest.
 *
 * A field that takes something away is held, or refused by name where this wall cannot hold it: settings that are read and
 * not held would be worse than none. A field that would open more than `mayfly exec` does is left out, and told.
 */
export interface FolderRules {
  /** `read` opens what `hidden` closes; nothing but `write` is written to, the folder itself neither. */
  readonly read: readonly string[]
  readonly write: readonly string[]
  readonly hidden: readonly string[]
  readonly closed: readonly { readonly path: string; readonly to: 'write' | 'all' }[]
  /** Names that are secrets at any depth. */
  readonly secretNames: readonly string[]
  /** Patterns of the network, as in Controls. */
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  readonly withoutVariables: readonly string[]
  /** Fields that were left out, a sentence each. */
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
  notes: [],
}

const LIST_MAX = 1000
const SETTINGS_CHARACTERS_MAX = 1 << 20
const paths = z.array(z.string().min(1).max(4096)).max(LIST_MAX)
const domains = z.array(z.string().min(1).max(300)).max(LIST_MAX)
const credential = z.object({ mode: z.enum(['deny', 'mask']) })

/** Fields that only open more, or are of other systems and of its own programs. */
const PASSED_OVER: Readonly<Record<'' | 'network' | 'filesystem', readonly string[]>> = {
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
    .object({
      files: z.array(credential.extend({ path: z.string().min(1).max(4096) })).optional(),
      envVars: z
        .array(credential.extend({ name: z.string().regex(/^[A-Za-z_]\w{0,255}$/) }))
        .optional(),
    })
    .optional(),
})

type Settings = z.infer<typeof settingsSchema>

/** Throws MayflyError USAGE for text that is no such file, or asks for what this wall cannot hold. */
export function readSettings(text: string, name: string): FolderRules {
  const settings = parsed(text, name)
  const { network, filesystem, credentials } = settings
  const hidden = filesystem.denyRead.map(patternOf)
  const files = credentials?.files ?? []
  assertHeld(network, filesystem, name)
  return {
    read: filesystem.allowRead ?? [],
    write: filesystem.allowWrite.map(withoutStars),
    hidden: hidden.flatMap((one) => ('path' in one ? [one.path] : [])),
    closed: [
      ...files.map(({ path }) => ({ path, to: 'all' as const })),
      ...filesystem.denyWrite.map((path) => ({ path: withoutStars(path), to: 'write' as const })),
    ],
    secretNames: hidden.flatMap((one) => ('name' in one ? [one.name] : [])),
    allow: network.allowedDomains.map((domain) => hostPattern(domain, name)),
    deny: network.deniedDomains.map((domain) => hostPattern(domain, name)),
    withoutVariables: (credentials?.envVars ?? []).map((one) => one.name),
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

/** Refuses fields that narrow and cannot be held here. */
function assertHeld(
  network: Settings['network'],
  filesystem: Settings['filesystem'],
  name: string,
): void {
  const proxies = ['httpProxyPort', 'socksProxyPort', 'mitmProxy', 'tlsTerminate'] as const
  const proxy = proxies.find((one) => network[one] !== undefined)
  if (proxy) throw unheld(name, `network.${proxy}`, 'another proxy than Mayfly’s would decide')
  const open = (network.deniedResolvedAddresses ?? []).find((range) => !isClosedAnyway(range))
  if (open !== undefined)
    throw unheld(name, 'network.deniedResolvedAddresses', `"${open}" is no private range`)
  const wide = [...filesystem.denyWrite].find((one) => hasStars(withoutStars(one)))
  if (wide !== undefined)
    throw unheld(name, 'filesystem.denyWrite', `"${wide}" is no path: name files or folders`)
}

function isClosedAnyway(range: string): boolean {
  return addressKind(range.split('/')[0] ?? '').kind !== 'public'
}

function notesOf(
  network: Settings['network'],
  filesystem: Settings['filesystem'],
  credentials: readonly { readonly mode: string }[],
): readonly string[] {
  const left = (field: string, why: string) => `"${field}" of the settings is left out: ${why}`
  return [
    ...(filesystem.disabled ? [left('filesystem.disabled', 'files stay protected')] : []),
    ...(filesystem.allowGitConfig
      ? [left('filesystem.allowGitConfig', 'the configuration of git stays protected')]
      : []),
    ...(network.allowAllUnixSockets
      ? [left('network.allowAllUnixSockets', 'no socket of this machine is reached')]
      : []),
    ...(network.parentProxy
      ? [left('network.parentProxy', 'the configuration names a proxy, [egress] proxy')]
      : []),
    ...(credentials.some(({ mode }) => mode === 'mask')
      ? ['Credentials with mode "mask" are closed as with "deny"']
      : []),
  ]
}

/** A field of a later version may take something away: it is told, since it is not held. */
function unknownFields(settings: Settings): readonly string[] {
  const { network, filesystem } = settingsSchema.shape
  const all = [
    { prefix: '', has: settings, known: settingsSchema.shape },
    { prefix: 'network', has: settings.network, known: network.shape },
    { prefix: 'filesystem', has: settings.filesystem, known: filesystem.shape },
  ] as const
  return all.flatMap(({ prefix, has, known }) =>
    Object.keys(has)
      .filter((field) => !Object.hasOwn(known, field) && !PASSED_OVER[prefix].includes(field))
      .map(
        (field) => `"${[prefix, field].filter(Boolean).join('.')}" of the settings is not known`,
      ),
  )
}

const hasStars = (text: string): boolean => /[*?[\]]/.test(text)

/** `folder/**` means the folder. */
function withoutStars(written: string): string {
  return written.replace(/\/\*\*$/, '')
}

/** A path, or a name at any depth, which is judged when it is opened. */
function patternOf(written: string): { readonly path: string } | { readonly name: string } {
  const plain = withoutStars(written)
  if (!hasStars(plain)) return { path: plain }
  const name = /^(?:\.\/)?(?:\*\*\/)?([^/]+)$/.exec(plain)?.[1]
  if (name !== undefined && /^[^*?[\]]*\*?[^*?[\]]*$/.test(name) && name !== '*')
    return { name: name.toLowerCase() }
  throw new MayflyError('USAGE', `Cannot hold "${written}" of "filesystem.denyRead"`, {
    hint: 'Name a path, or a file name at any depth with at most one star, such as "**/*.secret"',
  })
}

/** A host of sandbox-runtime: any scheme, and any port unless it names one. */
function hostPattern(domain: string, name: string): string {
  const [, host, port = '*'] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}|\*))?$/.exec(domain) ?? []
  if (host === undefined) throw unreadable(name, `"${domain}" is no host`)
  return `*://${host}:${port}`
}

function unreadable(name: string, why: string): MayflyError {
  return new MayflyError('USAGE', `Cannot read the settings "${name}": ${why}`, {
    hint: 'They are those of sandbox-runtime: network and filesystem, with their lists',
  })
}

function unheld(name: string, field: string, why: string): MayflyError {
  return new MayflyError('USAGE', `Cannot hold "${field}" of the settings "${name}": ${why}`)
}
