import assert from 'node:assert/strict'
import { join } from 'node:path'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly } from '../../src/index.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { hasNoWall } from '../walls/process-stands.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { makePlace } from './program.ts'

/** Phases of a job in a virtual machine, by the library. */
const skip = isQemuThere()
  ? findProgram('apparmor_parser')
    ? false
    : 'apparmor_parser is missing'
  : noQemu

/** Starts programs until its phase refuses them, then reads a file. */
const program = `
import subprocess, time
while True:
    try: subprocess.run(['/bin/true'])
    except PermissionError: break
    time.sleep(0.2)
print(open('/etc/passwd').readline(), end='')
`
const phases = [
  { name: 'full', for: '2s' },
  { name: 'alone', for: '60s', syscalls: ['network', 'outside', 'process', 'write'] },
] as const

suite('Phases of a virtual machine', { skip, timeout: 600_000 }, () => {
  const place = makePlace()
  const state = join(place.state, 'library')
  let missing: string | undefined
  let mayfly: Mayfly
  before(async () => {
    missing = await copyMachineState(state)
    const terminate_if = 'events["seen/exec"] > 2'
    const counting = { phases: [{ name: 'full', for: '60s', terminate_if }] }
    const schedules = { closing: { phases: structuredClone(phases) }, counting }
    mayfly = await Mayfly.open({ state, schedules: schedules as never })
  })
  after(async () => {
    await mayfly.close()
    place.remove()
  })

  test('S1-11, S2-29: the denial of a profile that a phase replaced is in the timeline, and the record names the profile', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const asked = {
      language: 'python',
      code: program,
      tier: 'microvm',
      schedule: 'closing',
    } as const
    const outcome = await mayfly.run(asked)
    const { id, status, stdout, timeline, enforced } = outcome
    const told = JSON.stringify(outcome)
    assert.deepEqual([status, stdout], ['ok', 'root:x:0:0:root:/root:/bin/sh\n'], told)
    assert.equal(enforced?.['access'], 'apparmor')
    const closed = timeline.findIndex(({ event }) => event === 'tightened')
    const { controls, fields } = timeline[closed]!
    assert.deepEqual(controls, { syscalls: phases[1].syscalls })
    assert.deepEqual(fields, { errno: { exec: 'EACCES' }, trust: 'guest' })
    const denied = timeline.findIndex(({ event }) => event === 'denied')
    assert.equal(timeline[denied]?.reason, 'Its kernel refused: execute "/usr/bin/busybox"')
    assert.deepEqual(timeline[denied].fields, { trust: 'guest' })
    const counted = await mayfly.run({ ...asked, schedule: 'counting' })
    assert.equal(counted.status, 'terminated', JSON.stringify(counted.error))
    using log = openLog(join(state, 'audit.db'))
    const ended = log.last(20, id).find(({ kind }) => kind === 'ended')
    assert.equal(JSON.parse(ended!.bodyText).enforced.access, 'apparmor')
  })
})

suite(
  'A program in a process wall',
  { skip: findProgram('python3') ? false : 'no python3' },
  () => {
    test('S1-11: the layers that replace AppArmor are in the outcome and in the record', async (t) => {
      const place = makePlace()
      const state = join(place.state, 'library')
      const mayfly = await Mayfly.open({ state })
      try {
        const asked = { language: 'python', code: 'print(1)', tier: 'process' } as const
        const ran = await mayfly.run(asked)
        if (hasNoWall(t, ran, { program: 'python' })) return
        const { id, status, enforced } = ran
        assert.equal(status, 'ok')
        const hasLandlock = ran.provider === 'embedded' && findJailFacts().landlock > 0
        assert.equal(enforced?.['access'], hasLandlock ? 'landlock, seccomp' : 'seccomp')
        using log = openLog(join(state, 'audit.db'))
        const ended = log.last(20, id).find(({ kind }) => kind === 'ended')
        assert.deepEqual(JSON.parse(ended!.bodyText).enforced, enforced)
      } finally {
        await mayfly.close()
        place.remove()
      }
    })
  },
)
