/** The job of a command in a folder, and its plan: only the folder wall can run it; controls include the folder. */
import type { Clock } from '../contract/clock.ts'
import type { Config, Tenant } from '../contract/config.ts'
import { allControls, canonicalControls, meet, unlimited } from '../contract/controls.ts'
import type { FolderGrant } from '../contract/folder.ts'
import type { Job } from '../contract/job.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { FieldReason, Profile } from '../contract/profile.ts'
import { newJob } from '../job.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { shellQuoted } from '../lib/shell-word.ts'
import { makePlan } from '../profile/make-profile.ts'

/** Name of the wall in profiles and records. */
export const folderProvider = 'folder'

export interface CommandRequest {
  readonly config: Config
  readonly clock: Clock
  readonly grant: FolderGrant
  readonly command: readonly string[]
  /** Host patterns that the command may reach, and host patterns that are denied even if `allow` has them. */
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  /** No private address may be reached, also where the configuration permits it. */
  readonly withoutPrivateHosts?: boolean
  readonly timeoutMs: number | undefined
  readonly memoryBytes: number
  readonly processes: number
  /** Reason why no wall can be made here. */
  readonly missing: string | undefined
}

/** Job of a command. Its code is the quoted shell line; the record stores a salted commitment of it. */
export function commandJob({
  command,
  clock,
  memoryBytes,
  processes,
  timeoutMs,
  allow,
}: CommandRequest): Job {
  const code = command.map(shellQuoted).join(' ')
  const asker = { tenant: 'default', principal: 'cli', origin: 'cli' } as const
  const network = allow.length > 0 ? { allow: [...allow] } : ('none' as const)
  const job = newJob({ code, language: 'sh', entry: 'program', network }, asker, clock)
  // Set here because the duration format of a request cannot express `unlimited`.
  const limits = { timeout: timeoutMs ?? unlimited, memory: memoryBytes, processes }
  return { ...job, asked: { ...job.asked, limits } }
}

/** Plan with the folder wall as its only provider, and the folder among the controls. */
export function planFor(
  asked: CommandRequest,
  job: Job,
  verdict: Parameters<typeof makePlan>[1],
): Plan {
  const { config, missing, grant, deny } = asked
  const available = missing === undefined
  const fact = {
    name: folderProvider,
    tier: 'process',
    strength: 3,
    available,
    ...(!available && { reason: missing }),
    languages: ['sh'],
    can: ['network'],
    position: 0,
  } as const
  const plan = makePlan(job, verdict, { config, facts: [fact] })
  const { privateHosts, ...closed } = plan.profile
  const isPrivateClosed = asked.withoutPrivateHosts === true || privateHosts === undefined
  const profile = withFolder(isPrivateClosed ? closed : plan.profile, grant, deny)
  const why = whyNot(profile, tenantOf(config, job.tenant))
  if (missing !== undefined) return { kind: 'unavailable', profile, error: noWall(missing) }
  if (plan.kind !== 'run') return { ...plan, profile }
  return why ? { kind: 'unavailable', profile, error: why } : { kind: 'run', profile }
}

function withFolder(profile: Profile, { binds }: FolderGrant, deny: readonly string[]): Profile {
  const folders = (isWritable: boolean) =>
    binds.filter((one) => one.isWritable === isWritable).map(({ path }) => path)
  const files = { read: [...folders(false), ...folders(true)], write: folders(true) }
  const closed = { ...allControls, network: { allow: 'any', deny } as const }
  const network = meet({ ...allControls, network: profile.controls.network }, closed).network
  const controls = canonicalControls({ ...profile.controls, files, network })
  const { digest: _digest, explain: all, ...rest } = { ...profile, controls }
  const explain = all.map((one) => explained(one, controls, deny.length > 0))
  return { ...rest, explain, digest: `sha256:${sha256(canonicalJson(rest))}` }
}

function explained(
  one: FieldReason,
  { files, network }: Profile['controls'],
  isNarrower: boolean,
): FieldReason {
  if (one.field === 'controls.files')
    return { ...one, value: files, because: 'the folder of the command' }
  if (one.field !== 'controls.network' || !isNarrower) return one
  return { ...one, value: network, because: `${one.because}, without hosts that are denied` }
}

const noWall = (why: string): OutcomeError => ({
  code: 'NO_WALL',
  message: `Cannot make the wall of a folder here: ${why}`,
})

/** Error for a requirement of the configuration that this wall cannot meet; undefined if it meets all. */
function whyNot({ schedule }: Profile, { signing, name }: Tenant): OutcomeError | undefined {
  if (signing.required) {
    const message = `Tenant "${name}" runs signed code only, and a command is not signed`
    return { code: 'SIGNATURE_REQUIRED', message }
  }
  if (schedule.phases.length === 1) return undefined
  const message = `Schedule "${schedule.name}" has phases, which no wall of a folder can close`
  return { code: 'UNAVAILABLE', message }
}

function tenantOf({ tenants }: Config, name: string): Tenant {
  return tenants.find((tenant) => tenant.name === name) ?? tenants[0]!
}
