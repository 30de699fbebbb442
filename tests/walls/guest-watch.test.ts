import assert from 'node:assert/strict'
import { callClasses } from '../../src/contract/calls.ts'
import type { Event } from '../../src/contract/event.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, makeOwnKernelWalls, noMachines, whyNoImages } from '../conformance/microvm.ts'
import { Stand, until, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Events of programs in machines, observed by the kernel of the guest. */
const skip = noMachines ?? (findProgram('apparmor_parser') ? false : 'apparmor_parser is missing')
const skipKernel = isUserKernelThere() ? (whyNoImages() ?? false) : noUserKernel
const timeout = 900_000
const limits = { timeout: 240_000 }
const MEBIBYTE = 2 ** 20

const starts = `
import ctypes, json, os, socket, subprocess, time
def main(input):
    pids = []
    for words in (['/bin/true'], ['/bin/sh', '-c', 'exit 3'], ['/bin/sh', '-c', 'kill -9 $$'], ['/work/own script']):
        if words[0].startswith('/work'):
            with open(words[0], 'w') as file: file.write('#!/bin/sh\\nexit 0\\n')
            os.chmod(words[0], 0o755)
        child = subprocess.Popen(words)
        child.wait()
        pids.append(child.pid)
    libc = ctypes.CDLL(None)
    libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)
    try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    except OSError: pass
    try: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError: pass
    os.rename('/work/own script', '/work/"odd\\n name')
    print('started', flush=True)
    while True:
        try: subprocess.run(['/work/"odd\\n name'])
        except OSError: break
    print(json.dumps([os.getpid(), *pids]), flush=True)
    time.sleep(600)`

const floods = `
import ctypes, os
libc = ctypes.CDLL(None)
def main(input):
    for n in range(1500):
        libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)
        if n % 4 == 0:
            child = os.fork()
            if child == 0: os.execv('/bin/true', ['true'])
            if os.waitpid(child, 0)[1]: raise OSError('the program did not start')
    return 'over'`

suite('Observations of a guest', { skip, timeout }, () => {
  let made: Made
  before(async () => void (made = await makeMicroVm({}, 'python')))
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })
  const stand = () =>
    new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)

  test('S0-27: programs, exits and refusals are reported in order, with pid and trust, and so is a file written since the release', async () => {
    const running = await stand().start(starts, { limits })
    await using sandbox = running.sandbox
    await running.said('started')
    const syscalls = callClasses.filter((name) => name !== 'exec')
    await sandbox.tighten({ ...stand().profile({}).controls, syscalls })
    await running.said(']')
    const { events } = running
    await until(
      () => events.map(toldOf).includes('seen/exec /work/"odd\n name denied'),
      'the last refusal',
    )
    const numbers = JSON.parse(running.stdout().split('\n').at(-2)!) as number[]
    const [own, first, second, third, script] = numbers
    const exitsSeen = () =>
      events.filter(
        ({ point, fields }) => point === 'seen/exit' && numbers.includes(Number(fields['pid'])),
      )
    await until(() => exitsSeen().length === 4, 'the exits')
    sandbox.kill({ status: 'cancelled' })
    await running.end
    for (const { trust, actor, run } of events)
      assert.deepEqual([trust, actor, run], ['guest', 'agent', 'exec_conformance'])
    const execs = events
      .filter(({ point, fields }) => point === 'seen/exec' && !fields['denied'])
      .slice(0, 5)
      .map(({ fields }) => [fields['pid'], fields['path'], fields['written'] === true])
    const busybox = '/usr/bin/busybox'
    assert.deepEqual(execs, [
      [first, busybox, false],
      [second, busybox, false],
      [third, busybox, false],
      [script, '/work/own script', true],
      [script, busybox, false],
    ])
    const exits = exitsSeen().map(({ fields }) => fields)
    assert.deepEqual(
      exits.map(({ pid, exitCode, signal }) => [pid, exitCode ?? signal]),
      [
        [first, 0],
        [second, 3],
        [third, 'SIGKILL'],
        [script, 0],
      ],
    )
    const calls = events.filter(({ point }) => point === 'seen/syscall')
    for (const { fields } of calls) assert.deepEqual([fields['pid'], fields['denied']], [own, true])
    assert.deepEqual(calls.map(toldOf), [
      'seen/syscall mount mount denied',
      'seen/syscall create raw raw-socket denied',
      'seen/syscall create vsock network denied',
    ])
    const times = events
      .filter(({ point }) => point !== 'seen/exit')
      .map(({ fields }) => Number(fields['t']))
    assert.ok(times.every((t) => t > 0))
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    )
    const told = events.map(toldOf)
    const refused = 'seen/exec /work/"odd\n name denied'
    assert.ok(told.indexOf(refused) > told.lastIndexOf('seen/syscall create vsock network denied'))
  })

  test('Attack: a flood of events is bounded, and does not end the job', async () => {
    const { end, events } = await stand().run(floods, { limits })
    assert.deepEqual([end.status, end.resultText], ['ok', '"over"'], JSON.stringify(end))
    const seconds = end.cpuTime / 1000
    assert.ok(events.length <= 200 + 50 * (2 + 20 * seconds), `${events.length} in ${seconds} s`)
    const mounts = events.filter((one) => toldOf(one) === 'seen/syscall mount mount denied')
    assert.ok(mounts.length > 1, `${mounts.length}`)
    const leftOut = events.map(({ fields }) => Number(fields['leftOut'] ?? 0))
    assert.ok(leftOut.at(-1)! > 0 || events.length < 1500, `${events.length}`)
  })

  test('A job killed by the OOM killer of its guest is reported as such by the guest too', async () => {
    const wish = {
      controls: { memory: 64 * MEBIBYTE },
      limits: { ...limits, memory: 64 * MEBIBYTE },
    }
    const fills = `import os\ndef main(input):\n    if os.fork() == 0: os._exit(0)\n    kept = []\n    while True: kept.append(bytearray(b'x') * ${MEBIBYTE})`
    const { end } = await stand().run(fills, wish)
    assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'])
  })
})

function toldOf({ point, fields }: Event): string {
  const { class: name, call, path, access, denied } = fields
  return [point, path ?? call, access ?? name, denied && 'denied'].filter(Boolean).join(' ')
}

suite('Observations of a guest of a user-mode kernel', { skip: skipKernel, timeout }, () => {
  test('Executed programs are reported, and the class "process" is closed', async () => {
    const made = await makeOwnKernelWalls(createUserKernelProvider, {}, inPython)
    try {
      const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      const source = `import os, subprocess, time\ndef main(input):\n    subprocess.run(['/bin/true'])\n    print('done', flush=True)\n    while True:\n        try: subprocess.run(['/bin/true'])\n        except BlockingIOError: return 'refused'\n        time.sleep(0.01)`
      const running = await stand.start(source, { limits })
      await using sandbox = running.sandbox
      await running.said('done')
      const execs = () => running.events.filter(({ point }) => point === 'seen/exec')
      await until(() => execs().length > 0, 'its first program')
      const { fields, trust } = execs()[0]!
      assert.deepEqual([fields['path'], trust], ['/usr/bin/busybox', 'guest'])
      const syscalls = ['exec', 'network', 'outside', 'write']
      const { controls } = stand.profile({})
      const { answers, unenforced } = await sandbox.tighten({ ...controls, syscalls })
      assert.deepEqual([answers, unenforced], [{ process: 'EAGAIN' }, []])
      assert.equal((await running.end).resultText, '"refused"')
    } finally {
      await made.provider.close?.()
      await made.close()
    }
  })
})
