import assert from 'node:assert/strict'
import { suite } from 'node:test'
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
}

const full: Case['ends'] = ['limit', 'DISK']
const crowded: Case['ends'] = ['limit', 'PROCESSES']
const inFile = `f = open('/work/big', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
const forks = `import os, time
for n in range(1000):
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
  },
  {
    name: 'Node fills it',
    of: inNode,
    code: `import { appendFileSync } from 'node:fs'\nfor (;;) appendFileSync('big', Buffer.alloc(1 << 20))`,
    ends: full,
  },
  {
    name: 'a child of a shell fills it',
    of: inShell,
    code: 'dd if=/dev/zero of=/tmp/big bs=1M 2>/dev/null',
    ends: full,
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
  },
  {
    name: 'Python only says so',
    of: inPython,
    code: `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
    ends: ['error', 'USER_ERROR'],
  },
  { name: 'Python forks on', of: inPython, code: forks, ends: crowded, counts: 'pids' },
  {
    name: 'a shell forks on',
    of: inShell,
    code: 'n=0; while [ $n -lt 1000 ]; do sleep 30 & n=$((n + 1)); done; wait',
    ends: crowded,
    counts: 'pids',
  },
  {
    name: 'Python forks on, and handles it',
    of: inPython,
    code: `${forks.replace('for', 'try:\n  for').replaceAll('\n    ', '\n      ')}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
  },
]

suite('Programs that use up their disk or their processes', { skip: unable('python') }, () => {
  for (const jailKind of ['embedded', 'bubblewrap'] as const)
    for (const { name, of, code, ends, counts } of cases)
      test(`${jailKind}: ${name}: ${ends.join(' ')}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        if (counts && !openCgroups()?.controllers.includes(counts))
          return t.skip('there is no cgroup that counts processes')
        const { provider, close } = await makeProcesses(jailKind, {})
        try {
          const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
          const controls = { processes: 16 }
          const { end } = await stand.run(code, { controls, entry: 'program' })
          assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
        } finally {
          await provider.close?.()
          await close()
        }
      })
})
