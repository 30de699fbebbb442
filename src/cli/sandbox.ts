import type { Command } from 'commander'
import type { Control } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type {
  Captured,
  Frozen,
  LiveRow,
  LiveSandbox,
  Terminated,
  Tightened,
} from '../contract/live.ts'
import { present } from '../lib/present.ts'
import { shownSize, formatValue } from './format-value.ts'
import { callServer, sandboxPath, type ServerFlags } from './call-server.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, printJson, printText, table } from './print.ts'
import { pairsOf, registerSessions } from './session.ts'
import { failedExitCode, verb } from './verb.ts'

/** `mayfly sandbox …`: lists and controls live sandboxes of a server. */
export function register(program: Command): void {
  const sandbox = program
    .command('sandbox')
    .description('sessions and live sandboxes of a running server')
    .addHelpText('after', examples)
  const add = (name: string, about: string) =>
    reached(sandbox.command(name).description(about)).argument('<id>', 'id, as listed by "list"')
  registerSessions(sandbox, reached)
  reached(sandbox.command('list').description('list live sandboxes, newest first'))
    .option('--label <name=value...>', 'only sessions with these labels')
    .action(verb(list))
  add('show', 'show a sandbox: its phase, its controls, and how it was tightened').action(
    verb(show),
  )
  add('tighten', 'reduce controls permanently; exits 1 if the wall could not enforce it')
    .option('--network <host...>', 'hosts that remain allowed, or none')
    .option('--cpu <cores>', 'CPU limit in cores, such as 0.5')
    .option('--memory <size>', 'memory limit, such as 64MB')
    .option('--io <size>', 'bytes per second, for each disk')
    .option('--processes <n>', 'limit of processes and threads')
    .option('--capability <name...>', 'capabilities that remain granted, or none')
    .option('--zone <name>', 'tighten this zone only')
    .action(verb(tighten))
  add('freeze', 'pause a sandbox; its deadlines still apply').action(verb(freeze))
  add('thaw', 'resume a paused sandbox').action(verb(thaw))
  add('resume', 'the same as thaw').action(verb(thaw))
  add('capture', 'capture memory or state, as far as the wall supports it').action(verb(capture))
  reached(sandbox.command('kill').description('close a session, or terminate a job'))
    .argument('[id]', 'id, as listed by "list"')
    .option('--label <name=value...>', 'all sessions with these labels')
    .action(verb(kill))
}

const examples = `
Needs an API key in MAYFLY_API_KEY: scope run for its own sessions, scope operate or admin for every live
sandbox; "list" and "show" also accept scope read.

Examples:
  id=$(mayfly sandbox create --language python --timeout 30m)
  echo 'x = 20' | mayfly sandbox exec $id -
  mayfly sandbox exec $id -- ls -l
  mayfly sandbox list
  mayfly sandbox tighten exec_0193… --network none --cpu 0.5
  mayfly sandbox kill exec_0193… --server https://mayfly.example.com:7421`

function reached(command: Command): Command {
  return command
    .option('--server <url>', 'URL of the API; default: MAYFLY_SERVER, else the configured server')
    .option('--insecure-http', 'send the API key over plain HTTP to another machine')
}

interface Flags extends ServerFlags {
  readonly network?: readonly string[]
  readonly cpu?: string
  readonly memory?: string
  readonly io?: string
  readonly processes?: string
  readonly capability?: readonly string[]
  readonly zone?: string
  readonly label?: readonly string[]
}

const root = '/v1/sandboxes'

async function list(flags: Flags): Promise<void> {
  const { items } = await callServer<{ readonly items: readonly LiveRow[] }>(
    flags,
    'GET',
    `${root}${queryOf(flags.label)}`,
  )
  if (flags.json) return printJson(items)
  if (items.length === 0) return note(flags, 'No live sandboxes')
  const head = ['id', 'tenant', 'tier', 'provider', 'phase', 'age', '']
  printText(table([head, ...items.map(lineOf)]))
}

function lineOf({ id, tenant, tier, provider, phase, age, frozen }: LiveRow): readonly string[] {
  return [id, tenant, tier, provider, phase ?? '-', seconds(age), frozen ? 'frozen' : '']
}

