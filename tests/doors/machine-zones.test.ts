import assert from 'node:assert/strict'
import { join } from 'node:path'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly, MayflyError } from '../../src/index.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { makePlace } from './program.ts'

/** Zones of programs in a virtual machine, by the library. */
const skip = isQemuThere() ? false : noQemu
const MiB = 2 ** 20
const limits = { timeout: 240_000, memory: 400 * MiB }

/** Writes a program for each zone, and starts it: `start('fat', code)`. */
const prelude = `
import os, subprocess, sys, time
def start(name, code):
    path = '/work/' + name
    with open(path, 'w') as file: file.write('#!/usr/bin/python3\\nimport os, sys, time\\n' + code)
    os.chmod(path, 0o755)
    return subprocess.Popen([path], stdout=subprocess.PIPE)
`
const fill = (mebibytes: number) => `kept = [bytearray(b'x') * ${MiB} for _ in range(${mebibytes})]`
/** Prints once the other zones have ended. */
const outlives = `while not os.path.exists('/work/over'): time.sleep(0.1)\nprint('full')`
const zones = {
  fat: { program: 'fat', phases: [{ name: 'work', for: '200s', memory: '40MB' }] },
  lean: {
    program: '/work/lean',
    phases: [
      { name: 'much', for: '1s', memory: '120MB', processes: 9 },
      { name: 'less', for: '200s', cpu: 0.9 },
    ],
  },
  brief: { program: ['br*f'], phases: [{ name: 'work', for: '4s', processes: 9 }] },
} as const

