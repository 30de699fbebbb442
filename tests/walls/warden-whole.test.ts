import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isAlive, processesOf, processFacts } from '../../src/os/proc.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { descendantsOf, kindsOpen } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { test } from '../fixtures/drawn.ts'
import { emptyGroups } from './groups.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/**
 * Walls for whole programs, from outside: their bounds, that nothing of them is left, and that they die with warden and
 * server. With cgroups where there are some, and without.
 */
const MiB = 2 ** 20
/** Retries: a stall of the machine does not repeat each time. */
const triesMax = 3
/** Number of walls, of a few milliseconds each. */
const sameLooks = 50
const rounds = process.env['MAYFLY_LONG'] ? 100 : 12
const goneMsMax = 30_000
/** Time in which a warden that lives ends the orphans of a program. */
const orphanMsMax = 1_000
const handOvers = process.env['MAYFLY_LONG'] ? 30 : 3
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const library = join(import.meta.dirname, 'fixtures/whole-library.ts')
const ways = ['embedded', ...(findProgram('bwrap') ? (['bubblewrap'] as const) : [])] as const
const holders: readonly (readonly [by: string, hide: readonly string[]])[] = [
  ...(openCgroups() ? ([['control groups', []]] as const) : []),
  ['the warden alone', ['cgroup']],
]

/** Python that says `ready` and then does something. */
const guests = {
  sleeps: `import time\nprint('ready', flush=True)\ntime.sleep(100)`,
  family: `
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(100)
    os._exit(0)
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
subprocess.Popen(['/bin/sh', '-c', 'trap "" HUP TERM INT; sleep 100 & wait'], start_new_session=True)
time.sleep(0.2)
print('ready', flush=True)
time.sleep(100)`,
  forkBomb: `
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0: time.sleep(100)
        made += 1
    except OSError: break
print('ready', made, flush=True)
while True:
    try:
        if os.fork() == 0: time.sleep(100)
    except OSError: pass`,
  memoryBomb: `
import os, time
for _ in range(4):
    if os.fork() == 0:
        held = []
        while True:
            held.append(b'x' * 1048576)
            time.sleep(0.002)
print('ready', flush=True)
time.sleep(100)`,
  burns: `
import os, time
print('ready', flush=True)
os.fork()
while True: pass`,
  leavesOne: `
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(100)
    os._exit(0)
os.wait()
print('ready', flush=True)
time.sleep(1)`,
  burnsFor: (seconds: number) => `
import time
began = time.monotonic()
before = time.process_time()
while time.monotonic() - began < ${seconds}: pass
print('ready', (time.process_time() - before) / (time.monotonic() - began), flush=True)
time.sleep(100)`,
}

