import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { ordinaryFollows } from '../fixtures/half.ts'
import { descendantsOf } from '../hostile/proc.ts'
import {
  bin,
  documentOf,
  leasesIn,
  makePlace,
  mayfly,
  noOrdinaryUser,
  remaining,
  type Place,
  type Who,
} from './program.ts'

/**
 * Ways to stop that reach more than one process: a terminal's Ctrl-C and hang-up, a signal to the process group, and
 * systemd's, which sends one to every process of a unit.
 */
const terminal = join(import.meta.dirname, '../fixtures/terminal.py')
const embedding = join(import.meta.dirname, '../fixtures/embedding.ts')
const commandMsMax = 90_000
const everybody: readonly (readonly [who: Who, name: string, skip: string | false])[] = [
  ['self', 'whoever runs the tests', false],
  ['ordinary', 'an ordinary user', ordinaryFollows || noOrdinaryUser()],
]
const older = ['/usr/bin/node', '/usr/local/bin/node'].find(isOlder)
const outers: readonly (readonly [name: string, node: string | undefined])[] = [
  ['Node 26', process.execPath],
  ['an older Node', older],
]
/** Prints that it has begun and ends by itself within the drain time. */
const seconds = 2
const jobs = {
  python: `import time\nprint('begun', flush=True)\ntime.sleep(${seconds})\nprint('ended')`,
  node: `console.log('begun'); setTimeout(() => console.log('ended'), ${seconds * 1000})`,
  sh: `echo begun; sleep ${seconds}; echo ended`,
  js: `console.log('begun'); await new Promise((r) => setTimeout(r, ${seconds * 1000})); console.log('ended')`,
} as const

for (const [who, name, skip] of everybody)
  for (const [outer, node] of outers)
    suite(`${name}, started by ${outer}`, { skip: skip || (!node && 'no older Node here') }, () => {
      test('Ctrl-C cancels a run: outcome, exit code 130, a closed record, nothing left', async () => {
        await inPlace(who, async (place) => {
          const { code, said } = await onTerminal(place, 'ctrl-c', 'begun', node!, runArgs(place))
          assert.equal(code, 130, said)
          assert.match(said, /CANCELLED/)
          await assertEnded(place, ['cancelled'])
        })
      })

      test('A terminal that is closed cancels a run, and its record is closed', async () => {
        await inPlace(who, async (place) => {
          await onTerminal(place, 'hang-up', 'begun', node!, runArgs(place))
          await assertEnded(place, ['cancelled'])
        })
      })

      test('Ctrl-C of a server drains it and exits 0', async () => {
        await inPlace(who, async (place) => {
          const serve = [bin, 'serve', '--port', '0']
          const { code, said } = await onTerminal(place, 'ctrl-c', 'Walls', node!, serve)
          assert.equal(code, 0, said)
          assert.match(said, /SIGINT: running jobs may finish within 5 s/)
          assert.deepEqual(leasesIn(place), [])
        })
      })

      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        test(`${signal} to the process group lets running jobs end`, async () => {
          await inPlace(who, async (place) => {
            const server = await serveInGroup(place, node!)
            try {
              const answers = Promise.all(Object.entries(jobs).map((job) => server.run(job)))
              await server.allBegun()
              const all = [server.child.pid!, ...descendantsOf(server.child.pid!)]
              process.kill(-server.child.pid!, signal)
              for (const { body, language } of await answers) {
                assert.equal(body['status'], 'ok', `${language}: ${JSON.stringify(body['error'])}`)
                assert.equal(body['stdout'], 'begun\nended\n', language)
              }
              assert.equal(await server.ended, 0)
              assert.match(server.said(), /"server\/stopped"|server\/stopped/)
              assert.deepEqual(await remaining(all), [])
              assert.deepEqual(leasesIn(place), [])
            } finally {
              server.child.kill('SIGKILL')
            }
          })
        })
    })

