import { lstatSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import type { Config, ScheduleConfig } from '../contract/config.ts'
import { allControls, type Controls, unlimited } from '../contract/controls.ts'
import { messageOf, MayflyError } from '../contract/error.ts'
import { parseJson } from '../lib/parse-json.ts'
import { networkFor } from '../profile/network.ts'
import { scheduleToml, tomlOfValue } from './schedule-toml.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import {
  openBaselineStore,
  storedBaseline,
  type BaselineStore,
  type StoredBaseline,
} from '../watch/baseline-store.ts'
import { propose, type Proposal } from '../watch/propose.ts'
import { outputOfOwner, strangerOwning } from './state-owner.ts'

export interface ProposalQuery {
  readonly effect?: string
  readonly tenant?: string
}

export interface ScheduleProposal extends Proposal {
  /** `effect:NAME` */
  readonly subject: string
  /** Configuration in TOML. */
  readonly toml: string
}

const prefix = 'effect:'

/**
 * Proposes for each effect that has run a schedule limited to what it used, within the tenant's current limits and each phase of
 * the schedule `default`, which it replaces.
 * Takes effect only when a person adds it to the configuration. Throws MayflyError STATE or USAGE.
 */
export function proposals(config: Config, asked: ProposalQuery): readonly ScheduleProposal[] {
  const tenant = asked.tenant ?? config.tenants[0]!.name
  const inForce = inForceFor(config, tenant)
  const learned = learnedOf(config, { ...asked, tenant })
  const bySubject = Map.groupBy(learned, ({ name }) => name)
  const taken = new Set<string>()
  return [...bySubject].flatMap(([subject, all]) => {
    const proposal = propose(
      all.map(({ baseline }) => baseline),
      inForce,
    )
    if (!proposal) return []
    const schedule = scheduleNameOf(subject, taken)
    const toml = tomlOf(subject, proposal, { schedule, config })
    return [{ subject, ...proposal, toml }]
  })
}

/** Name of the schedule of an effect, which differs from those before: names of effects have more characters, and are longer. */
function scheduleNameOf(subject: string, taken: Set<string>): string {
  const name = subject
    .slice(prefix.length)
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 55)
  let own = `${name}-used`
  for (let count = 2; taken.has(own); count++) own = `${name.slice(0, 50)}-used-${count}`
  taken.add(own)
  return own
}

/** Exports learned baselines, read as the owner of the state folder. */
export function learnedOf(config: Config, asked: ProposalQuery): readonly StoredBaseline[] {
  const { state } = config
  const tenant = asked.tenant ?? config.tenants[0]!.name
  const owner = strangerOwning(state)
  if (!owner) return learnedIn(state, { ...asked, tenant })
  const words = ownerWords(tenant, asked.effect)
  const text = outputOfOwner(owner, { task: { state }, words, stdout: 'pipe' })
  return z.array(storedBaseline).parse(parseJson(text))
}

/** Exports learned baselines of a state folder that this process owns. */
export function learnedIn(
  state: string,
  { tenant, effect }: ProposalQuery & { readonly tenant: string },
): readonly StoredBaseline[] {
  return withBaselines(state, (store) => store.export(tenant, nameOf(effect))) ?? []
}

export interface BaselineChange {
  readonly tenant: string
  readonly effect: string
  readonly change: 'freeze' | 'reset'
}

/** Freezes or resets learned baselines, as the owner of the state folder; returns how many changed. */
export function changeLearned(state: string, asked: BaselineChange): number {
  const { tenant, effect, change } = asked
  const owner = strangerOwning(state)
  if (owner) {
    const words = [...ownerWords(tenant, effect), `--${change}`]
    const text = outputOfOwner(owner, { task: { state }, words, stdout: 'pipe' })
    return z.object({ changed: z.number() }).parse(parseJson(text)).changed
  }
  const name = `${prefix}${effect}`
  const changed = withBaselines(state, (store) => {
    if (change === 'reset') return store.reset({ tenant, name })
    return store.export(tenant, name).filter((one) => store.freeze(one)).length
  })
  return changed ?? 0
}

/** Writes a new file, never overwrites. Throws MayflyError USAGE. */
export function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' })
  } catch (thrown) {
    throw new MayflyError('USAGE', `Cannot write "${path}": ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}

/** Maximum controls of this tenant's jobs. */
function inForceFor(config: Config, name: string): Controls {
  const tenant = config.tenants.find((one) => one.name === name)
  if (!tenant)
    throw new MayflyError('USAGE', `Cannot propose: the configuration has no tenant "${name}"`)
  const { ceilings } = tenant
  const least = (key: 'memory' | 'cpu' | 'processes') =>
    Math.min(config.limits[key], config.ceilings[key] ?? unlimited, ceilings[key] ?? unlimited)
  const network = networkFor('open', config, tenant).value
  return {
    ...allControls,
    network,
    memory: least('memory'),
    cpu: least('cpu'),
    processes: least('processes'),
  }
}

function nameOf(effect: string | undefined): string | undefined {
  return effect === undefined ? undefined : `${prefix}${effect}`
}

function ownerWords(tenant: string, effect: string | undefined): readonly string[] {
  const only = effect === undefined ? [] : [`--effect=${effect}`]
  return ['policy', 'learned', '--json', `--tenant=${tenant}`, ...only]
}

/** Undefined if nothing was learned; does not create the file. */
function withBaselines<T>(state: string, work: (store: BaselineStore) => T): T | undefined {
  const path = join(state, 'baselines.db')
  if (!lstatSync(path, { throwIfNoEntry: false })) return undefined
  const store = openBaselineStore(path)
  try {
    return work(store)
  } finally {
    store.close()
  }
}

function tomlOf(
  subject: string,
  { controls, notes }: Proposal,
  { schedule, config }: { readonly schedule: string; readonly config: Config },
): string {
  const { schedules, limits } = config
  const replaced = Object.hasOwn(schedules, 'default') ? schedules['default'] : undefined
  return [
    `# ${sanitiseLine(subject.slice(0, 200))}: ${sanitiseLine(notes.join('; '))}.`,
    ...deniedBeside(controls.network),
    ...(replaced ? ['# With the phases, conditions and reactions of schedules.default.'] : []),
    ...(replaced ? keptByBound(replaced) : []),
    '# No looser than the current configuration. Review it, add it to the configuration, and run with this schedule.',
    `[schedules."${schedule}"]`,
    ...scheduleToml(controls, { replaced, timeoutMs: limits.timeout }),
    '',
  ].join('\n')
}

/** A job of a bound schedule can replace it only by a comparable one, which no copy of conditions or zones is. */
function keptByBound({ for_origins, for_capabilities }: ScheduleConfig): readonly string[] {
  const bindings = Object.entries({ for_origins, for_capabilities })
    .filter(([, names]) => names.length > 0)
    .map(([key, names]) => `${key} = ${tomlOfValue(names)}`)
  if (bindings.length === 0) return []
  return [
    `# Jobs to which schedules.default is bound (${bindings.join(', ')}) may keep it, even if they name this one: move the binding here for them.`,
  ]
}

/** The notation of a phase has either `allow` or `deny`; what the configuration denies stays denied in each phase. */
function deniedBeside({ allow, deny }: Controls['network']): readonly string[] {
  if (allow === 'any' || allow.length === 0 || deny.length === 0) return []
  return [`# Denied by the configuration, whatever the schedule allows: ${tomlOfValue(deny)}.`]
}
