import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { suite } from 'node:test'
import type { Readable } from 'node:stream'
import { composeBubblewrap } from '../../src/jail/bubblewrap.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { reopen } from '../../src/jail/c-program.ts'
import { takeSlot } from '../../src/warden/slots.ts'
import { pythonProgram } from '../../src/jail/whole-guests.ts'
import { maskedProc } from '../../src/jail/whole.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { program } from './sentinel-stand.ts'
import { openWhole } from './whole-wall.ts'

/**
 * Masks over /proc in walls of bubblewrap: the sentinel's program makes them with capabilities that nothing has afterwards,
 * and they are those that bubblewrap makes where there is no launcher.
 */
const skip = !findJailFacts().namespaces
  ? 'namespaces are forbidden here'
  : !findProgram('bwrap')
    ? 'bwrap is missing'
    : noCompiler
const { folders, files } = maskedProc()
const masks = [...folders, ...files]
const NO_CAPABILITIES = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(
  (name) => `${name}:\t${'0'.repeat(16)}`,
)
/** Bits 8 and 21: CAP_SETPCAP and CAP_SYS_ADMIN. */
const BOUND_OF_PROCESS_1 = `CapBnd:\t${(2 ** 8 + 2 ** 21).toString(16).padStart(16, '0')}`
const MNT_DETACH = 2

/** Prints every mask as seen by the guest: type, mode, owner, mount options, content, and permitted operations. */
const looks = `
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
def said(act):
    try: return repr(act())
    except OSError as error: return errno.errorcode[error.errno]
def called(name, *args):
    ctypes.set_errno(0)
    return [getattr(libc, name)(*args), errno.errorcode.get(ctypes.get_errno())]
def read(at):
    with open(at, 'rb') as file: return file.read(1)
def write(at):
    with open(at, 'wb') as file: return file.write(b'x')
options = {line.split()[4]: line.split()[5] for line in open('/proc/self/mountinfo')}
seen = {}
for at in ${JSON.stringify(masks)}:
    facts = os.stat(at)
    seen[at] = {
        'mode': oct(facts.st_mode), 'owner': [facts.st_uid, facts.st_gid], 'options': options.get(at),
        'list': said(lambda: os.listdir(at)), 'read': said(lambda: read(at)), 'write': said(lambda: write(at)),
        'make': said(lambda: os.mkdir(at + '/made')), 'remove': said(lambda: os.rmdir(at)),
        'chmod': said(lambda: os.chmod(at, 0o777)),
        'umount': called('umount2', at.encode(), ${MNT_DETACH}),
        'remount': called('mount', None, at.encode(), None, 32 | 4096, None),
        'bind': called('mount', b'/work', at.encode(), None, 4096, None),
        'still': os.path.ismount(at),
    }
seen['namespace'] = called('unshare', 0x10000000 | 0x20000)
seen['umount /proc'] = called('umount2', b'/proc', ${MNT_DETACH})
seen['capabilities'] = [line for line in open('/proc/self/status').read().splitlines() if line.startswith('Cap')]
print(json.dumps(seen))
`

/** Compiled before the first wall, which otherwise uses the system's programs. */
const launcher = skip ? undefined : await openOwnProgram('launcher')