for (const [who, name, skip] of everybody)
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)
    test(
      `${signal} to doctor and bench of ${name} leaves none of their temporary folders and walls`,
      { skip },
      async () => {
        await inPlace(who, async (place) => {
          const temporary = join(place.cwd, 'tmp')
          mkdirSync(temporary)
          chmodSync(temporary, 0o1777)
          const env = { TMPDIR: temporary }
          const foldersOf = (verb: string) =>
            readdirSync(temporary).filter((one) => one.startsWith(`mayfly-${verb}-`))
          for (const [verb, ...flags] of [['doctor', 'isolated-vm', 'embedded'], ['bench']]) {
            let said = ''
            const seen = new Set<string>()
            const ran = await mayfly(place, [verb!, ...flags], {
              env,
              started(child) {
                child.stderr!.on('data', (chunk: Buffer) => (said += String(chunk)))
                const isBusy = () => {
                  const folders = foldersOf(verb!)
                  for (const one of folders) seen.add(one)
                  if (folders.length === 0) return false
                  return verb === 'doctor'
                    ? seen.size > 1 && leasesIn(place).length > 0
                    : said.includes('Measuring a job')
                }
                void eventually(isBusy, verb!).finally(() => child.kill(signal))
              },
            })
            assert.equal(ran.code, code, ran.stdout + ran.stderr)
            assert.deepEqual(foldersOf(verb!), [])
          }
          assert.deepEqual(leasesIn(place), [])
        })
      },
    )

test('SIGTERM to every process but the programs themselves lets jobs end, as systemd sends it', async () => {
  await inPlace('self', async (place) => {
    const server = await serveInGroup(place, process.execPath)
    try {
      const asked = Object.entries(jobs).filter(([language]) => language !== 'sh')
      const answers = Promise.all(asked.map((job) => server.run(job)))
      await server.allBegun(asked.length)
      for (const pid of [server.child.pid!, ...descendantsOf(server.child.pid!)]) {
        if (!isProgram(pid)) trySignal(pid, 'SIGTERM')
      }
      for (const { body, language } of await answers)
        assert.equal(body['status'], 'ok', `${language}: ${JSON.stringify(body['error'])}`)
      assert.equal(await server.ended, 0)
    } finally {
      server.child.kill('SIGKILL')
    }
  })
})

test('A second signal ends a draining server at once', async () => {
  await inPlace('self', async (place) => {
    const server = await serveInGroup(place, process.execPath, { MAYFLY_DRAIN: '40s' })
    const answer = server.run(['js', `console.log('begun'); await new Promise(() => {})`], '60s')
    const lost = answer.catch(() => undefined)
    await server.allBegun(1)
    const all = [server.child.pid!, ...descendantsOf(server.child.pid!)]
    process.kill(-server.child.pid!, 'SIGINT')
    await server.heard('running jobs may finish')
    const isOver = server.ended.then(() => true)
    // A Ctrl-C may deliver several SIGINTs; the server counts those within half a second as one.
    while (!(await Promise.race([isOver, sleep(300).then(() => false)])))
      trySignal(-server.child.pid!, 'SIGINT')
    await lost
    assert.deepEqual(await remaining(all), [])
  })
})

test('A job of the library runs to its end if the application handles a signal to the process group', async () => {
  await inPlace('self', async (place) => {
    const child = spawn(process.execPath, [embedding], {
      cwd: place.cwd,
      env: place.env,
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    })
    const lines: string[] = []
    const reading = createInterface(child.stdout)
    const closed = once(reading, 'close')
    reading.on('line', (line) => {
      lines.push(line)
      if (line !== 'begun') return
      process.kill(-child.pid!, 'SIGINT')
      process.kill(-child.pid!, 'SIGTERM')
    })
    await closed
    assert.deepEqual(lines, ['begun', 'ok ended'])
  })
})

test('Walls have their own session, and shells in them have job control', async () => {
  await inPlace('self', async (place) => {
    const code = [
      `bash -c 'set -m; sleep 30 & kill -TERM %1; wait %1; echo "job $?"' 2>/dev/null`,
      `sh -c 'kill -TERM $$'; echo "self $?"`,
      `python3 -c 'import signal; print(*[int(signal.getsignal(s) == signal.SIG_IGN) for s in (1, 2, 15)])'`,
    ]
    writeFileSync(join(place.cwd, 'job.sh'), code.join('\n'))
    const ran = documentOf(await mayfly(place, ['run', 'job.sh', '--json']))
    assert.equal(ran['stdout'], 'job 143\nself 143\n0 0 0\n', JSON.stringify(ran['error']))
  })
})

