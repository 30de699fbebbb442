import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Mayfly, type Box } from '../../src/index.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { test } from '../fixtures/drawn.ts'
import { copyMachineState, machineState } from '../fixtures/machine-images.ts'
import { Typist } from '../fixtures/typist.ts'
import { unable } from './process-stands.ts'
import { isQemuThere, noQemu } from './qemu-here.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Terminals in sessions: by the manager of Python, and by that of Node and shells. */
const noBubblewrap = () => unable('python') || (!existsSync('/usr/bin/bwrap') && 'bwrap is missing')
const noGvisor = () => unable('python') || (!isRunscThere() && noRunsc)
const images = await machineState()
const noImages = 'missing' in images && images.missing
const noMachines = () => (isQemuThere() ? noImages : noQemu)
const noUserKernels = () => (isUserKernelThere() ? noImages : noUserKernel)
const walls = [
  { provider: 'bubblewrap', language: 'python', skip: noBubblewrap },
  { provider: 'bubblewrap', language: 'bash', skip: noBubblewrap },
  { provider: 'embedded', language: 'python', skip: () => unable('python') },
  { provider: 'embedded', language: 'node', skip: () => unable() },
  { provider: 'gvisor', language: 'python', skip: noGvisor },
  { provider: 'gvisor', language: 'sh', skip: noGvisor },
  { provider: 'qemu', language: 'python', skip: noMachines },
  { provider: 'qemu', language: 'node', skip: noMachines },
  { provider: 'user-mode-linux', language: 'python', skip: noUserKernels },
  { provider: 'user-mode-linux', language: 'sh', skip: noUserKernels },
] as const

/**
 * Prompt of bash and of sh. gVisor also delivers a key that raised a signal, and bash rings the bell. BusyBox requests the cursor
 * position (DSR, ESC [ 6 n).
 */
const PROMPT = /[$#] (?:[^ -~]\[6n|[^ -~])*$/
/** More than a window, and far less than a flood prints in this time. */
const ON_WAY_BYTES_MAX = 2 ** 20

const everyByte = Buffer.from(Array.from({ length: 1024 }, (_, at) => at % 256))
/** gVisor signals at these keys in raw mode as well. */
const SIGNALS = [0x03, 0x1a, 0x1c]

const tries = `
import errno, fcntl, json, os
def tried(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
made = []
def many():
    for _ in range(100): made.append(os.openpty())
seen = {'own terminal': tried(lambda: os.open('/dev/tty', os.O_RDWR)), 'a hundred': tried(many)}
for name, request in (('TIOCSTI', 0x5412), ('TIOCLINUX', 0x541c), ('TIOCSETD', 0x5423), ('TIOCCONS', 0x541d)):
    seen[name] = tried(lambda: fcntl.ioctl(made[0][1], request, bytearray([3, 0, 0, 0])))
seen['made'] = len(made)
print(json.dumps(seen))
`

/** Forks on, with parents that exit at once: a process that is listed is gone before it is killed. */
const leaps = `
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
generation = 0
while True:
    # EAGAIN at the limit of processes, which are reaped later: it must not end by that.
    try: parent = os.fork()
    except OSError: continue
    if parent: os._exit(0)
    os.setpgid(0, 0)
    generation += 1
    if generation % 10 == 0:
        # Whole or not at all: it may be killed between two calls.
        with open('beat.new', 'w') as beat: beat.write(str(generation))
        os.rename('beat.new', 'beat')
`

/** Counts what it could print. */
const floods =
  'n=0; while :; do head -c 32768 /dev/urandom; n=$((n + 1)); echo $n > count; mv count beat; done'

const allowed = ['process', 'write', 'network', 'outside']
const schedules = { 'no-programs': { phases: [{ name: 'all', for: '60s', syscalls: allowed }] } }
/** Generous: emulation on a busy machine is slow. */
const slowLimits = { timeout: '60s' }
let state: string
let mayfly: Mayfly
before(async () => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-terminals-'))
  if (!noMachines() || !noUserKernels()) await copyMachineState(state)
  mayfly = await Mayfly.open({ state, schedules })
})
after(async () => {
  await mayfly.close()
  for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
})

