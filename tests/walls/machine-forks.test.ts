import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { Mayfly, type Box } from '../../src/index.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { tryReadText } from '../../src/os/read.ts'
import { noMachines } from '../conformance/microvm.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'

/** Forks of sessions in virtual machines: state, uniqueness, bounds, refusals, and what is left of them. */
const skip = noMachines ?? false
const timeout = 1_200_000
const unhurried = { timeout: '60s' }
const folder = skip ? '' : mkdtempSync(join(tmpdir(), 'mayfly-forks-'))
const state = join(folder, 'state')

/** Cells of one language. */
const languages = {
  python: {
    begin: `import os, random, socket, subprocess, tempfile, time, uuid
x = 20
drawn = random.random(), uuid.uuid4(), uuid.uuid1(), tempfile.mktemp()
with open('kept.txt', 'w') as file: file.write('parent')
background = subprocess.Popen(['sleep', '600'])`,
    seen: '[x, open("kept.txt").read(), background.poll()]',
    change: (n: number) => `x += ${n}
with open('kept.txt', 'a') as file: file.write('-${n}')`,
    values: `read = lambda name: open(name).read().strip()
[random.random(), str(uuid.uuid4()), os.urandom(8).hex(), os.getrandom(8).hex(), random.SystemRandom().random(),
 read('/proc/sys/kernel/random/boot_id'), read('/etc/machine-id'), read('/run/mayfly/id'), socket.gethostname(),
 tempfile.mktemp()]`,
    now: 'time.time() * 1000',
    waits: 'time.sleep(3)',
    programs: `started = []
try:
    for _ in range(40): started.append(subprocess.Popen(['sleep', '600']))
except OSError: pass
for one in started: one.kill(); one.wait()
len(started)`,
  },
  node: {
    begin: `const crypto = require('node:crypto'), fs = require('node:fs'), os = require('node:os')
const { spawn } = require('node:child_process')
let x = 20
const drawn = [Math.random(), crypto.randomUUID(), crypto.randomBytes(8)]
fs.writeFileSync('kept.txt', 'parent')
const background = spawn('sleep', ['600'])
null`,
    seen: '[x, fs.readFileSync("kept.txt", "utf8"), background.exitCode ?? background.signalCode]',
    change: (n: number) => `x += ${n}; fs.appendFileSync('kept.txt', '-${n}')`,
    values: `const read = (name) => fs.readFileSync(name, 'utf8').trim();
[Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString('hex'), crypto.randomInt(2 ** 47),
 crypto.webcrypto.getRandomValues(new Uint32Array(2)).join(), crypto.generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }).x,
 read('/proc/sys/kernel/random/boot_id'), read('/etc/machine-id'), read('/run/mayfly/id'), os.hostname()]`,
    now: 'Date.now()',
    waits: 'await new Promise((resolve) => setTimeout(resolve, 3000))',
    programs: `let started = []
for (let n = 0; n < 40; n++) {
  const one = spawn('sleep', ['600'])
  const pid = await new Promise((resolve) => { one.once('spawn', () => resolve(one.pid)); one.once('error', () => resolve(0)) })
  if (pid) started.push(one)
}
for (const one of started) one.kill('SIGKILL')
started.length`,
  },
} as const
type Name = keyof typeof languages

