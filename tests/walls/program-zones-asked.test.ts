import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { test, type TestContext } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { openOwnProgram } from '../../src/jail/own-programs.ts'
import { ProgramZones } from '../../src/warden/engines/processes/program-zones.ts'
import type { ZoneReport } from '../../src/contract/warden.ts'
import { zoneMarkOf } from '../../src/warden/engines/processes/zone-marks.ts'
import { openWhole } from './whole-wall.ts'

/** Starts a wall of Node with a zone for each program, by kind; undefined without a sentinel. */
async function startWithZones(
  whole: Awaited<ReturnType<typeof openWhole>>,
  programs: Readonly<Record<string, string>>,
) {
  const wall = await whole.start('node')
  if (!wall.started.wall.layers.includes('sentinel')) {
    assert.ok('missing' in (await openOwnProgram('sentinel')), 'the wall has lost its sentinel')
    return undefined
  }
  const told: ZoneReport[] = []
  whole.warden.onZone(wall.id, (one) => void told.push(one))
  const zones = Object.entries(programs).map(([kind, program]) => {
    return { kind, programs: [program], memory: 2 ** 29, life: 20_000 }
  })
  await wall.claim({ memory: 2 ** 30, processes: 64, zones })
  return { wall, told }
}

test('The sentinel is asked about a program by any name: non-ASCII letters, and the link /proc/self/exe', async (t) => {
  if (!findJailFacts().namespaces) return t.skip('namespaces are forbidden here')
  await using whole = await openWhole({ sentinel: true })
  const started = await startWithZones(whole, { letters: '/work/größe', js: 'node' })
  if (!started) return t.skip('there is no sentinel here')
  const { wall, told } = started
  wall.run(`
import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
copyFileSync('/bin/true', '/work/größe')
const { status } = spawnSync('/work/größe')
const again = spawnSync('/proc/self/exe', ['-p', '6 * 7'], { encoding: 'utf8' })
console.log(status, again.stdout?.trim(), again.signal, again.error?.code)`)
  await wall.end()
  assert.equal(wall.said.stdout, '0 42 null undefined\n', wall.said.stderr)
  const begun = told.filter(({ what }) => what === 'began' || what === 'refused')
  assert.deepEqual(
    begun.map(({ what, zone, entered }) => [what, zone, entered]),
    [
      ['began', 'letters', 'asked'],
      ['began', 'js', 'asked'],
    ],
  )
})

test('A program named by a descriptor or by a process, as /proc has them, begins in its zone', async (t) => {
  if (!findJailFacts().namespaces) return t.skip('namespaces are forbidden here')
  if (!existsSync('/usr/bin/perl')) return t.skip('perl is missing')
  await using whole = await openWhole({ sentinel: true })
  const started = await startWithZones(whole, { js: 'node', pl: 'perl' })
  if (!started) return t.skip('there is no sentinel here')
  const { wall, told } = started
  wall.run(`
import { spawnSync } from 'node:child_process'
import { openSync, symlinkSync } from 'node:fs'
const own = '/proc/' + process.pid
symlinkSync(own + '/fd/' + openSync('/usr/bin/perl', 'r'), 'link')
const node = own + '/fd/' + openSync(process.execPath, 'r')
for (const program of [node, own + '/exe', '/proc/thread-self/exe', './link']) {
  const { stdout, signal, error } = spawnSync(program, ['-e', program === './link' ? 'sleep 1; print 42' : 'console.log(42)'])
  console.log(String(stdout).trim(), signal, error?.code)
}`)
  await wall.end()
  assert.equal(wall.said.stdout, '42 null undefined\n'.repeat(4), wall.said.stderr)
  const begun = told.filter(({ what }) => what === 'began' || what === 'refused')
  assert.deepEqual(
    begun.map(({ what, kind, entered }) => [what, kind, entered]),
    [...Array<string>(3).fill('js'), 'pl'].map((kind) => ['began', kind, 'asked']),
  )
})

test('Scripts whose interpreter is a script, or that are named by a descriptor, begin in the zone of the program that runs', async (t) => {
  const ran = await runWithShells(
    t,
    `
import { spawnSync } from 'node:child_process'
import { openSync, writeFileSync } from 'node:fs'
let by = '/bin/sh'
for (let n = 1; n <= 5; n++) {
  writeFileSync('/work/s' + n, '#!' + by + '\\nsleep 0.2; echo ran', { mode: 0o755 })
  by = '/work/s' + n
}
const descriptor = '/proc/' + process.pid + '/fd/' + openSync('/work/s1', 'r')
for (const script of ['/work/s1', '/work/s2', '/work/s5', descriptor]) {
  const { stdout, signal, error } = spawnSync(script)
  console.log(String(stdout).trim(), signal, error?.code)
}`,
  )
  if (!ran) return
  assert.equal(ran.said.stdout, 'ran null undefined\n'.repeat(4), ran.said.stderr)
  const begun = ran.told.filter(({ what }) => what !== 'gone')
  assert.deepEqual(
    begun.map(({ what, kind, entered }) => [what, kind, entered]),
    Array.from({ length: 4 }, () => ['began', 'shell', 'asked']),
  )
})

