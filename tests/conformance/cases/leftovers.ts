import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TierName } from '../../../src/contract/tier.ts'
import type { Chapter } from '../case.ts'
import { descendantsOf, isRunning, kindsOpen } from '../remains.ts'
import { inTime, messageIn, type Stand, until } from '../stand.ts'

const isLong = process.env['MAYFLY_LONG'] !== undefined
/** By what a start costs: a container or a machine takes seconds, a program of its own kernel half a second. */
const usualRuns = isLong ? 200 : 12
const runsOf: Readonly<Partial<Record<TierName, number>>> = {
  ...(isLong && { isolate: 1000, wasm: 1000, userkernel: 40, gvisor: 40, container: 20 }),
  microvm: isLong ? 12 : 3,
}
const noProc = 'this system has no /proc to look into'

export const leftovers: Chapter = {
  name: 'Leftovers',
  cases: [
    {
      title: 'After many runs and a close, processes, fds and temporary files are as before',
      needs: [{ guest: 'echo' }, { guest: 'spins' }],
      async run(stand) {
        if (!existsSync('/proc/self/fd')) return noProc
        using _folder = ownTemporaries()
        // The first round may open permanent resources: only growth is a leak.
        await liveOnce(stand, 2)
        const before = held()
        await liveOnce(stand, runsOf[stand.provider.tier] ?? usualRuns)
        let left: readonly string[] = []
        const isBack = () => {
          left = grown(before, held())
          return left.length === 0
        }
        // Only the last sample counts: a spare of another provider may be starting during an earlier one.
        await until(isBack, 'everything to be given back').catch(() => undefined)
        assert.deepEqual(left, [])
        return undefined
      },
    },
    {
      title: 'A wall whose process is killed from outside ends as failed, and the next job runs',
      needs: [{ guest: 'echo' }, { guest: 'spins' }],
      async run(stand) {
        if (!existsSync('/proc/self/fd')) return noProc
        // A helper of the engine below this process would be taken for a guest.
        if (stand.provider.tier === 'container') return 'its guests are processes of its engine'
        const before = new Set(descendantsOf(process.pid))
        await using own = await owned(stand)
        const running = await own.stand.start(own.stand.guests.spins)

        await using _sandbox = running.sandbox
        await running.said('spinning')
        const made = descendantsOf(process.pid).filter((pid) => !before.has(pid))
        const victims = made.filter((pid) => descendantsOf(pid).length === 0)
        if (victims.length === 0) return 'it runs guests in no process of their own'
        for (const pid of victims) killIfThere(pid)
        const lost = await inTime(running.end, 'the end of a guest whose wall is gone')
        // A program may be ended by its own signal; seen from outside, this looks the same.
        if (lost.error?.code !== 'EXIT') assert.equal(lost.status, 'failed')
        else assert.match(lost.error.message, /SIGKILL/)
        // Parked walls were among the killed processes, and take a moment to exit.
        const areGone = () => victims.every((pid) => !isRunning(pid))
        await until(areGone, 'the walls to be gone')
        const { end } = await own.stand.run(own.stand.guests.echo, { input: 'next' })
        assert.equal(end.resultText, '"next"', messageIn(end))
        return undefined
      },
    },
  ],
}

/** Private folder for temporary files. */
function ownTemporaries(): Disposable {
  const before = process.env['TMPDIR']
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  process.env['TMPDIR'] = folder
  return {
    [Symbol.dispose]() {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
      rmSync(folder, { recursive: true })
    },
  }
}

type Held = Readonly<Record<string, number>>

function held(): Held {
  return {
    ...kindsOpen(),
    processes: descendantsOf(process.pid).length,
    'temporary files': readdirSync(tmpdir()).length,
  }
}

function grown(before: Held, now: Held): readonly string[] {
  return Object.entries(now)
    .filter(([kind, count]) => count > (before[kind] ?? 0))
    .map(([kind, count]) => `${kind}: ${before[kind] ?? 0} before, ${count} now`)
}

/** Complete life of a provider: most guests end by themselves, some are killed, one is never run. */
async function liveOnce(stand: Stand, count: number): Promise<void> {
  await using own = await owned(stand)
  await own.stand.provider.detect()
  for (let n = 0; n < count; n++) {
    if (n % 10 === 3) await killed(own.stand)
    else if (n % 10 === 7) await (await own.stand.launch())[Symbol.asyncDispose]()
    else await own.stand.run(own.stand.guests.echo, { input: n })
  }
}

async function killed(stand: Stand): Promise<void> {
  const running = await stand.start(stand.guests.spins)

  await using sandbox = running.sandbox
  await running.said('spinning')
  sandbox.kill({ status: 'cancelled' })
  await inTime(running.end, 'the end of a killed guest')
}

async function owned(stand: Stand) {
  const made = await stand.make()
  return {
    stand: stand.at(made.provider),
    async [Symbol.asyncDispose]() {
      await made.provider.close?.()
      await made.close()
    },
  }
}

/** A launcher's short-lived process may have exited since it was found. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}