function runArgs({ cwd }: Place): readonly string[] {
  writeFileSync(join(cwd, 'job.py'), `import time\nprint('begun', flush=True)\ntime.sleep(60)`)
  return [bin, 'run', 'job.py', '--timeout', '90s']
}

async function onTerminal(
  place: Place,
  deed: 'ctrl-c' | 'hang-up',
  marker: string,
  node: string,
  args: readonly string[],
): Promise<{ readonly code: number; readonly said: string }> {
  const words = [terminal, deed, marker, ...place.become, node, ...args]
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const options = { cwd: place.cwd, env: place.env, timeout: commandMsMax }
  execFile('python3', words, options, (error, out) => (error ? reject(error) : resolve(out)))
  return JSON.parse(await promise) as { code: number; said: string }
}

/** Asserts that the record verifies, every job has an end, and no wall is left. */
async function assertEnded(place: Place, statuses: readonly string[]): Promise<void> {
  const lines = documentOf(
    await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
  ) as any
  const ends = lines.filter((line: any) => line.kind === 'ended' || line.kind === 'closed')
  assert.deepEqual(
    ends.map(({ status }: any) => status),
    statuses,
  )
  assert.deepEqual(leasesIn(place), [])
}

/** A server in a process group of its own. */
async function serveInGroup(place: Place, node: string, env: NodeJS.ProcessEnv = {}) {
  const words = [...place.become, node, bin, 'serve', '--port', '0', '--json', '--verbose']
  const child: ChildProcess = spawn(words[0]!, words.slice(1), {
    cwd: place.cwd,
    env: { ...place.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said += String(chunk)))
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  const [line] = (await Promise.race([once(createInterface(child.stdout!), 'line'), ended])) as any
  assert.equal(typeof line, 'string', said)
  const { active, apiKey } = JSON.parse(line as string) as { active: string; apiKey: string }
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
  const url = new URL('/v1/executions', active)
  let begun = 0

  /** Resolves at the job's end; what it prints first is counted. */
  async function run([language, code]: readonly [string, string], timeout = '20s') {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, accept: 'text/event-stream' },
      body: JSON.stringify({ code, language, limits: { timeout } }),
    })
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const hadBegun = text.includes('begun')
      text += chunk
      if (!hadBegun && text.includes('begun')) begun += 1
    }
    const data = /^event: outcome\n(?:id: .*\n)?data: (.*)$/m.exec(text)?.[1]
    assert.ok(data, text)
    return { language, body: JSON.parse(data) as Record<string, unknown> }
  }

  const heard = (word: string) => eventually(() => said.includes(word), word)
  return {
    child,
    ended,
    run,
    heard,
    said: () => said,
    allBegun: (count = Object.keys(jobs).length) => eventually(() => begun === count, 'every job'),
  }
}

async function eventually(isSo: () => boolean, what: string): Promise<void> {
  const until = performance.now() + commandMsMax
  while (!isSo()) {
    if (performance.now() > until) throw new Error(`Waited in vain for ${what}`)
    await sleep(20)
  }
}

/** True for processes that run user code: any signal dispositions, so the test must not signal them. */
function isProgram(pid: number): boolean {
  try {
    return execFileSync('cat', [`/proc/${pid}/cmdline`], { encoding: 'latin1' }).includes(
      'guest/process/',
    )
  } catch {
    return false
  }
}

function trySignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone.
  }
}

function isOlder(program: string): boolean {
  if (!existsSync(program)) return false
  const version = execFileSync(program, ['-p', 'process.versions.node'], { encoding: 'utf8' })
  return Number(version.split('.')[0]) < 26
}

async function inPlace(who: Who, work: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace(who)
  try {
    await work(place)
  } finally {
    place.remove()
  }
}
