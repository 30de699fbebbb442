import { lstatSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { attachTo, type ServerFacts } from '../gateway/local/client.ts'
import { localFolder, recordsIn, type ServerRecord } from '../gateway/local/place.ts'
import { isBelow } from '../lib/is-below.ts'
import { isOwnerAlive } from '../lib/owner.ts'
import { actAsOwner } from './owner-rights.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { loadCliConfig } from './open-assembly.ts'
import { failedExitCode } from './verb.ts'

/** Timeout of a stop: drain time of running jobs, plus time for walls to end. */
const STOP_MS_MAX = 60_000
const LOOK_EVERY_MS = 20

/** `serve --status`: lists the servers that run this user's jobs, with the facts that they report. */
export async function showServers(flags: Globals): Promise<void> {
  const { state } = loadCliConfig(flags).config
  const servers = await asOwner(state, async (folder) => {
    const facts = await Promise.all(recordsIn(folder).map((record) => factsOf(folder, record)))
    return facts.filter((one) => one !== undefined)
  })
  if (flags.json) return printJson({ state, servers })
  if (servers.length === 0) return note({}, `No server runs with the state folder ${state}`)
  const rows = servers.map(({ pid, kind, version, since, jobs, idle }) => [
    `${pid}`,
    kind === 'left' ? 'left behind by a run' : 'mayfly serve',
    version,
    new Date(since).toISOString(),
    `${jobs.running} running, ${jobs.done} done`,
    idle === null ? 'stays' : `${idle / 1000} s after the last run`,
  ])
  printText(table([['pid', 'kind', 'version', 'since', 'jobs', 'ends'], ...rows]))
}

/**
 * `serve --stop`: stops the servers that runs left behind, and waits for their exit. Servers started by a person or a
 * service manager are listed and keep running.
 */
export async function stopServers(flags: Globals): Promise<void> {
  const { state } = loadCliConfig(flags).config
  const found = await asOwner(state, async (folder) => {
    const records = recordsIn(folder)
    const started = records.filter(({ kind, owner }) => kind === 'serve' && isOwnerAlive(owner))
    const left = records.filter(({ kind }) => kind === 'left')
    return [
      ...(await Promise.all(left.map((record) => stopOne(folder, record)))),
      ...started.map(({ owner }) => ({ pid: owner.pid, end: 'not asked' }) as const),
    ]
  })
  const [pids, late, started] = (['gone', 'late', 'not asked'] as const).map((end) =>
    found.filter((one) => one.end === end).map(({ pid }) => pid),
  )
  if (flags.json) printJson({ state, stopped: pids, late, started })
  else if (pids!.length > 0) note(flags, `Stopped ${pids!.join(', ')}`)
  else note(flags, `No run had left a server behind with the state folder ${state}`)
  for (const pid of started!)
    note(
      flags,
      `Process ${pid} keeps running: "mayfly serve" was started by hand; stop it by a signal`,
    )
  if (late!.length === 0) return
  note(flags, `Not stopped yet: ${late!.join(', ')}`)
  process.exitCode = failedExitCode
}

/** Reads the folder with the rights of its owner, also as root. Throws MayflyError STATE where the owner may not open it. */
async function asOwner<T>(
  state: string,
  work: (folder: string) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const rights = actAsOwner(state)
  if (!rights) return noneWithout(state)
  try {
    return await work(localFolder(state))
  } catch (thrown) {
    throw closedState(state, thrown)
  } finally {
    rights.restore()
  }
}

/** No servers if the folder is not there. Throws MayflyError STATE for one in which this process may not look. */
function noneWithout(state: string): readonly [] {
  const facts = lstatSync(state, { throwIfNoEntry: false })
  if (!facts) return []
  const why = facts.isDirectory() ? `it belongs to uid ${facts.uid}` : 'it is no folder'
  throw new MayflyError('STATE', `Cannot look for servers in the state folder "${state}": ${why}`, {
    hint: facts.isDirectory()
      ? 'Run this command as that user, whose servers those are'
      : 'Set "MAYFLY_STATE" to the folder itself, not to a link',
  })
}

/** A denial of a folder of the state, as the caller sees it; any other error unchanged. */
function closedState(state: string, thrown: unknown): unknown {
  const { code, path = '' } = (thrown ?? {}) as NodeJS.ErrnoException
  if (code !== 'EACCES' || !isBelow(path, state)) return thrown
  const message = `Cannot look for servers in the state folder "${state}": uid ${process.geteuid?.()}, its owner, may not open it`
  return new MayflyError('STATE', message, {
    hint: 'Give its owner "u+rwx" on it and "x" on each folder above it, and try again; or send SIGTERM to the process of the server',
    cause: thrown,
  })
}

async function factsOf(folder: string, record: ServerRecord): Promise<ServerFacts | undefined> {
  const server = await attachTo(folder, record)
  try {
    return await server?.facts()
  } catch {
    return undefined
  } finally {
    server?.close()
  }
}

interface StoppedServer {
  readonly pid: number
  readonly end: 'gone' | 'late' | 'not asked'
}

async function stopOne(folder: string, record: ServerRecord): Promise<StoppedServer> {
  const { owner, warden } = record
  const server = await attachTo(folder, record)
  await server?.stop()
  server?.close()
  const until = performance.now() + STOP_MS_MAX
  const isThere = () => isOwnerAlive(owner) || isOwnerAlive(warden)
  while (isThere() && performance.now() < until) await sleep(LOOK_EVERY_MS)
  return { pid: owner.pid, end: isThere() ? 'late' : 'gone' }
}