suite('A wall for whole programs', { skip: unable() }, () => {
  for (const apart of [false, true])
    test(`passes its outputs and its listening socket, ${apart ? 'over a channel' : 'from a warden in this process'}`, async () => {
      await using stand = await openWhole({ apart })
      const wall = await stand.start()
      await wall.claim({ egress: true, processes: 8 })
      const server = wall.claimed!.listener!
      server.on('connection', (socket) => socket.end('from outside'))
      wall.run(`
import socket, sys
print('to stderr', file=sys.stderr, flush=True)
s = socket.create_connection(('127.0.0.1', 3128))
print('ready', s.recv(100).decode(), flush=True)`)
      await ready(wall)
      assert.match(wall.said.stdout, /ready from outside/)
      await until(() => wall.said.stderr === 'to stderr\n', 'what it said on stderr')
      const { how, exit } = await wall.end()
      assert.deepEqual([how, exit.exitCode, exit.signal], ['exit', 0, null])
    })

  test('has no listener unless the claim requested it', async () => {
    await using stand = await openWhole()
    const wall = await stand.start()
    await wall.claim()
    assert.equal(wall.claimed!.listener, undefined)
    wall.run(`
import socket
try: socket.create_connection(('127.0.0.1', 3128), 1)
except OSError as e: print('ready', type(e).__name__, flush=True)`)
    await ready(wall)
    assert.match(wall.said.stdout, /ready ConnectionRefusedError/)
  })

  test('reports the exit status of its program', async () => {
    await using stand = await openWhole()
    const ended = async (code: string) => {
      const wall = await stand.start()
      await wall.claim()
      wall.run(code)
      return (await wall.end()).exit
    }
    const killed = await ended('import os, signal\nos.kill(os.getpid(), signal.SIGKILL)')
    assert.deepEqual([killed.exitCode, killed.signal], [137, 'SIGKILL'])
    const left = await ended('import os\nos._exit(7)')
    assert.deepEqual([left.exitCode, left.signal], [7, null])
  })

  test('is not started with another mechanism than the requested one', async () => {
    await using stand = await openWhole({ hide: ['bwrap'] })
    await assert.rejects(stand.start('python', 'bubblewrap'), (thrown) => {
      assert.ok(thrown instanceof MayflyError)
      assert.equal(thrown.code, 'UNAVAILABLE')
      return true
    })
    assert.deepEqual((await stand.warden.facts()).walls, [])
  })

  for (const [by, hide] of holders)
    for (const jailKind of ways) {
      const wish = { hide }
      test(`${jailKind}, with ${by}: a fork bomb stays within its process limit, and is killed completely`, async () => {
        await using stand = await openWhole(wish)
        const wall = await stand.start('python', jailKind)
        await wall.claim({ processes: 16 })
        const { processes } = wall.claimed!.enforced
        assert.equal(processes, by === 'control groups' ? 'cgroup' : 'rlimit')
        wall.run(guests.forkBomb)
        await ready(wall)
        const made = Number(/ready (\d+)/.exec(wall.said.stdout)?.[1])
        assert.ok(made >= 8 && made <= 24, `it made ${made}`)
        // A refused fork frees its kernel memory after a delay, so a loop of them may reach the memory limit as well.
        await leavesNothing(wall, ['killed', 'memory'])
      })

      test(`${jailKind}, with ${by}: children share the memory of the job`, async () => {
        await using stand = await openWhole(wish)
        const wall = await stand.start('python', jailKind)
        await wall.claim({ memory: 96 * MiB, processes: 16 })
        wall.run(guests.memoryBomb)
        const { how, peakBytes } = await wall.end()
        assert.equal(how, 'memory')
        // A delayed watch measures more; sixteen children could have had 1.5 GiB.
        const late = by === 'control groups' ? 96 * MiB : 3 * 96 * MiB
        const bound = wall.started.wall.idleBytes + 96 * 1.25 * MiB + late
        assert.ok(peakBytes <= bound, `it used ${Math.round(peakBytes / MiB)} MiB`)
      })

      test(`${jailKind}, with ${by}: a limit of half a core is enforced`, async (t) => {
        const shares: number[] = []
        const isHalf = () => shares.at(-1)! > 0.02 && shares.at(-1)! <= 0.57
        do {
          await using stand = await openWhole(wish)
          const wall = await stand.start('python', jailKind)
          await wall.claim({ cpu: 0.5, processes: 16 })
          const { cpu } = wall.claimed!.enforced
          assert.equal(cpu, by === 'control groups' ? 'cgroup' : 'watch')
          wall.run(guests.burnsFor(3))
          await ready(wall)
          shares.push(Number(/ready ([\d.]+)/.exec(wall.said.stdout)?.[1]))
          // Under load the warden itself may be scheduled late once.
        } while (!isHalf() && shares.length < triesMax)
        t.diagnostic(`it had ${shares.map((one) => one.toFixed(3)).join()} of a core`)
        assert.ok(isHalf(), `it had ${shares.join()} of a core`)
      })

      test(`${jailKind}, with ${by}: a frozen program makes no progress, and can still be ended`, async () => {
        await using stand = await openWhole(wish)
        const wall = await stand.start('python', jailKind)
        await wall.claim({ processes: 16 })
        wall.run(guests.burns)
        await ready(wall)
        await stand.warden.freeze(wall.id)
        const before = ticksOf(wall)
        await sleep(100)
        assert.equal(ticksOf(wall), before, 'it ran while frozen')
        await stand.warden.thaw(wall.id)
        await until(() => ticksOf(wall) > before, 'it to go on')
        await stand.warden.freeze(wall.id)
        await leavesNothing(wall)
      })

      test(`${jailKind}, with ${by}: reparented and stopped processes are killed with the wall`, async () => {
        await using stand = await openWhole(wish)
        const wall = await stand.start('python', jailKind)
        await wall.claim({ processes: 16, cpu: 0.1 })
        wall.run(guests.family)
        await ready(wall)
        assert.ok(wall.processes().length >= 5, 'there are no child processes')
        await leavesNothing(wall)
      })

      for (const isFrozen of [false, true])
        test(`${jailKind}, with ${by}: dies with its warden${isFrozen ? ', also while it is frozen' : ''}`, async () => {
          await using stand = await openWhole({ ...wish, apart: true })
          const { pid } = await stand.warden.facts()
          const [busy, idle] = [
            await stand.start('python', jailKind),
            await stand.start('python', jailKind),
          ]
          await busy.claim({ processes: 16, cpu: 0.5 })
          busy.run(guests.family)
          await ready(busy)
          if (isFrozen) await stand.warden.freeze(busy.id)
          const all = [...busy.processes(), ...idle.processes()]
          process.kill(pid, 'SIGKILL')
          await gone(all)
          await sweptAfter(stand.stateFolder, [busy, idle])
        })
    }

  test('ends with its program, even if children are still running', async () => {
    for (const jailKind of ways) {
      await using stand = await openWhole()
      const wall = await stand.start('python', jailKind)
      await wall.claim({ processes: 16 })
      wall.run(guests.leavesOne)
      await ready(wall)
      const all = wall.processes()
      // Init of the wall, the program and its orphan.
      assert.ok(all.length >= 3, all.join())
      assert.equal((await wall.end()).how, 'exit')
      await gone(all, orphanMsMax)
    }
  })

  test('can be started by a user with a raised nice value', () => {
    const script = `
const { openWhole } = await import(${JSON.stringify(new URL('whole-wall.ts', import.meta.url).href)})
await using whole = await openWhole()
await (await whole.start('python')).kill()
console.log('had')`
    const args = ['-n', '12', process.execPath, '--input-type=module', '-e', script]
    const { stdout, stderr } = spawnSync('nice', args, { encoding: 'utf8', timeout: 30_000 })
    assert.equal(stdout, 'had\n', stderr)
  })

  test('has only its own folder if namespaces are forbidden, and dies with its warden', async () => {
    await using stand = await openWhole({ hide: ['namespaces'], apart: true })
    const { pid } = await stand.warden.facts()
    const wall = await stand.start()
    await wall.claim({ processes: 4 })
    wall.run(`open('left', 'w').write('x')\nimport os\nprint(os.getcwd())\n${guests.sleeps}`)
    await ready(wall)
    const folder = wall.said.stdout.split('\n')[0]!
    assert.equal(existsSync(join(folder, 'left')), true)
    const own = [`${wall.started.wall.pid} ${processFacts(wall.started.wall.pid)?.startTime}`]
    process.kill(pid, 'SIGKILL')
    await gone(own)
    await sweptAfter(stand.stateFolder, [wall])
    assert.equal(existsSync(folder), false)
  })

  for (const victim of ['the warden', 'the application'] as const)
    test(`killing ${victim} while walls are passed on leaves nothing`, async (t) => {
      const random = seeded(seed)
      t.diagnostic(`MAYFLY_SEED=${seed}`)
      for (let round = 0; round < handOvers; round++) {
        using application = new Application()
        await until(() => application.claimed > 0 || application.hasEnded, 'a wall')
        assert.ok(application.claimed > 0, `round ${round}: ${application.errors}`)
        await sleep(random() * 150)
        const pids = [application.warden, ...descendantsOf(application.warden)]
        const all = pids.map((pid) => `${pid} ${processFacts(pid)?.startTime}`)
        process.kill(victim === 'the warden' ? application.warden : application.pid, 'SIGKILL')
        await gone(all)
        application.kill()
        await sweptAfter(application.stateFolder, application.walls)
      }
    })

  for (const [how, templates] of [
    ['started by exec', 'off'],
    ['forked from a template', 'all'],
  ] as const)
    test(`${rounds} walls ${how}, claimed, used and killed, leave nothing`, async () => {
      await using stand = await openWhole({ templates })
      const round = async (jailKind: 'embedded' | 'bubblewrap', program: 'node' | 'python') => {
        const wall = await stand.start(program, jailKind)
        await wall.claim({ egress: true, cpu: 0.5, processes: 16, io: MiB })
        wall.run(program === 'python' ? guests.sleeps : `console.log('ready')`)
        await ready(wall)
        await wall.kill()
        wall.close()
        return wall.id
      }
      // Loaded modules stay in memory.
      for (const jailKind of ways) await round(jailKind, 'python')
      const before = await restingRemains()
      const ids = []
      for (let n = 0; n < rounds; n++)
        ids.push(await round(ways[n % ways.length]!, n % 4 === 3 ? 'node' : 'python'))
      await until(() => moreThan(before).length === 0, 'all to be given back').catch(
        () => undefined,
      )
      assert.deepEqual(moreThan(before), [])
      assert.deepEqual(groupsOf(ids), [])
      assert.deepEqual(readdirSync(leaseFolder(stand.stateFolder)), [])
    })

  test('A uid is reused when no process has it any more', async (t) => {
    if (!findJailFacts().root) return t.skip('only root can give walls their own uid')
    await using stand = await openWhole()
    const wall = await stand.start()
    const uid = uidOf(wall)
    await wall.claim({ processes: 16 })
    wall.run(guests.family)
    await ready(wall)
    assert.ok(processesOf(uid).length >= 5)
    await wall.kill()
    assert.deepEqual(processesOf(uid), [])
  })
})