for (const { provider, language, skip } of walls)
  suite(`A terminal in a session of ${language} behind ${provider}`, { skip: skip() }, () => {
    const open = () => mayfly.open({ language, provider, limits: { timeout: '60s' } })

    test('has a size, job control and Ctrl-C, shares the files of its session, and returns the exit code', async () => {
      await using box = await open()
      await box.files.put('kept.txt', 'of the session')
      const terminal = await box.pty({ cols: 100, rows: 30, env: { OWN: 'own' } })
      const typist = new Typist(terminal)
      await typist.shows(PROMPT)
      await typist.type(
        'tty; stty size; cat kept.txt; echo $OWN-$TERM\r',
        /\/dev\/pts\/\d+\r\n30 100/,
      )
      await typist.shows(/of the session/)
      await typist.shows(/own-xterm-256color/)
      // In gVisor a shell that changes the mode loses type-ahead.
      await typist.shows(PROMPT)
      terminal.resize({ cols: 50, rows: 10 })
      await typist.type('stty size\r', /10 50/)
      await typist.shows(PROMPT)
      // Printed by the job itself, so it is in the foreground by then: an earlier key would reach only the shell.
      await typist.type('sh -c "echo begun; exec sleep 1000"\r', /begun\r\n/)
      await typist.press('\x03', PROMPT)
      await typist.type('echo code-$?\r', /code-130/)
      await typist.shows(PROMPT)
      await typist.type('sleep 1000 &\r', PROMPT)
      await typist.type('jobs\r', /Running/)
      await typist.shows(PROMPT)
      await typist.type('fg\r', /sleep 1000\r\n/)
      await typist.press('\x1a', /Stopped/)
      await typist.shows(PROMPT)
      await typist.type(
        'echo from-$((20+1)) > made.txt; kill -9 %1; exec sh -c "exit 7"\r',
        /exit 7/,
      )
      const { status, exitCode, metrics } = await terminal.exited
      await typist.read
      assert.deepEqual([status, exitCode], ['error', 7])
      assert.deepEqual(metrics.terminal?.exitCode, 7)
      assert.equal(Buffer.from(await box.files.get('made.txt')).toString(), 'from-21\n')
    })

    test('passes all bytes unchanged, in both directions', async () => {
      const ringing =
        provider === 'gvisor' ? everyByte.filter((byte) => !SIGNALS.includes(byte)) : everyByte
      await using box = await open()
      const script = `stty raw -echo; printf ready; head -c ${ringing.length} > copy; cat copy; printf over`
      const terminal = await box.pty({ command: ['sh', '-c', script] })
      const typist = new Typist(terminal)
      await typist.shows(/ready/)
      const echoed = await typist.type(ringing, /[^]*over/)
      assert.deepEqual(Buffer.from(echoed, 'latin1').subarray(0, -4), Buffer.from(ringing))
      assert.equal((await terminal.exited).status, 'ok')
      assert.deepEqual(Buffer.from(await box.files.get('copy')), Buffer.from(ringing))
    })

    test('a close ends its processes, also those that ignore SIGHUP, and no others of the session', async () => {
      await using box = await open()
      await box.run({ command: '(setsid sleep 3001 >/dev/null 2>&1 &)' })
      const other = new Typist(await box.pty())
      const far = 'setsid sh -c "echo begun; exec sleep 3004"'
      const script = `trap "" HUP TERM; sleep 3002 & sleep 3003 & ${far} & wait`
      const terminal = await box.pty({ command: ['sh', '-c', script] })
      await new Typist(terminal).shows(/begun/)
      await until(box, (all) => /^sleep 3002 $/m.test(all) && /^sleep 3003 $/m.test(all))
      const closing = terminal.close()
      // On its way while the program, which ignores SIGHUP, still runs.
      terminal.resize({ cols: 50, rows: 10 })
      assert.equal((await closing).status, 'cancelled')
      await until(box, (all) => !/sleep 300[23]/.test(all))
      const left = await running(box)
      assert.match(left, /sleep 3001/)
      assert.match(left, /sleep 3004/)
      await other.type('echo still-$((1+1))\r', /still-2/)
      const outcome = await box.close()
      assert.equal(outcome.status, 'ok')
      assert.equal((await other.terminal.exited).error?.code, 'SESSION_ENDED')
      await assert.rejects(box.pty(), { code: 'SESSION_ENDED' })
    })

    test('a close ends a program that forks on in its session, each time into a new group', async (t) => {
      if (provider === 'qemu' || provider === 'user-mode-linux')
        return t.skip('its image for Node has no Python')
      await despiteStorms(async () => {
        const limits = { timeout: '60s', processes: 300, memory: '256MB' }
        await using box = await mayfly.open({ language, provider, limits, timeout: '20m' })
        // Processes that are listed before it: reading these takes longer than one generation lives.
        await box.run({
          command: 'for n in $(seq 200); do setsid sleep 3006 >/dev/null 2>&1 & done',
        })
        const sleepersIn = (names: string) => names.match(/^sleep$/gm)?.length
        await until(box, (names) => sleepersIn(names) === 200, namesOf)
        await box.files.put('leap.py', leaps)
        const command = [
          'sh',
          '-c',
          'python3 leap.py & while ! [ -e beat ]; do sleep 0.1; done; echo begun; wait; cat',
        ]
        const terminal = await box.pty({ command })
        await new Typist(terminal).shows(/begun/)
        const isForking = async () => (await readBeat(box)) !== before
        const before = await readBeat(box)
        for (let tries = 0; !(await isForking()); tries++)
          assert.ok(tries < 100, 'it forks no more')
        assert.equal(sleepersIn(await namesOf(box)), 200)
        await terminal.close()
        await untilStill(box)
      })
    })

    test('a flood without a reader blocks, and delays neither the session nor another terminal', async () => {
      await using box = await open()
      const flood = await box.pty({ command: floods })
      await untilStill(box)
      const other = new Typist(await box.pty())
      await other.shows(PROMPT)
      const outcome = await box.run({ command: 'echo beside' })
      assert.equal(outcome.stdout, 'beside\n')
      await other.type('echo beside-$((1+1))\r', /beside-2/)
      flood.kill('SIGINT')
      let bytes = 0
      for await (const chunk of flood.readable) bytes += chunk.length
      const { signal, metrics } = await flood.exited
      assert.equal(signal, 'SIGINT')
      assert.deepEqual(metrics.terminal?.sent, bytes)
      assert.ok(bytes > 0 && bytes < ON_WAY_BYTES_MAX, `${bytes} bytes arrived without a reader`)
    })

    test('a session has at most four, and none after a phase closed exec', async () => {
      await using box = await open()
      const all = await Promise.all([1, 2, 3, 4].map(() => box.pty({ command: 'sleep 1000' })))
      await assert.rejects(box.pty(), { code: 'OVERLOADED' })
      await all[0]!.close()
      await (
        await box.pty({ command: 'true' })
      ).exited
      await box.tighten({ processes: 1 })
      await assert.rejects(box.pty(), { code: 'CONFLICT' })
    })
  })

