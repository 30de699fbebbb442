import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../contract/config.ts'
import { allControls, type Controls, unlimited } from '../contract/controls.ts'
import { messageOf, MayflyError } from '../contract/error.ts'
import {
  openBaselineStore,
  type BaselineStore,
  type StoredBaseline,
} from '../watch/baseline-store.ts'
import { propose, type Proposal } from '../watch/propose.ts'

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
 * Proposes for each effect that has run a schedule limited to what it used, within the tenant's current limits.
 * Takes effect only when a person adds it to the configuration. Throws MayflyError STATE or USAGE.
 */
export function proposals(config: Config, asked: ProposalQuery): readonly ScheduleProposal[] {
  const tenant = asked.tenant ?? config.tenants[0]!.name
  const inForce = inForceFor(config, tenant)
  const kept = withBaselines(config, (store) => store.export(tenant, nameOf(asked.effect))) ?? []
  const bySubject = Map.groupBy(kept, ({ name }) => name)
  return [...bySubject].flatMap(([subject, all]) => {
    const proposal = propose(
      all.map(({ baseline }) => baseline),
      inForce,
    )
    return proposal
      ? [{ subject, ...proposal, toml: tomlOf(subject, proposal, config.limits.timeout) }]
      : []
  })
}

/** Exports learned baselines. */
export function learnedOf(config: Config, asked: ProposalQuery): readonly StoredBaseline[] {
  const tenant = asked.tenant ?? config.tenants[0]!.name
  return withBaselines(config, (store) => store.export(tenant, nameOf(asked.effect))) ?? []
}

/** Freezes or resets learned baselines; returns how many changed. */
export function changeLearned(
  config: Config,
  asked: ProposalQuery & { readonly effect: string },
  change: 'freeze' | 'reset',
): number {
  const tenant = asked.tenant ?? config.tenants[0]!.name
  const name = `${prefix}${asked.effect}`
  const changed = withBaselines(config, (store) => {
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
  const { ceilings } = config.tenants.find((tenant) => tenant.name === name) ?? config.tenants[0]!
  const least = (key: 'memory' | 'cpu' | 'processes') =>
    Math.min(config.limits[key], config.ceilings[key] ?? unlimited, ceilings[key] ?? unlimited)
  const network = ceilings.network ?? config.ceilings.network ?? allControls.network
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

/** Undefined if nothing was learned; does not create the file. */
function withBaselines<T>(config: Config, work: (store: BaselineStore) => T): T | undefined {
  const path = join(config.state, 'baselines.db')
  if (!existsSync(path)) return undefined
  const store = openBaselineStore(path)
  try {
    return work(store)
  } finally {
    store.close()
  }
}

function tomlOf(subject: string, { controls, notes }: Proposal, timeoutMs: number): string {
  const { network, memory, processes, capabilities, syscalls } = controls
  const name = subject
    .slice(prefix.length)
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 55)
  const given = [
    ['name', '"used"'],
    ['for', String(timeoutMs)],
    ['network', networkText(network)],
    ['memory', String(memory)],
    ['processes', String(processes)],
    ['capabilities', namesText(capabilities)],
    ['syscalls', namesText(syscalls)],
  ].filter(([, text]) => text !== 'any' && text !== String(unlimited))
  return [
    `# ${subject.slice(0, 200)}: ${notes.join('; ')}.`,
    '# No looser than what is in force. Read it, then put it into the configuration and run with this schedule.',
    `[schedules."${name}-used"]`,
    `phases = [{ ${given.map(([key, text]) => `${key} = ${text}`).join(', ')} }]`,
    '',
  ].join('\n')
}

function networkText({ allow, deny, sent, received }: Controls['network']): string {
  if (allow.length === 0) return '"none"'
  const bytes = Object.entries({ sent, received }).filter(([, value]) => value !== undefined)
  if (allow === 'any' && deny.length + bytes.length === 0) return '"open"'
  const hosts = allow === 'any' ? `deny = ${list(deny)}` : `allow = ${list(allow)}`
  return `{ ${[hosts, ...bytes.map(([name, value]) => `${name} = ${value}`)].join(', ')} }`
}

function namesText(names: Controls['capabilities']): string {
  if (names === 'any') return 'any'
  return names.length === 0 ? '"none"' : list(names)
}

function list(texts: readonly string[]): string {
  return `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`
}
