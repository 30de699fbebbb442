import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import path from 'node:path'
import { escapedWord } from '../case.ts'
import type { ProcessBait } from './case.ts'
import { commandsWith, lookOf } from './look.ts'

export const nobody = 65_534
/** Longer than a case takes on a machine that is busy with others. */
const VICTIM_SECONDS = '600'
/** Folders in which hostile programs leave files: those that this machine's users share, and what root alone may write. */
const shared = [tmpdir(), '/dev/shm', '/var/tmp', '/dev/mqueue', '/run', '/home', '/']
const strewn = [...shared, ...'/usr /etc /bin /lib /var /opt /root /mnt /srv /boot'.split(' ')]
/** Names that path traversal of a job's files would create. */
const climbed: ReadonlySet<string> = new Set(['hostile-climbed'])

/** Bait of one run, and its observation. */
export interface Snare extends AsyncDisposable {
  readonly bait: ProcessBait
  /** Evidence left or stolen by hostile code, given all its output. */
  readonly evidence: (cameBack: string) => string | undefined
}

/**
 * Canaries in files, in a process and behind listeners of every kind: evidence independent of the guest's own
 * claims.
 */
export class ProcessTrap implements AsyncDisposable {
  readonly canary = `canary-${randomUUID()}`
  readonly folder = mkdtempSync(path.join(tmpdir(), 'hostile-process-'))
  readonly #abstract = `hostile-${randomUUID()}`
  readonly #knocks: string[] = []
  readonly #servers: Server[] = []
  readonly #datagrams = createSocket('udp4')
  #laid = 0

  static async set(): Promise<ProcessTrap> {
    const trap = new ProcessTrap()
    chmodSync(trap.folder, 0o711)
    writeFileSync(trap.#at('open'), trap.canary, { mode: 0o644 })
    writeFileSync(trap.#at('root'), trap.canary, { mode: 0o600 })
    mkdirSync(trap.#at('marks'))
    chmodSync(trap.#at('marks'), 0o1777)
    await trap.#listen()
    return trap
  }

  /** Lays bait for one run. The victim is a new process each time, since some are killed. */
  lay(): Snare {
    const name = `${this.#laid++}-${randomBytes(6).toString('hex')}`
    const victim = spawnVictim(this.canary)
    const bait = this.#bait(name, victim.pid ?? 0)
    const before = lookOf(bait.victim)
    const kill = async (): Promise<void> => {
      if (victim.exitCode !== null || victim.signalCode !== null) return
      victim.kill('SIGKILL')
      await once(victim, 'exit')
    }
    return {
      bait,
      evidence: (cameBack) =>
        said(cameBack, this.canary) ??
        this.#left(bait) ??
        (this.#knocks.some((text) => text.includes(name)) ? 'it reached a listener' : undefined) ??
        (lookOf(bait.victim) === before ? undefined : 'it changed or ended a process of the host'),
      [Symbol.asyncDispose]: kill,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#datagrams.close()
    await Promise.all(this.#servers.map((server) => new Promise((done) => server.close(done))))
    rmSync(this.folder, { recursive: true, force: true })
  }

  #bait(name: string, victim: number): ProcessBait {
    const [first] = this.#servers
    assert(first)
    const { port } = first.address() as AddressInfo
    return {
      name,
      secret: `secret-${randomUUID()}`,
      openFile: this.#at('open'),
      rootFile: this.#at('root'),
      markFile: path.join(this.#at('marks'), name),
      victim,
      server: process.pid,
      port,
      udpPort: this.#datagrams.address().port,
      address: addressOfHost(),
      unixPath: this.#at('unix'),
      abstract: this.#abstract,
      key: randomBytes(3).readUIntBE(0, 3) + 0x4d00_0000,
    }
  }

  #left({ name, markFile, key }: ProcessBait): string | undefined {
    if (existsSync(markFile)) return 'it wrote a file'
    const found = strewn
      .flatMap((folder) => namesIn(folder))
      .find((file) => file.includes(name) || climbed.has(file))
    if (found) return 'it left a file of its own on the host'
    if (systemV(key)) return 'it left an object of System V'
    return undefined
  }

  async #listen(): Promise<void> {
    // Bound to all addresses, so that each of the host's can be tried.
    for (const where of [{ port: 0, host: '::' }, this.#at('unix'), `\0${this.#abstract}`]) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.setTimeout(2_000, () => socket.destroy())
        socket.on('data', (bytes) => {
          this.#knocks.push(bytes.toString('latin1', 0, 4096))
          socket.end(`HTTP/1.0 200 OK\r\n\r\n${this.canary}`)
        })
      })
      server.listen(where)
      await once(server, 'listening')
      this.#servers.push(server)
    }
    chmodSync(this.#at('unix'), 0o777)
    this.#datagrams.on('message', (bytes) => this.#knocks.push(bytes.toString('latin1', 0, 4096)))
    this.#datagrams.bind(0, '0.0.0.0')
    await once(this.#datagrams, 'listening')
  }

  #at(name: string): string {
    return path.join(this.folder, name)
  }
}

/** A process that outlives its job, found by the name of its run. */
export function survivorOf({ name }: ProcessBait): string | undefined {
  return commandsWith(name).length > 0 ? 'a process of it lives on' : undefined
}

/** Removes everything a case left on the host, by name or key of its run. */
export function sweep({ name, key }: ProcessBait): void {
  for (const pid of commandsWith(name)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {}
  }
  for (const folder of strewn)
    for (const file of namesIn(folder).filter((file) => file.includes(name)))
      rmSync(path.join(folder, file), { recursive: true, force: true })
  const flag = { shm: '-M', sem: '-S', msg: '-Q' }
  const kind = systemV(key)
  if (kind) spawn('ipcrm', [flag[kind], `${key}`], { stdio: 'ignore' }).on('error', () => undefined)
}

function said(cameBack: string, canary: string): string | undefined {
  if (cameBack.includes(escapedWord)) return /ESCAPED:[^"\\\n]*/.exec(cameBack)?.[0].slice(0, 80)
  return cameBack.includes(canary) ? 'the canary came back' : undefined
}

/** As the user of a plain child, so that only the wall separates them. */
function spawnVictim(canary: string): ChildProcess {
  const isRoot = process.getuid?.() === 0
  return spawn('sleep', [VICTIM_SECONDS], {
    stdio: 'ignore',
    env: { HOSTILE_CANARY: canary },
    ...(isRoot && { uid: nobody, gid: nobody }),
  })
}

function systemV(key: number): 'shm' | 'sem' | 'msg' | undefined {
  return (['shm', 'sem', 'msg'] as const).find((kind) =>
    linesOf(`/proc/sysvipc/${kind}`).some((line) => line.trim().startsWith(`${key} `)),
  )
}

function addressOfHost(): string {
  const all = Object.values(networkInterfaces()).flat()
  return all.find((one) => one && !one.internal && one.family === 'IPv4')?.address ?? '127.0.0.1'
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}

/** Names in a folder; a folder that this user may not read has none, as its programs leave nothing there. */
function namesIn(folder: string): readonly string[] {
  if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) return []
  try {
    return readdirSync(folder)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EACCES') return []
    throw thrown
  }
}