suite('Masks over /proc', { skip, concurrency: 1 }, () => {
  test('made by the sentinel they equal those of bubblewrap, also in the operations that a guest may do', async () => {
    const [entered, bound] = [await seenWith([]), await seenWith(['launcher'])]
    assert.deepEqual(entered, bound)
    for (const at of masks) {
      const { list, read, write, options, umount, remount, bind, still } = entered[at]
      const isFolder = folders.includes(at)
      assert.equal(list, isFolder ? '[]' : 'ENOTDIR', at)
      assert.match(read, isFolder ? /^EISDIR$/ : /^(b''|EACCES)$/, at)
      assert.match(write, /^E/, at)
      assert.match(options, /^ro,nosuid,nodev/, at)
      for (const call of [umount, remount, bind]) assert.deepEqual(call, [-1, 'EPERM'], at)
      assert.equal(still, true, at)
    }
    for (const call of ['namespace', 'umount /proc']) assert.deepEqual(entered[call], [-1, 'EPERM'])
    assert.deepEqual(entered.capabilities, NO_CAPABILITIES)
  })

  test('no process of the wall has capabilities once its program runs; process 1 has two in its bounding set only', async () => {
    await using whole = await openWhole()
    const wall = await whole.start('python', 'bubblewrap')
    const all = wall.processes().map((one) => one.split(' ')[0]!)
    const statuses = all.map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'))
    assert.ok(statuses.length >= 2)
    for (const status of statuses) {
      const set = status.split('\n').filter((row) => /^Cap(Inh|Prm|Eff|Amb)/.test(row))
      assert.deepEqual(
        set,
        NO_CAPABILITIES.filter((row) => !row.startsWith('CapBnd')),
      )
    }
    // Process 1 never execs, and would gain nothing from a file (no_new_privs).
    const first = statuses.find((status) => /^NSpid:.*\t1$/m.test(status))!
    assert.ok(first.split('\n').includes(BOUND_OF_PROCESS_1))
    assert.match(first, /^NoNewPrivs:\t1$/m)
  })

  test('a guest that runs the mask program again is refused, and /proc is unchanged', async () => {
    await using whole = await openWhole()
    const wall = await whole.start('python', 'bubblewrap')
    await wall.claim()
    wall.run(`
import subprocess
for step in (['mask', '2', '/usr', '/proc/sys'], ['mask', '1', '/proc/sys']):
    ran = subprocess.run(['/opt/mayfly/sentinel', 'enter', *step, '/bin/echo', 'echo', 'became'], capture_output=True)
    print(ran.returncode != 0, ran.stdout)
import os
print(sorted(os.listdir('/proc/sys')))`)
    await wall.end()
    assert.equal(wall.said.stdout, "True b''\nTrue b''\n['fs', 'kernel', 'net', 'vm']\n")
  })

  const failures: readonly (readonly [title: string, steps: readonly string[], said: RegExp])[] = [
    [
      'a missing mask target',
      ['mask', '3', '/proc/bus', '/proc/fs', '/proc/nowhere'],
      /mask \/proc\/nowhere: No such file/,
    ],
    ['a missing source', ['mask', '2', '/nowhere', '/proc/fs'], /mask \/proc\/fs: No such file/],
    [
      'a writable source',
      ['mask', '2', '/work', '/proc/fs'],
      /mask \/proc\/fs: Operation not permitted/,
    ],
    ['a count that is no number', ['mask', 'x', '/proc/bus', '/proc/fs'], /count masks/],
    ['a count beyond its arguments', ['mask', '60', '/proc/bus', '/proc/fs'], /count masks/],
    ['no program after the masks', ['mask', '2', '/proc/bus', '/proc/fs'], /no program/],
  ]
  for (const [title, steps, said] of failures)
    test(`${title}: the wall does not start, with the reason`, async () => {
      const rest = title.startsWith('no ') ? [] : ['/bin/sh', 'sh', '-c', 'echo ran']
      const started = await enterWall((args) => [
        ...args.slice(0, args.indexOf('enter') + 1),
        ...steps,
        ...rest,
      ])
      assert.match(started.said, said)
      assert.doesNotMatch(started.out, /ran/)
      assert.notEqual(started.code, 0)
    })

  for (const name of ['CAP_SYS_ADMIN', 'CAP_SETPCAP'])
    test(`without ${name} for the masks the wall does not start`, async () => {
      const started = await enterWall((args) => {
        const at = args.indexOf(name)
        return [...args.slice(0, at - 1), ...args.slice(at + 1)]
      })
      assert.match(
        started.said,
        /^Esentinel: (mask|empty the bounding set).*Operation not permitted/,
      )
    })
})

/** A wall as the warden composes it, with other arguments, whose seccomp listener is not received. */
async function enterWall(change: (args: readonly string[]) => readonly string[]) {
  const sentinel = await program()
  assert.ok(launcher && 'fd' in launcher)
  using slot = freeSlot()
  const data = reopen(sentinel)
  try {
    const options = { uid: slot.uid, without: [], sentinel, hasLauncher: true }
    const made = composeBubblewrap(
      pythonProgram({ scratchBytes: 2 ** 20 }),
      findJailFacts(),
      options,
    )!
    const kinds = [
      'ignore',
      'pipe',
      'ignore',
      'ignore',
      'pipe',
      'ignore',
      'pipe',
      'ignore',
      'pipe',
    ] as const
    const child = spawn(made.file, withCounts(change(made.args)), {
      cwd: '/',
      env: {},
      stdio: [...kinds, data, launcher.fd],
    })
    const ended = new Promise<number | null>((resolve) => void child.once('exit', resolve))
    for (const stream of child.stdio) stream?.on('error', () => undefined)
    const [out, said] = await Promise.all([text(child.stdout!), text(child.stdio[4] as Readable)])
    return { out, said, code: await ended }
  } finally {
    closeSync(data)
  }
}

/** Argument count of the launcher's last step. */
function withCounts(args: readonly string[]): readonly string[] {
  const at = args.lastIndexOf('exec')
  return [...args.slice(0, at + 1), `${args.length - at - 2}`, ...args.slice(at + 2)]
}

function freeSlot() {
  const slot = findJailFacts().root ? takeSlot() : undefined
  return { uid: slot?.uid, [Symbol.dispose]: () => slot?.release() }
}

async function seenWith(hide: readonly string[]): Promise<any> {
  await using whole = await openWhole({ hide })
  const wall = await whole.start('python', 'bubblewrap')
  assert.ok(wall.started.wall.layers.includes('sentinel'))
  await wall.claim()
  wall.run(looks)
  await wall.end()
  assert.equal(wall.said.stderr, '')
  return JSON.parse(wall.said.stdout)
}