suite('A fork of a session in a virtual machine', { skip, timeout }, () => {
  let mayfly: Mayfly

  before(async () => {
    const missing = await copyMachineState(state)
    assert.equal(missing, undefined)
    mayfly = await Mayfly.open({ state })
  })
  after(async () => {
    await mayfly.close()
    assert.deepEqual(remains(), { leases: [], folders: [], groups: [], processes: [] })
    rmSync(folder, { recursive: true, force: true })
  })

  const open = (language: Name, limits = {}) =>
    mayfly.open({ language, tier: 'microvm', limits: { ...unhurried, ...limits } })

  for (const name of Object.keys(languages) as readonly Name[]) {
    const cells = languages[name]

    test(`${name}: children see variables, files and background programs of their parent, and go their own way`, async (t) => {
      await using parent = await open(name)
      await value(parent, cells.begin)
      const began = performance.now()
      const children = await parent.fork({ children: 2 })
      t.diagnostic(`${Math.round(performance.now() - began)} ms for two children`)
      const all = [parent, ...children]
      for (const one of all) assert.deepEqual(await value(one, cells.seen), [20, 'parent', null])
      for (const [n, one] of all.entries()) await value(one, cells.change(n))
      for (const [n, one] of all.entries())
        assert.deepEqual(await value(one, cells.seen), [20 + n, `parent-${n}`, null])
      const [first, second] = children
      assert.deepEqual([first!.row.forkOf, second!.row.forkOf], [parent.id, parent.id])
      const [grandchild] = await first!.fork()
      assert.deepEqual(await value(grandchild!, cells.seen), [21, 'parent-1', null])
      assert.equal((await parent.close()).status, 'ok')
      for (const one of [...children, grandchild!]) {
        assert.equal(await value(one, '1 + 1'), 2)
        assert.equal((await one.close()).status, 'ok')
      }
    })

    test(`${name}: no value of ten sources is the same in a session, its children and a grandchild, and their clocks are right`, async () => {
      await using parent = await open(name)
      await value(parent, cells.begin)
      const children = await parent.fork({ children: 3 })
      const [grandchild] = await children[0]!.fork()
      const all = [parent, ...children, grandchild!]
      const drawn = await Promise.all(all.map((one) => value(one, cells.values)))
      const named = drawn.flatMap((one) =>
        (one as readonly unknown[]).map((own, n) => `${n} ${String(own)}`),
      )
      assert.equal(named.length, 10 * all.length)
      assert.equal(new Set(named).size, named.length, JSON.stringify(drawn))
      for (const one of all)
        assert.ok(Math.abs(Number(await value(one, cells.now)) - Date.now()) < 60_000)
      for (const one of [...children, grandchild!]) await one.close()
    })

    test(`${name}: a child that asks for more than its parent has gets what its parent has, and less if it asks for less`, async () => {
      await using parent = await open(name, { processes: 12 })
      await value(parent, cells.begin)
      const [more] = await parent.fork({ limits: { processes: 200, memory: '64GB' } })
      const [less] = await parent.fork({ limits: { processes: 6 } })
      const counts = []
      for (const one of [more!, less!]) counts.push(Number(await value(one, cells.programs)))
      assert.ok(counts[0]! < 12, `${counts.join()} of 12`)
      assert.ok(counts[1]! < 6 && counts[1]! < counts[0]!, `${counts.join()} of 12 and 6`)
      for (const one of [more!, less!]) await one.close()
    })

    test(`${name}: is refused during an exec, with a terminal, while it is frozen, for nine children, and after its end`, async () => {
      const parent = await open(name)
      await value(parent, cells.begin)
      const before = saves()
      const waits = parent.run({ code: cells.waits })
      await assert.rejects(parent.fork(), { code: 'BUSY' })
      await waits
      const terminal = await parent.pty({ command: ['sleep', '600'] })
      await assert.rejects(parent.fork(), { code: 'BUSY' })
      await terminal.close()
      await parent.freeze()
      await assert.rejects(parent.fork(), { code: 'CONFLICT' })
      await parent.thaw()
      await assert.rejects(parent.fork({ children: 9 }), { code: 'INVALID' })
      assert.deepEqual(await value(parent, cells.seen), [20, 'parent', null])
      await parent.close()
      await assert.rejects(parent.fork(), { code: 'SESSION_ENDED' })
      assert.deepEqual(saves(), before)
    })
  }

  test('is refused where a wall cannot be copied, with a way out', async () => {
    for (const asked of [
      { language: 'python', provider: 'bubblewrap' },
      { language: 'js', provider: 'isolated-vm' },
    ] as const) {
      await using weaker = await mayfly.open(asked)
      await assert.rejects(weaker.fork(), ({ code, hint }: { code: string; hint: string }) => {
        assert.equal(code, 'FORK_UNSUPPORTED')
        assert.match(hint, /"tier": "microvm"/)
        return true
      })
    }
  })

  test('leaves no save on the disk, and nothing of a child after its end', async () => {
    await using parent = await open('python')
    await value(parent, languages.python.begin)
    const before = await whenQuiet()
    const children = await parent.fork({ children: 2 })
    const during = remains()
    assert.equal(during.leases.length, before.leases.length + 2)
    assert.equal(during.folders.length, before.folders.length + 2)
    assert.ok(during.processes.length >= before.processes.length + 2)
    if (openCgroups()) assert.equal(during.groups.length, before.groups.length + 2)
    for (const one of children) await one.close()
    assert.deepEqual(remains(), before)
  })

  test('leaves nothing of its parent where that is ended meanwhile, and no child without one', async () => {
    const before = saves()
    for (const wait of [50, 'the save', 900] as const) {
      const parent = await open('python')
      await value(parent, languages.python.begin)
      const forking = parent.fork({ children: 2 }).then(
        (made) => made,
        (error: { code: string }) => error.code,
      )
      if (wait === 'the save') await until(() => saves().length > before.length, 'a save')
      else await sleep(wait)
      await parent.close()
      const made = await forking
      if (typeof made === 'string')
        assert.match(made, /^(?:SESSION_ENDED|UNAVAILABLE|NOT_FOUND|CONFLICT)$/)
      else for (const one of made) await one.close()
    }
    assert.deepEqual(saves(), before)
  })

  test('is a save of a guest that fills its memory meanwhile, or none, and the guest goes on', async () => {
    await using parent = await open('python', { memory: '200MB' })
    await value(parent, languages.python.begin)
    const floods = `import threading
pages, written = bytearray(120 * 2**20), 0
def flood():
    global written
    n = 0
    while True:
        n = (n + 1) % 256
        for at in range(0, len(pages), 4096): pages[at] = n; written += 1
threading.Thread(target=flood, daemon=True).start()`
    const writes = 'seen = written\nwhile written == seen: time.sleep(0.01)\nTrue'
    await value(parent, floods)
    assert.equal(await value(parent, writes), true)
    const [child] = await parent.fork()
    for (const one of [parent, child!]) {
      assert.deepEqual(await value(one, languages.python.seen), [20, 'parent', null])
      assert.equal(await value(one, 'len(set(pages[::4096])) <= 2'), true)
      assert.equal(await value(one, writes), true)
    }
    await child!.close()
  })
})

