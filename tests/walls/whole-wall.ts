import type { Server } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeFrame, FrameDecoder } from '../../src/lib/frames.ts'
import { processFacts } from '../../src/os/proc.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import type { WallClaim, StartedWall, WardenClient } from '../../src/walls/client.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type {
  ClaimResult,
  UsualBounds,
  WallEnd,
  WallExit,
  MechanismName,
} from '../../src/contract/warden.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { inTime, until } from '../conformance/stand.ts'

/** A warden with walls for whole programs, driven by the protocol of the server. */

const runFrame = 1
const FRAME_BYTES_MAX = 33 * 2 ** 20
const MiB = 2 ** 20
/** Deadline for the output of a wall before its end. */
const sayMsMax = 5_000

export interface WholeEnd {
  readonly how: WallEnd
  readonly peakBytes: number
  readonly detail: string | undefined
  readonly exit: WallExit
}

export class WholeWall {
  readonly started: StartedWall
  readonly ended: Promise<WholeEnd>
  readonly said = { stdout: '', stderr: '' }
  readonly frames: string[] = []
  readonly #warden: WardenClient
  claimed: (ClaimResult & { readonly listener?: Server }) | undefined

  constructor(warden: WardenClient, started: StartedWall) {
    this.#warden = warden
    this.started = started
    const decoder = new FrameDecoder(FRAME_BYTES_MAX)
    started.socket.on('error', () => undefined)
    started.socket.on('data', (chunk: Buffer) => {
      for (const { payload } of decoder.push(chunk)) this.frames.push(payload.toString())
    })
    for (const name of ['stdout', 'stderr'] as const)
      started.streams![name].on('data', (chunk: Buffer) => void (this.said[name] += chunk))
    const { promise, resolve } = Promise.withResolvers<WholeEnd>()
    this.ended = promise
    warden.onEnded(started.wall.id, (how, peakBytes, detail, exit) =>
      resolve({ how, peakBytes, detail, exit }),
    )
  }

  get id(): string {
    return this.started.wall.id
  }

  /** Every live process of the wall, with its start time, because pids are reused. */
  processes(): readonly string[] {
    const first = this.#first()
    return [first, ...descendantsOf(first)].map((one) => `${one} ${processFacts(one)?.startTime}`)
  }

  /** Pid of the process that waits for the program and adopts its orphans (process 1 inside). */
  #first(): number {
    return processFacts(this.started.wall.pid)?.parent ?? this.started.wall.pid
  }

  async claim(to: Partial<WallClaim> = {}): Promise<void> {
    const usual = { tenant: '', memory: 128 * MiB, deadline: 60_000 }
    this.claimed = await this.#warden.claim(this.id, { ...usual, ...to })
  }

  run(code: string, language = this.started.wall.program as string): void {
    const job = { language, code, entry: 'program', ...task }
    this.started.socket.write(encodeFrame(runFrame, `${JSON.stringify(job)}\n`))
  }

  kill(): Promise<{ took: number }> {
    return this.#warden.kill(this.id)
  }

  /** End of the wall, once its output is here: a warden in a process of its own may report the end before the output. */
  async end(): Promise<WholeEnd> {
    const end = await inTime(this.ended, 'the end of the wall')
    const { stdout, stderr } = this.started.streams!
    const isAll = () => [stdout, stderr].every((one) => one.readableEnded || one.destroyed)
    // An outside process may keep the pipes open: the output received so far counts as complete.
    await until(isAll, 'all of what it said', sayMsMax).catch(() => undefined)
    return end
  }

  close(): void {
    const { socket, streams } = this.started
    for (const one of [socket, streams!.stdout, streams!.stderr]) one.destroy()
    this.claimed?.listener?.close()
  }
}

const task = {
  protocol: 1,
  inputText: 'null',
  files: [],
  capabilities: [],
  env: {},
  timeoutMs: 600_000,
  outputBytesMax: MiB,
  resultBytesMax: MiB,
  artifactBytesMax: MiB,
  processes: 64,
  network: true,
}

export interface WholeWish extends Omit<WardenOptions, 'stateFolder'> {
  /** A warden in a separate process, as in an application. */
  readonly apart?: boolean
}

export async function openWhole({ apart = false, ...options }: WholeWish = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-whole-'))
  const stateFolder = join(folder, 'state')
  const all = { stateFolder, ...options }
  const warden = apart ? await startWarden(all) : holdWarden(all)
  const walls: WholeWall[] = []
  return {
    warden,
    stateFolder,
    async start(
      program: 'node' | 'python' = 'python',
      jailKind: MechanismName = 'embedded',
      usual?: UsualBounds,
      fresh?: boolean,
    ) {
      const disk = 16 * MiB
      const settings = {
        // A forked wall is always warm.
        spares: fresh ? 1 : 0,
        spareMiB: 8,
        mechanism: jailKind,
        disk,
        ...(usual && { usual }),
        ...(fresh && { fresh }),
      }
      const wall = new WholeWall(warden, await warden.start(program, settings))
      walls.push(wall)
      return wall
    },
    async [Symbol.asyncDispose]() {
      await warden.close()
      for (const wall of walls) wall.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