async function show(flags: Flags, id: string): Promise<void> {
  const one = await callServer<LiveSandbox>(flags, 'GET', sandboxPath(id))
  if (flags.json) return printJson(one)
  const controls = Object.entries(one.controls).map(([name, value]) => [
    `  ${name}`,
    plain(name, value),
    one.tightens.includes(name) ? '' : 'for its whole life',
  ])
  const lines = [
    lineOf(one).filter(Boolean).join('  '),
    table(controls),
    `  behavior ${one.behaviorScore}`,
    ...one.zones.map(({ zone, phase }) => `  zone ${zone}: ${phase ?? 'as the whole'}`),
    ...one.tightened.map(({ at, zone, controls: closed = {}, reason = '' }) =>
      sanitiseLine(
        `  ${seconds(at)} ${zone}: ${Object.keys(closed).join(', ')} ${reason}`.trimEnd(),
      ),
    ),
  ]
  printText(lines.join('\n'))
}

async function tighten(flags: Flags, id: string): Promise<void> {
  const controls = controlsOf(flags)
  if (Object.keys(controls).length === 0)
    throw new MayflyError(
      'USAGE',
      'Cannot tighten: give at least one control, such as --network or --cpu',
    )
  const { zone } = flags
  const body = { controls, ...(zone !== undefined && { zone }) }
  const came = await callServer<Tightened>(flags, 'POST', sandboxPath(id, '/tighten'), body)
  if (!came.held) process.exitCode = failedExitCode
  const left = Object.keys(controls).map(
    (name) => `${name} ${plain(name, came.controls[name as Control])}`,
  )
  const text = came.held ? `enforced after ${ms(came.took)}: ${left.join(', ')}` : notEnforced
  reportOrder(flags, came, text)
}

const notEnforced = 'not enforced: the wall could not close it, so the phase was ended'

async function freeze(flags: Flags, id: string): Promise<void> {
  const came = await callServer<Frozen>(flags, 'POST', sandboxPath(id, '/freeze'))
  reportOrder(flags, came, `paused after ${ms(came.took)}; its deadlines still apply`)
}

async function thaw(flags: Flags, id: string): Promise<void> {
  const came = await callServer<Frozen>(flags, 'POST', sandboxPath(id, '/thaw'))
  reportOrder(flags, came, `resumed after ${ms(came.took)}`)
}

async function capture(flags: Flags, id: string): Promise<void> {
  const came = await callServer<Captured>(flags, 'POST', sandboxPath(id, '/capture'))
  const parts = came.parts.map(({ name, size }) => `${name} (${shownSize(size)})`)
  const text = came.kind === 'none' ? 'its wall cannot be looked into' : parts.join(', ')
  reportOrder(flags, came, `captured ${came.kind}: ${text}`)
}

async function kill(flags: Flags, id = ''): Promise<void> {
  if (flags.label && id === '') {
    const all = `${root}${queryOf(flags.label)}`
    const { items } = await callServer<{ readonly items: readonly Terminated[] }>(
      flags,
      'DELETE',
      all,
    )
    if (flags.json) return printJson(items)
    for (const one of items) printText(`${one.id} ended as ${one.status}`)
    return
  }
  if (id === '') throw new MayflyError('USAGE', 'Cannot end a sandbox: give an id, or --label')
  const came = await callServer<Terminated & { readonly metrics?: unknown }>(
    flags,
    'DELETE',
    sandboxPath(id),
  )
  const took = came.metrics === undefined ? ` after ${ms(came.took)}` : ''
  reportOrder(flags, came, `ended as ${came.status}${took}`)
}

/** Query string with labels for the API. Throws MayflyError USAGE. */
function queryOf(labels: readonly string[] = []): string {
  if (labels.length === 0) return ''
  const pairs = Object.entries(pairsOf(labels, '--label'))
  const query = new URLSearchParams(pairs.map(([name, value]) => ['label', `${name}:${value}`]))
  return `?${query.toString()}`
}

/** Converts flags to the API's types. */
function controlsOf({ network, cpu, memory, io, processes, capability }: Flags) {
  const isNone = (list: readonly string[]) => list.length === 1 && list[0] === 'none'
  return present({
    network: network && (isNone(network) ? 'none' : { allow: network }),
    cpu: cpu === undefined ? undefined : Number(cpu),
    memory,
    io,
    processes: processes === undefined ? undefined : Number(processes),
    capabilities: capability && (isNone(capability) ? 'none' : capability),
  })
}

function reportOrder(flags: Flags, came: { readonly id: string }, text: string): void {
  if (flags.json) printJson(came)
  else printText(`${came.id} ${text}`)
}

function plain(name: string, value: unknown): string {
  return value === Number.MAX_SAFE_INTEGER ? 'unlimited' : formatValue(name, value)
}

const seconds = (age: number) => `${(age / 1000).toFixed(1)} s`
const ms = (took: number) => `${took.toFixed(1)} ms`