async function value(box: Box, code: string): Promise<unknown> {
  const outcome = await box.run({ code, limits: { timeout: '60s' } })
  assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error) + outcome.stderr)
  return outcome.result
}

/** Walls and saves that had a lease at one of the looks. */
const names = new Set<string>()

/** Leases, folders and control groups of walls and saves, also of those without a lease by now; processes below this one. */
function remains() {
  const leases = readdirSync(leaseFolder(state)).toSorted()
  for (const name of leases) names.add(name.replace(/\.json$/, ''))
  const folders = readdirSync('/tmp').filter((name) => names.has(name.replace('mayfly-', '')))
  const groups = (openCgroups()?.list() ?? []).filter((name) => names.has(name))
  return { leases, folders: folders.toSorted(), groups: groups.toSorted(), processes: emulators() }
}

function emulators(): readonly number[] {
  return descendantsOf(process.pid).filter(isEmulator)
}

function isEmulator(pid: number): boolean {
  return tryReadText(`/proc/${pid}/cmdline`)?.includes('qemu') === true
}

/** Templates, and saves of forks; the spares of a pool come and go. */
function saves(): readonly string[] {
  return remains().leases.filter((name) => name.startsWith('t'))
}

/** Resolves with the remains once the pool has its spares. */
async function whenQuiet() {
  for (let last = remains(); ; last = remains()) {
    await sleep(2_000)
    if (isDeepStrictEqual(last, remains())) return last
  }
}
