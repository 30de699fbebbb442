import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import path from 'node:path'
import type { AgentMessageOf } from '../../src/agent-wire/decode.ts'
import type { AgentZoneLimits } from '../../src/agent-wire/encode.ts'
import { machineBoot } from '../../src/images/machine.ts'
import { imageFolder } from '../../src/images/store.ts'
import { signerFolder } from '../../src/lib/state-folder.ts'
import { imageKey } from '../../src/warden/image-signer.ts'
import { noMachines } from '../conformance/microvm.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { PlayedMachine } from '../fixtures/machine.ts'

/** Zones of programs that the agent of a machine makes, with programs that try to leave theirs. */
const timeout = 900_000
const MiB = 2 ** 20
const { EAGAIN, ELOOP, EPERM, ESRCH } = constants.errno

/** Rules, by the name of their program; each program is a script in /tmp. */
const rules: Readonly<Record<string, AgentZoneLimits>> = {
  small: { memory: 24 * MiB },
  large: { memory: 96 * MiB },
  few: { processes: 6 },
  slow: { cpu: 100 },
  inner: { memory: 16 * MiB },
  'any-*': {},
}
const numbers = [...Object.keys(rules), 'python3']

/** Functions of the scripts: fill memory, and say a line. */
const prelude = `#!/usr/bin/python3
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def fill(mebibytes):
    kept = []
    for _ in range(mebibytes): kept.append(bytearray(b'x') * ${MiB})
    return kept
def say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())
def until(path):
    while not os.path.exists(path): time.sleep(0.1)
def group(pid='self'): return open('/proc/%s/cgroup' % pid).read().strip()
`