suite('Terminals of a session whose phase allows no programs', { skip: noBubblewrap() }, () => {
  for (const provider of ['bubblewrap', 'embedded'])
    always(`behind ${provider} there is none, and its cells go on`, async () => {
      await using box = await mayfly.open({ language: 'python', provider, schedule: 'no-programs' })
      await assert.rejects(box.pty(), { code: 'CONFLICT', message: /a phase closed/ })
      assert.equal((await box.run({ code: '1 + 1' })).result, 2)
      const { status, stdout } = await box.run({ command: 'echo started' })
      assert.deepEqual([status, stdout], ['error', ''])
    })
})

suite('Hostile programs in terminals', { skip: noBubblewrap() }, () => {
  for (const provider of ['bubblewrap', 'embedded'])
    always(`a program behind ${provider} makes sixteen at most, and types into none`, async () => {
      const { stdout, stderr } = await mayfly.run({ code: tries, language: 'python', provider })
      const { made, ...seen } = JSON.parse(stdout || `"${stderr}"`)
      const refused = {
        TIOCSTI: 'ENOTTY',
        TIOCLINUX: 'ENOTTY',
        TIOCSETD: 'ENOTTY',
        TIOCCONS: 'ENOTTY',
      }
      assert.deepEqual(seen, { 'own terminal': 'ENXIO', 'a hundred': 'ENOSPC', ...refused })
      assert.equal(made, 16)
    })

  for (const [provider, skip] of [
    ['qemu', noMachines()],
    ['user-mode-linux', noUserKernels()],
  ] as const)
    always(
      `a program behind ${provider} opens sixteen at most, injects input into none, and loads no line discipline`,
      { skip },
      async () => {
        const asked = { language: 'python', provider, limits: slowLimits } as const
        const { status, error, stdout, stderr } = await mayfly.run({ ...asked, code: tries })
        assert.equal(status, 'ok', JSON.stringify([error, stderr]))
        const { made, ...seen } = JSON.parse(stdout)
        // Errors of the guest's own kernel: no seccomp filter of this machine applies to its programs.
        const refused = {
          TIOCSTI: 'EIO',
          TIOCLINUX: 'ENOTTY',
          TIOCSETD: 'EPERM',
          TIOCCONS: 'EPERM',
        }
        assert.deepEqual(seen, { 'own terminal': 'ENXIO', 'a hundred': 'ENOSPC', ...refused })
        assert.equal(made, 16)
        await using box = await mayfly.open(asked)
        const own = 'import fcntl; fcntl.ioctl(0, 0x5412, b"x")'
        const terminal = await box.pty({ command: ['python3', '-c', own] })
        await new Typist(terminal).shows(/Errno 5/)
        assert.equal((await terminal.exited).exitCode, 1)
      },
    )
})