suite('Zones of programs in a virtual machine', { skip, timeout: 900_000 }, () => {
  const place = makePlace()
  const state = join(place.state, 'library')
  let missing: string | undefined
  let mayfly: Mayfly
  before(async () => {
    missing = await copyMachineState(state)
    const closingAfter = (full: string) => [
      { name: 'full', for: full },
      { name: 'less', for: '180s', syscalls: ['exec', 'outside', 'process', 'write'] },
    ]
    const schedules = {
      default: { phases: [{ name: 'full', for: '240s' }], zones },
      'without-zones': { phases: [{ name: 'full', for: '240s' }] },
      soon: { phases: closingAfter('3s'), zones },
      later: { phases: closingAfter('60s'), zones },
    }
    mayfly = await Mayfly.open({ state, schedules: structuredClone(schedules) as never })
  })
  after(async () => {
    await mayfly.close()
    place.remove()
  })

  test('S2-6, S2-7: three zones run at once with limits of their own; one ends by its memory, one by its time, and the third and the job go on', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const code = `${prelude}
started = [start('fat', """${fill(100)}"""), start('lean', """${fill(60)}\n${outlives}"""), start('brief', 'time.sleep(500)')]
for child in (started[0], started[2]): child.wait()
open('/work/over', 'w').close()
print([child.communicate()[0].decode().strip() + ' ' + str(child.returncode) for child in started])
print(subprocess.run(['/bin/echo', 'on'], capture_output=True, text=True).stdout.strip())`
    const outcome = await mayfly.run({ language: 'python', code, tier: 'microvm', limits })
    const { id, status, stdout, zones: made, timeline } = outcome
    assert.deepEqual(
      [status, stdout],
      ['ok', "[' -9', 'full 0', ' -9']\non\n"],
      JSON.stringify(outcome),
    )
    const programs = made!.programs!.toSorted((a, b) => a.zone.localeCompare(b.zone))
    assert.deepEqual(
      programs.map(({ zone, parent, program, entered, trust, phases, why, enforced }) => {
        return { zone, parent, program, entered, trust, phases, why, enforced }
      }),
      [
        { zone: 'brief', why: 'timeout', phases: ['work'], enforced: heldBy('processes') },
        { zone: 'fat', why: 'limit MEMORY', phases: ['work'], enforced: heldBy('memory') },
        {
          zone: 'lean',
          why: 'its programs have ended',
          phases: ['much', 'less'],
          enforced: heldBy('memory', 'processes'),
        },
      ].map((one) => {
        const own = { parent: 'main', program: `/work/${one.zone}`, entered: 'asked' }
        return { ...own, ...one, trust: 'guest' }
      }),
    )
    const lean = programs[2]!
    assert.ok(lean.peakBytes! > 60 * MiB && lean.peakBytes! <= 120 * 10 ** 6, `${lean.peakBytes}`)
    assert.ok(programs[1]!.peakBytes! <= 40 * MiB)
    const begins = timeline.filter(({ event, fields }) => event === 'zone' && fields?.['program'])
    assert.deepEqual(
      begins.map(({ zone, fields }) => `${zone} ${String(fields?.['trust'])}`).toSorted(),
      ['brief guest', 'fat guest', 'lean guest'],
    )
    using log = openLog(join(state, 'audit.db'))
    const ended = log.last(100, id).find(({ kind }) => kind === 'ended')
    const recorded = JSON.parse(String(ended?.bodyText)).zones as readonly { zone: string }[]
    assert.deepEqual(recorded.map(({ zone }) => zone).toSorted(), ['brief', 'fat', 'lean'])
  })

  test('A zone in a machine is tightened and ended by the caller, never loosened, and the rest continues', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const code = `${prelude}
child = start('lean', 'time.sleep(500)')
print(child.wait(), flush=True)`
    const asked = { language: 'python', tier: 'microvm', limits } as const
    const [main] = await mayfly.initializeExecution(code, asked)
    const zone = { execution: main!.execution, id: 'lean' }
    const begun = Promise.withResolvers<void>()
    const over = mayfly.monitorZones([main!], {
      on: (entry) => void (entry.zone === 'lean' && begun.resolve()),
    })
    await Promise.race([begun.promise, over])
    await assert.rejects(
      mayfly.tightenPolicy(zone, { memory: 2 ** 40 }),
      (error: unknown) => error instanceof MayflyError && error.code === 'CONFLICT',
    )
    const { held, controls } = await mayfly.tightenPolicy(zone, { memory: 50 * MiB })
    assert.deepEqual([held, controls.memory], [true, 50 * MiB])
    await mayfly.terminateZone(zone)
    const { status, stdout, zones: made } = await over
    assert.deepEqual([status, stdout], ['ok', '-9\n'])
    assert.match(made!.programs![0]!.why, /ended by hand/)
  })

  test('A session with zones of programs runs them, and is not forked', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const asked = { language: 'python', tier: 'microvm', limits } as const
    await using session = await mayfly.open(asked)
    const code = `${prelude}\nprint(start('fat', "print('in ' + open('/proc/self/cgroup').read()[:9])").communicate()[0].decode())`
    const { stdout } = await session.run({ code })
    assert.match(stdout, /^in 0::\/job\/z/)
    // Before a copy is made: the claim of one would be refused with the same code.
    const refused = { code: 'UNAVAILABLE', message: /its engine does not support it/ }
    await assert.rejects(session.fork(), refused)
    assert.equal((await session.run({ code: `print('on')` })).stdout, 'on\n')
    await using other = await mayfly.open({ ...asked, schedule: 'without-zones' })
    const [child] = await other.fork()
    assert.equal((await child!.run({ code: `print('copy')` })).stdout, 'copy\n')
    await child!.close()
  })

  const noParser = findProgram('apparmor_parser') ? false : 'apparmor_parser is missing'
  test(
    'Classes of calls that the job loses are lost by its zones too',
    { skip: noParser },
    async (t) => {
      if (missing !== undefined) return t.skip(missing)
      const tries = `import socket
made = 0
while True:
    try: socket.socket().close()
    except PermissionError: break
    made += 1
    time.sleep(0.1)
print('closed', made > 0)`
      const code = `${prelude}\nprint(start('lean', """${tries}""").communicate()[0].decode())`
      const asked = { language: 'python', code, tier: 'microvm', limits } as const
      let outcome = await mayfly.run({ ...asked, schedule: 'soon' })
      // On a busy machine the zone begins after the first phase.
      if (outcome.stdout === 'closed False\n\n')
        outcome = await mayfly.run({ ...asked, schedule: 'later' })
      const { status, stdout, zones: made } = outcome
      assert.deepEqual([status, stdout], ['ok', 'closed True\n\n'], JSON.stringify(outcome))
      assert.deepEqual(
        made?.programs?.map(({ zone }) => zone),
        ['lean'],
      )
    },
  )
})

/** Mechanisms of a zone with these limits of its own. */
function heldBy(...own: readonly ('memory' | 'cpu' | 'processes')[]) {
  const by = (name: 'memory' | 'cpu' | 'processes') => (own.includes(name) ? 'cgroup' : 'none')
  return { memory: by('memory'), cpu: by('cpu'), processes: by('processes') }
}
