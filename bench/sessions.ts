/**
 * Sessions of Python, or of js in an isolate: an exec beside a round trip to a bare interpreter over a pipe, an opening beside a whole job, memory
 * over many execs, and the cost of idle ones. One run, contenders interleaved: execs with round trips, openings with jobs.
 *
 *     node bench/sessions.ts [--rounds 200] [--execs 10000] [--idle 50] [--language js] [--provider bubblewrap] [--json]
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { figures, timed } from '../src/lib/measure.ts'
import { proportionalBytes } from '../src/os/proc.ts'
import { belowOf } from '../src/os/process-tree.ts'
import { Mayfly } from '../src/sdk/mayfly.ts'

const MIB = 2 ** 20
const JOBS_MIN = 128
const WARM_EXECS = 300
/** A bare interpreter that answers a line by its value, and cells: of a big value and of a small one. */
const languages = {
  python: {
    bare: [
      '/usr/bin/python3',
      '-c',
      'import sys\nfor line in sys.stdin:\n  print(eval(line), flush=True)',
    ],
    provider: 'bubblewrap',
    big: 'x = [1] * 1000\nlen(x)',
    small: 'x = 1',
  },
  js: {
    bare: [
      process.execPath,
      '-e',
      'require("readline").createInterface(process.stdin).on("line", (line) => console.log(eval(line)))',
    ],
    provider: 'isolated-vm',
    big: 'const x = new Array(1000).fill(1)\nx.length',
    small: 'const x = 1',
  },
} as const

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    execs: { type: 'string', default: '10000' },
    idle: { type: 'string', default: '50' },
    language: { type: 'string', default: 'python' },
    provider: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const language = flags.language === 'js' ? 'js' : 'python'
const cells = languages[language]
const { provider = cells.provider } = flags
const state = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
const bare = spawn(cells.bare[0], cells.bare.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
const lines = createInterface(bare.stdout)[Symbol.asyncIterator]()

try {
  // A tenant has three quarters of the places.
  const jobs = Math.max(JOBS_MIN, 2 * Number(flags.idle))
  await using mayfly = await Mayfly.open({ state, server: { jobs } })
  const report = {
    language,
    provider,
    milliseconds: await latencies(mayfly, Number(flags.rounds)),
    memory: await manyExecs(mayfly, Number(flags.execs)),
    idle: await idleSessions(mayfly, Number(flags.idle)),
  }
  console.log(JSON.stringify(report, undefined, flags.json ? undefined : 2))
} finally {
  bare.kill()
  rmSync(state, { recursive: true, force: true })
}

async function latencies(mayfly: Mayfly, rounds: number) {
  await using box = await mayfly.open({ language, provider })
  // In the first execs V8 compiles the server's pipeline, and the pools fill.
  for (let n = 0; n < WARM_EXECS; n++) await box.run({ code: '20 + 1' })
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const [pipe, exec, open, job]: [number[], number[], number[], number[]] = [[], [], [], []]
  for (let round = 0; round < rounds; round++) {
    pipe.push(await timed(bareRoundTrip))
    exec.push(await timed(() => box.run({ code: '20 + 1' })))
  }
  // Apart from the execs: a claim is followed by the start of another spare, which takes a core for a while.
  for (let round = 0; round < rounds / 10; round++) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    open.push(await opened(mayfly))
    await new Promise((resolve) => setTimeout(resolve, 300))
    job.push(
      await timed(() =>
        mayfly.run({ language, provider, code: language === 'js' ? 'return 20 + 1' : '20 + 1' }),
      ),
    )
  }
  return {
    'a line to a bare interpreter': figures(pipe),
    'an exec': figures(exec),
    'an opening': figures(open),
    'a whole job': figures(job),
  }
}

async function bareRoundTrip(): Promise<void> {
  bare.stdin.write('20 + 1\n')
  await lines.next()
}

async function opened(mayfly: Mayfly): Promise<number> {
  const began = performance.now()
  const box = await mayfly.open({ language, provider })
  const took = performance.now() - began
  await box.close()
  return took
}

/** Memory of the walls' processes after a tenth of the execs, and after all. */
async function manyExecs(mayfly: Mayfly, execs: number) {
  await using box = await mayfly.open({ language, provider })
  const marks: { execs: number; wallsMiB: number; ownMiB: number }[] = []
  for (let done = 1; done <= execs; done++) {
    await box.run({ code: cells.big })
    if (done === Math.ceil(execs / 10) || done === execs) marks.push({ execs: done, ...memory() })
  }
  return marks
}

async function idleSessions(mayfly: Mayfly, count: number) {
  const before = memory().wallsMiB
  const boxes = []
  for (let n = 0; n < count; n++)
    boxes.push(await mayfly.open({ language, provider, limits: { memory: '32MB' } }))
  for (const box of boxes) await box.run({ code: cells.small })
  const all = memory().wallsMiB
  for (const box of boxes) await box.close()
  return { sessions: count, pssMiBEach: Math.round(((all - before) / count) * 10) / 10 }
}

function memory() {
  const below = belowOf(process.pid).filter((pid) => pid !== bare.pid)
  const walls = below.reduce((sum, pid) => sum + (proportionalBytes(pid) ?? 0), 0)
  return {
    wallsMiB: Math.round(walls / MIB),
    ownMiB: Math.round(process.memoryUsage.rss() / MIB),
  }
}
