import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { messageIn, Stand, type GuestLanguage } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'

/** Programs that use up their scratch space or their processes, by the counts of this kernel and not by what they print. */

interface Case {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: string
  readonly ends: readonly [status: string, code: string | undefined]
  readonly counts?: 'pids'
  readonly says?: string
  /** Exit code of a program that ended by itself. */
  readonly exitCode?: number
  readonly timeout?: number
}

const full: Case['ends'] = ['limit', 'DISK']
const crowded: Case['ends'] = ['limit', 'PROCESSES']
const inFile = `f = open('/work/big', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
const forks = `import os, time
for n in range(40):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)`

const cases: readonly Case[] = [
  { name: 'Python fills it', of: inPython, code: `${inFile}\nfinally: pass`, ends: full },
  {
    name: 'Python fills it, and exits without a report',
    of: inPython,
    code: `import os\n${inFile}\nexcept OSError: os._exit(3)`,
    ends: full,
    exitCode: 3,
  },
  {
    name: 'Python fills it, and exits with a code of its own',
    of: inPython,
    code: `${inFile}\nexcept OSError: raise SystemExit(6)`,
    ends: full,
    exitCode: 6,
  },
  {
    name: 'Node fills it',
    of: inNode,
    code: `import { appendFileSync } from 'node:fs'\ntry { for (;;) appendFileSync('big', Buffer.alloc(1 << 20)) } catch { process.exit(3) }`,
    ends: full,
    exitCode: 3,
  },
  {
    name: 'a child of a shell fills it',
    of: inShell,
    code: 'dd if=/dev/zero of=/tmp/big bs=1M 2>/dev/null || exit 7',
    ends: full,
    exitCode: 7,
  },
  {
    name: 'Python makes as many files as fit',
    of: inPython,
    code: `for n in range(10**6): open(f'/tmp/{n}', 'w').close()`,
    ends: full,
  },
  {
    name: 'Python fills it and goes on',
    of: inPython,
    code: `${inFile}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
    says: 'handled\n',
  },
  {
    name: 'Python only says so',
    of: inPython,
    code: `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
    ends: ['error', 'USER_ERROR'],
  },
  {
    name: 'Python only says that it may not fork',
    of: inPython,
    code: `import errno\nraise BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')`,
    ends: ['error', 'USER_ERROR'],
  },
  { name: 'Python forks on', of: inPython, code: forks, ends: crowded, counts: 'pids' },
  {
    name: 'Python forks on, and exits with a code of its own',
    of: inPython,
    code: `try:\n  ${forks.replaceAll('\n', '\n  ')}\nexcept OSError: raise SystemExit(9)`,
    ends: crowded,
    counts: 'pids',
    exitCode: 9,
  },
  {
    name: 'Python asks for processes until its time is over',
    of: inPython,
    code: `import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(600)
    except OSError: time.sleep(0.05)`,
    ends: crowded,
    counts: 'pids',
    timeout: 2_000,
  },
  {
    name: 'a shell forks on',
    of: inShell,
    code: 'n=0; while [ $n -lt 40 ]; do sleep 30 & n=$((n + 1)); done; wait',
    ends: crowded,
    counts: 'pids',
  },
  {
    name: 'Python forks on, and handles it',
    of: inPython,
    code: `${forks.replace('for', 'try:\n  for').replaceAll('\n    ', '\n      ')}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
    counts: 'pids',
    says: 'handled\n',
  },
]

suite('Programs that use up their disk or their processes', { skip: unable('python') }, () => {
  for (const jailKind of ['embedded', 'bubblewrap'] as const)
    for (const { name, of, code, ends, counts, says, exitCode, timeout } of cases)
      test(`${jailKind}: ${name}: ${ends.join(' ')}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        if (counts && !openCgroups()?.controllers.includes(counts))
          return t.skip('there is no cgroup that counts processes')
        const { provider, close } = await makeProcesses(jailKind, {})
        try {
          const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
          const controls = { processes: 16 }
          const limits = timeout === undefined ? {} : { limits: { timeout } }
          const { end, stdout } = await stand.run(code, { controls, entry: 'program', ...limits })
          assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
          if (exitCode !== undefined) assert.equal(end.exitCode, exitCode)
          if (says) assert.equal(stdout, says)
        } finally {
          await provider.close?.()
          await close()
        }
      })
})

/** A keeper counts the processes of a wall without namespaces, also where no control group does. */
const hide = ['namespaces', 'root', 'cgroup']
const noKeeper = findJailFacts().landlock < 3 && 'Landlock of this kernel does not hold files'
const kept: readonly Case[] = [
  ...cases.filter(({ name }) => name.includes('forks on')),
  {
    name: 'Python forks near its bound, and fails for another reason',
    of: inPython,
    code: `${forks.replace('40', '12')}\n1 / 0`,
    ends: ['error', 'USER_ERROR'],
  },
]

suite('Programs of a keeper that use up their processes', { skip: noKeeper }, () => {
  for (const { name, of, code, ends, says } of kept)
    test(`with a keeper: ${name}: ${ends.join(' ')}`, async () => {
      const { provider, close } = await makeProcesses('embedded', { hide })
      try {
        const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
        const controls = { processes: 16 }
        const { end, stdout } = await stand.run(code, { controls, entry: 'program' })
        assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
        if (says) assert.equal(stdout, says)
      } finally {
        await provider.close?.()
        await close()
      }
    })

  test('with a keeper: an exec that is refused a process ends as PROCESSES, and no later one that is not', async () => {
    const { provider, close } = await makeProcesses('embedded', { hide })
    try {
      const stand = new Stand(provider, () => Promise.reject(new Error('no other')), inPython)
      const running = await stand.start('', { session: true, controls: { processes: 16 } })
      await using sandbox = running.sandbox
      const { session } = sandbox
      await session!.ready
      const bytes = { outputBytesMax: 2 ** 20, resultBytesMax: 2 ** 20, artifactBytesMax: 2 ** 20 }
      const spawns = `import subprocess, time
held = []
for n in range(60): held.append(subprocess.Popen(['sleep', '100']))`
      const over = 'for one in held: one.kill(); one.wait()'
      const handled = `try:\n  ${spawns.replaceAll('\n', '\n  ')}\nexcept OSError: pass\nelse: 1 / 0\n${over}`
      const ends: unknown[] = []
      for (const code of [spawns, over, '1 / 0', handled, '1 / 0', spawns]) {
        const { end } = await session!.exec({ code, timeoutMs: 60_000, ...bytes })
        ends.push(end.error?.code ?? end.status)
      }
      assert.deepEqual(ends, ['PROCESSES', 'ok', 'USER_ERROR', 'ok', 'USER_ERROR', 'PROCESSES'])
    } finally {
      await provider.close?.()
      await close()
    }
  })
})