/** Tries again, at most three times, when the detector of fork storms has ended the session, which is near its limit. */
async function despiteStorms(work: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      return await work()
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : ''
      if (tries === 3 || !/anomaly high: \d+ more processes/.test(message)) throw thrown
    }
}

/** Resolves once a program has written its file `beat`, and writes it no more. */
async function untilStill(box: Box): Promise<void> {
  let seen = ''
  for (let [tries, still] = [0, 0]; still < 3; tries++) {
    assert.ok(tries < 200, `it runs on: ${seen}`)
    await sleep(200)
    const beat = await readBeat(box)
    still = beat !== '' && beat === seen ? still + 1 : 0
    seen = beat
  }
}

async function readBeat(box: Box): Promise<string> {
  return (await box.run({ command: 'cat beat 2>/dev/null || :' })).stdout
}

async function running(box: Box): Promise<string> {
  const look = 'for at in /proc/[0-9]*; do tr "\\0" " " < $at/cmdline; echo; done 2>/dev/null'
  return (await box.run({ command: look })).stdout
}

/** Names of its processes, which the shell lists alone: beside a fork storm it may start none. */
async function namesOf(box: Box): Promise<string> {
  const look =
    'for at in /proc/[0-9]*; do read -r name < $at/comm && echo "$name"; done 2>/dev/null'
  return (await box.run({ command: look })).stdout
}

async function until(
  box: Box,
  holds: (all: string) => boolean,
  look: (box: Box) => Promise<string> = running,
): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (holds(await look(box))) return
    await sleep(100)
  }
  assert.fail(`Not so: ${String(holds)}, with ${await look(box)}`)
}

/** The manager's side alone: its child gets a session of its own only after the signal was sent. */
const EARLY = `
import os, sys
sys.path.insert(0, sys.argv[1])
import mayfly_terminal
class Manager:
    work = '/'
own = os.setsid
for name in ('SIGTERM', 'SIGINT', 'SIGKILL'):
    heard, sent = os.pipe()
    os.setsid = lambda: (os.read(heard, 1), own())
    asked = {'cols': 80, 'rows': 24, 'term': 'xterm', 'command': ['touch', sys.argv[2]]}
    terminal = mayfly_terminal._Terminal('one', asked, Manager())
    terminal.signal(name)
    os.write(sent, b'.')
    print(name, os.WTERMSIG(os.waitpid(terminal.pid, 0)[1]))
`

always(
  'A signal to a terminal of Python ends its program also before that has a group',
  { skip: unable('python') },
  () => {
    const guest = join(import.meta.dirname, '../../guest/process')
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-early-'))
    try {
      const touched = join(folder, 'touched')
      const args = ['-B', '-c', EARLY, guest, touched]
      const { stdout, stderr } = spawnSync('python3', args, { encoding: 'utf8' })
      assert.equal(stdout, 'SIGTERM 15\nSIGINT 2\nSIGKILL 9\n', stderr)
      assert.ok(!existsSync(touched))
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