suite('Zones of programs in a guest', { skip: noMachines, timeout }, () => {
  let machine: PlayedMachine
  before(async () => {
    machine = await PlayedMachine.boot(await bootOf())
    machine.send({
      kind: 'claim',
      id: 'job-1',
      seed: Buffer.alloc(32, 1),
      timeNs: 1_900_000_000_000_000_000n,
      limits: {},
      memory: 150 * MiB,
      hostname: 'clone-1',
      labels: {},
    })
    await machine.find('claimed')
    for (const [name, limits] of Object.entries(rules))
      assert.equal(await ask({ kind: 'rule', programs: [name], limits }), 0)
  })
  after(async () => {
    await machine.off()
    assert.equal(machine.fault, undefined)
  })

  async function ask(
    question:
      | {
          readonly kind: 'rule'
          readonly programs: readonly string[]
          readonly limits: AgentZoneLimits
        }
      | { readonly kind: 'bound'; readonly zone: number; readonly limits: AgentZoneLimits }
      | { readonly kind: 'finish'; readonly zone: number },
  ): Promise<number> {
    const nonce = machine.nonce()
    machine.send({ ...question, nonce })
    return (await machine.find('zoned', (one) => one.nonce === nonce)).errno
  }

  /** Writes scripts as files of /tmp, and runs a shell script in the job's cgroup, as the user of the job. */
  const run = (scripts: Readonly<Record<string, string>>, shell: string) => {
    const files = Object.entries(scripts).map(
      ([name, code]) =>
        `cat > /tmp/${name} <<'END'\n${prelude}${code}\nEND\nchmod 755 /tmp/${name}\n`,
    )
    const script = `echo 0 >&4; cd /tmp\n${files.join('')}${shell}`
    const user = { uid: 1000, gid: 1000, descriptors: [{ number: 4, name: 'group' }] }
    return machine.outputOf(script, user)
  }

  type Zone = AgentMessageOf<'zone'>
  const zonesSince = (at: number): readonly Zone[] =>
    machine.messages.slice(at).filter((one) => one.kind === 'zone')
  const here = () => machine.messages.length
  const told = (zones: readonly Zone[]) => {
    const ids = zones.flatMap((one) => (one.what === 'began' ? [one.zone] : []))
    const at = (id: number) => (id === 0 ? 0 : ids.indexOf(id) + 1)
    return zones.map((one) =>
      one.what === 'gone'
        ? ['gone', at(one.zone), one.isOutOfMemory]
        : one.what === 'began'
          ? ['began', at(one.zone), numbers[one.rule], at(one.outer), one.path]
          : ['refused', numbers[one.rule], at(one.outer), one.errno],
    )
  }
  const allGone = async (since: number, count: number) =>
    await machine.until(
      () => zonesSince(since).filter(({ what }) => what === 'gone').length === count,
      `${count} zones to be gone`,
    )

  test('S2-7: two zones run at once with limits of their own; the one over its memory ends alone, and the job continues', async () => {
    const since = here()
    const said = await run(
      {
        small: `say('small', group())\nfill(60)\nsay('too much')`,
        large: `say('large', group())\nkept = fill(60)\nuntil('/tmp/over')\nsay('large is done')\nfill(60)\nsay('more than its own')`,
      },
      `./large & ./small; echo $?; touch /tmp/over; wait; echo on`,
    )
    await allGone(since, 2)
    assert.match(said, /^large is done$/m)
    assert.match(said, /^137$/m)
    assert.doesNotMatch(said, /too much|more than its own/)
    assert.match(said, /on\n$/)
    for (const name of ['small', 'large'])
      assert.match(said, new RegExp(`^${name} 0::/job/z\\d+/own$`, 'm'))
    const zones = told(zonesSince(since))
    const begun = zones.filter(([what]) => what === 'began').map((one) => one.slice(2).join(' '))
    assert.deepEqual(begun.toSorted(), ['large 0 /tmp/large', 'small 0 /tmp/small'])
    const ends = zonesSince(since).filter((one) => one.what === 'gone')
    assert.deepEqual(
      ends.map(({ isOutOfMemory }) => isOutOfMemory),
      [true, true],
    )
    // The kernel charges some pages beyond `memory.max` rather than fail, as to a process that it kills: 1 was seen.
    const [small, large] = ends.map(({ peakBytes }) => peakBytes / MiB)
    assert.ok(large! > 60 && large! < 97, `${large} MiB`)
    assert.ok(small! < 25, `${small} MiB`)
  })

  const ways: readonly (readonly [title: string, code: string])[] = [
    [
      'forks twice into a session of its own',
      `if os.fork(): time.sleep(20); os._exit(0)
os.setsid()
if os.fork(): os._exit(0)`,
    ],
    [
      'renames itself and its thread',
      `libc.prctl(15, b'innocent', 0, 0, 0)
open('/proc/self/comm', 'w').write('innocent')
if len(sys.argv) < 2:
    os.rename('/tmp/small', '/tmp/innocent')
    os.execv('/tmp/innocent', ['innocent', 'again'])`,
    ],
    [
      'executes /proc/self/exe',
      `if len(sys.argv) < 2: os.execv('/proc/self/exe', ['other', '/tmp/small', 'again'])`,
    ],
    [
      'executes a file of memory',
      `if len(sys.argv) < 2:
    memory = os.memfd_create('own', 0)
    os.write(memory, open('/proc/self/exe', 'rb').read())
    os.execve(memory, ['other', '/tmp/small', 'again'], {'PYTHONHOME': '/usr'})`,
    ],
    [
      'executes a deleted copy of the interpreter',
      `if len(sys.argv) < 2:
    import shutil
    shutil.copy('/proc/self/exe', '/tmp/copy')
    file = os.open('/tmp/copy', os.O_RDONLY)
    os.unlink('/tmp/copy')
    os.execve(file, ['other', '/tmp/small', 'again'], {'PYTHONHOME': '/usr'})`,
    ],
    ['starts a program of another zone', `if len(sys.argv) < 2: os.execv('/tmp/large', ['large'])`],
    [
      'is started by a thread that is not the first',
      `if len(sys.argv) < 2:
    import threading
    threading.Thread(target=lambda: os.execv('/tmp/innocent', ['innocent'])).start()
    time.sleep(20)`,
    ],
    [
      'looks for the files of its cgroup',
      `for way in ('/sys/fs/cgroup', '/groups', '/proc/1/root/groups', '/proc/self/root/groups'):
    try: open(way + '/job/own/cgroup.procs', 'w').write('0')
    except OSError: pass
libc.mount(b'none', b'/tmp', b'cgroup2', 0, None)
libc.unshare(0x02000000)`,
    ],
  ]
  for (const [title, way] of ways)
    test(`Attack: a program that ${title} gets no more than its zone`, async () => {
      const since = here()
      const leak = `say('escaped', group()) if '/z' not in group() else say('fills')\nfill(60)\nsay('too much')`
      const said = await run(
        { small: `${way}\n${leak}`, large: leak, innocent: leak },
        `./small; rm -f /tmp/innocent; echo on`,
      )
      await machine.until(() => zonesSince(since).some(({ what }) => what === 'gone'), 'an end')
      await machine.until(
        () =>
          zonesSince(since).filter(({ what }) => what === 'gone').length ===
          zonesSince(since).filter(({ what }) => what === 'began').length,
        'the end of all zones',
      )
      assert.equal(said, 'fills\non\n')
      const zones = told(zonesSince(since))
      assert.deepEqual(zones[0], ['began', 1, 'small', 0, '/tmp/small'])
      assert.deepEqual(zones.at(-1), ['gone', 1, true])
    })

  test('A zone within a zone has the limits of both, and ends with the outer one', async () => {
    const since = here()
    const said = await run(
      {
        large: `say(group())\nos.system('./inner')\nif os.fork() == 0: os.execv('/tmp/inner', ['inner', 'stays'])
until('/tmp/stays')\nfill(120)`,
        inner: `say(group())\nif len(sys.argv) > 1:\n    open('/tmp/stays', 'w').close()\n    time.sleep(600)\nfill(20)`,
      },
      `./large; echo $?`,
    )
    await allGone(since, 3)
    assert.match(said, /^0::\/job\/z(\d+)\/own\n0::\/job\/z\1\/z\d+\/own\n/)
    assert.match(said, /137\n$/)
    assert.deepEqual(told(zonesSince(since)), [
      ['began', 1, 'large', 0, '/tmp/large'],
      ['began', 2, 'inner', 1, '/tmp/inner'],
      ['gone', 2, true],
      ['began', 3, 'inner', 1, '/tmp/inner'],
      ['gone', 3, true],
      ['gone', 1, true],
    ])
  })

  test('A zone gets no more processes than its limit, and the rest of the job forks on', async () => {
    const since = here()
    const forks = `made = 0
try:
    while made < 40:
        if os.fork() == 0: time.sleep(60)
        made += 1
except BlockingIOError: pass
say('forked', made)
os.killpg(0, 9)`
    const said = await run(
      { few: `os.setsid()\n${forks}`, innocent: `os.setsid()\n${forks}` },
      './few; ./innocent; echo on',
    )
    await allGone(since, 1)
    assert.equal(said, 'forked 5\nforked 40\non\n')
  })

  test('The CPU time of a zone is limited, and that of the rest is not', async () => {
    const since = here()
    const burns = `end, used = time.monotonic() + 3, time.process_time()
while time.monotonic() < end: pass
say(os.path.basename(sys.argv[0]), int((time.process_time() - used) * 1000))`
    const said = await run({ slow: burns, innocent: burns }, './slow & ./innocent; wait')
    await allGone(since, 1)
    const [slow, rest] = ['slow', 'innocent'].map((name) =>
      Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(said)![1]),
    )
    assert.ok(slow! < 700 && rest! > 2 * slow!, said)
  })

  test('A live zone is tightened and never loosened, ended by order, and reported once', async () => {
    const since = here()
    const stays = `say('alive')\ntime.sleep(1000)`
    const program = run({ large: stays }, './large')
    await machine.find('output', ({ bytes }) => bytes.includes('alive'))
    const { zone } = zonesSince(since)[0]!
    const limits = { memory: 64 * MiB, cpu: 500, processes: 3 }
    assert.equal(await ask({ kind: 'bound', zone, limits }), 0)
    assert.equal(await ask({ kind: 'bound', zone, limits: { memory: 90 * MiB, cpu: 900 } }), 0)
    const read = `mkdir -p /run/c && mount -t cgroup2 c /run/c && cd /run/c/job/z${zone} && cat memory.max cpu.max pids.max`
    assert.equal(
      await machine.outputOf(`${read}; cd /; umount /run/c`),
      `${64 * MiB}\n50000 100000\n3\n`,
    )
    assert.equal(await ask({ kind: 'finish', zone }), 0)
    await allGone(since, 1)
    assert.equal(await program, 'alive\n')
    assert.equal(await ask({ kind: 'finish', zone }), ESRCH)
    assert.equal(await ask({ kind: 'bound', zone, limits }), ESRCH)
    assert.deepEqual(told(zonesSince(since)).at(-1), ['gone', 1, false])
  })

  test('Beyond the number of zones an exec is refused, no zone is left afterwards, and the next one begins', async () => {
    const since = here()
    const scripts = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [
        `any-${index}`,
        `say('up')\nopen('/tmp/up-${index}', 'w').close()\ntime.sleep(1000)`,
      ]),
    )
    const said = await run(
      scripts,
      `for n in $(seq 0 19); do /tmp/any-$n & done; until [ $(ls /tmp/up-* | wc -l) = 16 ]; do sleep 1; done; kill -9 $(jobs -p); wait; echo over`,
    )
    const zones = zonesSince(since)
    assert.equal(zones.filter(({ what }) => what === 'began').length, 16, said)
    assert.equal(said.split('\n').filter((line) => line === 'up').length, 16)
    const refused = zones.flatMap((one) => (one.what === 'refused' ? [one.errno] : []))
    assert.deepEqual(refused, [EAGAIN, EAGAIN, EAGAIN, EAGAIN])
    await allGone(since, 16)
    const look = `mkdir -p /run/c && mount -t cgroup2 c /run/c && ls -d /run/c/job/*/; umount /run/c`
    assert.equal(await machine.outputOf(look), '/run/c/job/own/\n')
    const again = here()
    await run({ 'any-more': `say('up')` }, './any-more')
    await allGone(again, 1)
  })

  test('A program that would be in a seventh nested zone does not start, and six end with it', async () => {
    const depths = [1, 2, 3, 4, 5, 6, 7]
    for (const depth of depths)
      assert.equal(await ask({ kind: 'rule', programs: [`deep-${depth}`], limits: {} }), 0)
    const since = here()
    const scripts = depths.map((depth) => [
      `deep-${depth}`,
      `say(${depth}, group().count('/z'))
try: os.posix_spawn('/tmp/deep-${depth + 1}', ['deep'], {}) and os.wait()
except OSError as error: say(error.errno)`,
    ])
    const said = await run(Object.fromEntries(scripts) as Record<string, string>, './deep-1')
    await allGone(since, 6)
    assert.equal(said, `1 1\n2 2\n3 3\n4 4\n5 5\n6 6\n${EPERM}\n`)
    const zones = zonesSince(since)
    const refused = zones.flatMap((one) => (one.what === 'refused' ? [one.errno] : []))
    assert.deepEqual([zones.length, refused], [13, [ELOOP]])
  })

  test('A name that is a link names the file that it leads to', async () => {
    assert.equal(await ask({ kind: 'rule', programs: ['python3'], limits: {} }), 0)
    const since = here()
    const said = await run({}, `python3 -c 'print(open("/proc/self/cgroup").read())'; echo on`)
    await allGone(since, 1)
    assert.match(said, /^0::\/job\/z\d+\/own\n/)
  })
})

async function bootOf() {
  const [state, agent] = [await machineState(), await openOwnProgram('agent')]
  if ('missing' in state || 'missing' in agent) throw new Error('no machine can be booted')
  return machineBoot({
    store: imageFolder(state.state),
    folder: bootFolder,
    key: imageKey(signerFolder(state.state)),
    image: 'python',
    agent: readFileSync(agent.file),
  })
}

const bootFolder = mkdtempSync(path.join(tmpdir(), 'mayfly-guest-zones-'))
after(() => rmSync(bootFolder, { recursive: true, force: true }))