async function ready(wall: WholeWall): Promise<void> {
  await until(() => wall.said.stdout.includes('ready'), 'the program').catch((error: unknown) => {
    throw new Error(`${String(error)}: ${wall.said.stderr} ${wall.frames.join(' ')}`)
  })
}

/** Kills a wall, and asserts that its processes are gone when the warden reports the end. */
async function leavesNothing(wall: WholeWall, ends = ['killed']): Promise<void> {
  const all = wall.processes()
  await wall.kill()
  assert.deepEqual(all.filter(isThere), [])
  const { how } = await wall.end()
  assert.ok(ends.includes(how), how)
}

async function gone(all: readonly string[], ms = goneMsMax): Promise<void> {
  const left = () => all.filter(isThere)
  await until(() => left().length === 0, 'their end', ms).catch(() => undefined)
  assert.deepEqual(left(), [])
}

async function sweptAfter(
  stateFolder: string,
  walls: readonly { readonly id: string }[],
): Promise<void> {
  const next = holdWarden({ stateFolder })
  await next.close()
  assert.deepEqual(readdirSync(leaseFolder(stateFolder)), [])
  assert.deepEqual(groupsOf(walls.map(({ id }) => id)), [])
}

/** An application that starts walls until it is killed. */
class Application {
  readonly folder = mkdtempSync(join(tmpdir(), 'mayfly-whole-'))
  readonly stateFolder = join(this.folder, 'state')
  readonly walls: { readonly id: string }[] = []
  readonly #child: ChildProcess
  warden = 0
  claimed = 0
  errors = ''
  hasEnded = false

