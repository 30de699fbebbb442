import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../contract/config.ts'
import { allControls, type Controls, unlimited } from '../contract/controls.ts'
import { messageOf, MayflyError } from '../contract/error.ts'
import { openBaselineStore, type BaselineStore, type Kept } from '../watch/baseline-store.ts'
import { propose, type Proposal } from '../watch/propose.ts'

export interface ProposeAsked {
  readonly effect?: string
  readonly tenant?: string
}

export interface Proposed extends Proposal {
  /** `effect:NAME` */
  readonly subject: string
  /** As it would stand in the configuration. */
  readonly toml: string
}

const prefix = 'effect:'

/**
 * For each effect that has run, a schedule that holds it to what it used: within what is in force for its tenant, and
 * in force only once a person puts it into the configuration. Throws MayflyError STATE or USAGE.
 */
export function proposals(config: Config, asked: ProposeAsked): readonly Proposed[] {
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

/** What was learned, for people to look at and keep. */
export function learnedOf(config: Config, asked: ProposeAsked): readonly Kept[] {
  const tenant = asked.tenant ?? config.tenants[0]!.name
  return withBaselines(config, (store) => store.export(tenant, nameOf(asked.effect))) ?? []
}

/** Stops learning, or forgets all that was learned; how many baselines that changed. */
export function changeLearned(
  config: Config,
  asked: ProposeAsked & { readonly effect: string },
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

/** Writes a new file and never over one. Throws MayflyError USAGE. */
export function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' })
  } catch (thrown) {
    throw new MayflyError('USAGE', `Cannot write "${path}": ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}

/** The most that a job of this tenant can have now. */
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

/** Undefined where nothing was ever learned: looking makes no file. */
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