test('Scripts with the longest names, whose letters are not ASCII, begin in the zone of the program that runs', async (t) => {
  const ran = await runWithShells(
    t,
    `
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
let by = '/bin/sh'
for (let n = 1; n <= 5; n++) {
  const name = '/work/' + 'é'.repeat(120) + n
  writeFileSync(name, '#!' + by + '\\nsleep 0.2; echo ran', { mode: 0o755 })
  by = name
}
const { stdout, signal, error } = spawnSync(by)
console.log(String(stdout).trim(), signal, error?.code)`,
  )
  if (!ran) return
  assert.equal(ran.said.stdout, 'ran null undefined\n', ran.said.stderr)
  const begun = ran.told.filter(({ what }) => what !== 'gone')
  assert.deepEqual(
    begun.map(({ what, kind, entered }) => [what, kind, entered]),
    [['began', 'shell', 'asked']],
  )
})

for (const [how, hide] of [
  ['with', []],
  ['without', ['cgroup']],
] as const)
  test(`Programs in six nested zones run in their own, and one that would be in a seventh does not start, ${how} control groups`, async (t) => {
    if (!findJailFacts().namespaces) return t.skip('namespaces are forbidden here')
    await using whole = await openWhole({ sentinel: true, hide })
    const names = Array.from({ length: 7 }, (_, index) => `z${index + 1}`)
    const programs = Object.fromEntries(names.map((name) => [name, `/work/${name}`]))
    const started = await startWithZones(whole, programs)
    if (!started) return t.skip('there is no sentinel here')
    const { wall, told } = started
    wall.run(`
import { spawnSync } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
for (let n = 1; n <= 7; n++) {
  copyFileSync('/bin/sh', '/work/z' + n)
  const next = '/work/z' + (n + 1)
  writeFileSync('/work/s' + n, next + ' /work/s' + (n + 1) + ' 2> /dev/null; echo ' + n + ' $?')
}
process.stdout.write(spawnSync('/work/z1', ['/work/s1']).stdout)`)
    await wall.end()
    assert.equal(wall.said.stdout, '6 126\n5 0\n4 0\n3 0\n2 0\n1 0\n', wall.said.stderr)
    assert.deepEqual(
      told.flatMap(({ what, zone, parent, why }) =>
        what === 'gone' ? [] : [[what, zone, parent, why]],
      ),
      names.map((name, index) => {
        const isTooDeep = index === 6
        const why = isTooDeep ? 'its zone would be nested too deep' : undefined
        return [isTooDeep ? 'refused' : 'began', name, names[index - 1] ?? 'main', why]
      }),
    )
  })

test('A pid that is no longer a process of the wall is put into none of its zones', async (t) => {
  if (!findJailFacts().namespaces) return t.skip('namespaces are forbidden here')
  await using whole = await openWhole({ sentinel: false, hide: ['cgroup'] })
  const { wall } = (await whole.start('python')).started
  const { uid } = statSync(`/proc/${wall.pid}`)
  const stranger = spawn('sleep', ['60'])
  await once(stranger, 'spawn')
  try {
    const before = zoneMarkOf(stranger.pid!)
    const told: ZoneReport[] = []
    const zones = new ProgramZones({
      resources: {
        cgroup: undefined,
        slot: process.getuid?.() === 0 ? { uid } : undefined,
        processes: [],
      } as never,
      rules: [{ kind: 'any', programs: ['any'], memory: 2 ** 26, life: 20_000 }],
      pid: wall.pid,
      cpu: undefined,
      isAsked: true,
      report: (one) => void told.push(one),
    })
    const asks = { path: 'any', real: 'any', by: [] }
    assert.equal(zones.answerExec({ ...asks, pid: stranger.pid! }), constants.errno.EAGAIN)
    assert.deepEqual([zoneMarkOf(stranger.pid!), told], [before, []])
    assert.equal(zones.answerExec({ ...asks, pid: wall.pid }), 0)
    assert.deepEqual(
      told.map(({ what, zone }) => [what, zone]),
      [['began', 'any']],
    )
  } finally {
    stranger.kill('SIGKILL')
  }
})

/** Runs a program in Node whose zone `shell` is of `sh`; undefined, and the test skipped, where this host has no such zones. */
async function runWithShells(t: TestContext, source: string) {
  if (!findJailFacts().namespaces) return t.skip('namespaces are forbidden here')
  await using whole = await openWhole({ sentinel: true })
  const started = await startWithZones(whole, { shell: 'sh' })
  if (!started) return t.skip('there is no sentinel here')
  const { wall, told } = started
  wall.run(source)
  await wall.end()
  return { said: wall.said, told }
}