  constructor() {
    const options = JSON.stringify({ stateFolder: this.stateFolder })
    const flags = ['--disable-warning=ExperimentalWarning', library, options]
    this.#child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.on('close', () => (this.hasEnded = true))
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.errors += chunk.toString()))
    let text = ''
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (text + chunk.toString()).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) this.#hear(line)
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  #hear(line: string): void {
    const [what, word = ''] = line.split(' ')
    if (what === 'warden') this.warden = Number(word)
    if (what === 'wall') this.walls.push({ id: word })
    if (what === 'claimed') this.claimed++
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  [Symbol.dispose](): void {
    this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function groupsOf(ids: readonly string[]): readonly string[] {
  return emptyGroups().filter((group) => ids.some((id) => group.endsWith(id)))
}

function isThere(one: string): boolean {
  const [pid, startTime] = one.split(' ').map(Number)
  return isAlive(pid!, startTime)
}

function ticksOf(wall: WholeWall): number {
  const { pid } = wall.started.wall
  return [pid, ...descendantsOf(pid)].reduce(
    (sum, one) => sum + (processFacts(one)?.cpuTicks ?? 0),
    0,
  )
}

function uidOf(wall: WholeWall): number {
  const status = readFileSync(`/proc/${wall.started.wall.pid}/status`, 'utf8')
  return Number(/^Uid:\t(\d+)/m.exec(status)?.[1])
}

/** Numbers of fds and child processes of this process. */
function remains() {
  return { processes: descendantsOf(process.pid), open: kindsOpen() }
}

/** Kinds of which there are more than before. A template is a minute old at most, and may be gone or another one by now. */
function moreThan(before: ReturnType<typeof remains>): readonly string[] {
  const { processes, open } = remains()
  const more = Object.keys(open).filter((kind) => open[kind]! > (before.open[kind] ?? 0))
  if (processes.length > before.processes.length) more.push(`processes ${processes.join()}`)
  return more
}

/** Waits until a count is the same in several samples in a row. */
async function restingRemains() {
  let [seen, same] = [remains(), 0]
  const isResting = () => {
    const now = remains()
    same = JSON.stringify(now) === JSON.stringify(seen) ? same + 1 : 0
    seen = now
    return same >= sameLooks
  }
  await until(isResting, 'what was ended to be gone')
  return seen
}

function unable(): string | false {
  const facts = findJailFacts()
  if (facts.platform !== 'linux') return 'only Linux has these jails'
  return facts.namespaces ? false : 'namespaces are forbidden here'
}
