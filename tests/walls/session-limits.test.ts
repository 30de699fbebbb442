import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mayfly, type Box } from '../../src/index.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState, machineState } from '../fixtures/machine-images.ts'
import { unable } from './process-stands.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Execs of a session that use up its scratch folders or its processes, by the counts of the kernel, and execs that do not. */

type End = readonly [status: string, code: string | undefined]
const ok: End = ['ok', undefined]
const ownError: End = ['error', 'USER_ERROR']
const failed = '1 / 0'

/** Cells, in this order, of one session with 8 MB of scratch. */
const filling: readonly (readonly [name: string, cell: string, end: End])[] = [
  ['a cell nearly fills it', 'open("near", "wb").write(bytes(6 << 20))', ok],
  ['a cell fails for another reason, with a disk nearly full', failed, ownError],
  [
    'a cell only says so',
    'import errno\nraise OSError(errno.ENOSPC, "No space left on device")',
    ownError,
  ],
  [
    'a cell fills it',
    'with open("big", "wb", 0) as f:\n  while True: f.write(bytes(1 << 20))',
    ['limit', 'DISK'],
  ],
  [
    'a cell finds it full, and handles that',
    'try: open("more", "wb", 0).write(bytes(1 << 20))\nexcept OSError: pass',
    ok,
  ],
  ['a cell makes room', 'import os\nos.remove("big")', ok],
  ['a cell fails for another reason after that', failed, ownError],
]

const spawns = (times: number) => `import subprocess
held = []
for n in range(${times}): held.append(subprocess.Popen(["sleep", "100"]))`
const ends = 'for one in held: one.kill(); one.wait()'

/** Cells, in this order, of one session with 16 processes. */
const crowding: typeof filling = [
  ['a cell holds some', `${spawns(8)}\n${ends}`, ok],
  ['a cell fails for another reason, near the bound', `${spawns(8)}\n${ends}\n1 / 0`, ownError],
  ['a cell is refused one', spawns(60), ['limit', 'PROCESSES']],
  ['a cell ends them', ends, ok],
  ['a cell fails for another reason after that', failed, ownError],
  ['a cell is refused one again', spawns(60), ['limit', 'PROCESSES']],
  [
    'a cell is refused one, and handles that',
    `${ends}\ntry:\n  ${spawns(60).replaceAll('\n', '\n  ')}\nexcept OSError: pass\n${ends}`,
    ok,
  ],
  ['a cell fails for another reason after one that was refused', failed, ownError],
]

let state: string
let mayfly: Mayfly
before(async () => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-session-limits-'))
  if (isUserKernelThere()) await copyMachineState(state)
  mayfly = await Mayfly.open({ state })
})
after(async () => {
  await mayfly.close()
  for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
})

async function runEach(box: Box, cells: typeof filling): Promise<void> {
  for (const [name, code, end] of cells) {
    const { status, error, stderr } = await box.run({ code })
    assert.deepEqual([status, error?.code], end, `${name}: ${error?.message} ${stderr}`)
  }
}

const noWrap = () => !existsSync('/usr/bin/bwrap') && 'bwrap is missing'
const images = await machineState()
const noImages = 'missing' in images ? images.missing : false
const walls = {
  embedded: unable('python'),
  bubblewrap: unable('python') || noWrap(),
  gvisor: unable('python') || (!isRunscThere() && noRunsc),
  'user-mode-linux': isUserKernelThere() ? noImages : noUserKernel,
}

for (const [provider, skip] of Object.entries(walls))
  suite(`A session behind ${provider} at its limits`, { skip }, () => {
    const open = (limits: object) =>
      mayfly.open({ language: 'python', provider, limits: { timeout: '60s', ...limits } })

    test(`${provider}: execs of a full disk end as DISK if they fail, and only then`, async () => {
      await using box = await open({ disk: '8MB' })
      await runEach(box, filling)
    })

    test(`${provider}: a command that fills the disk ends as DISK`, async () => {
      await using box = await open({ disk: '8MB' })
      const command = ['dd', 'if=/dev/zero', 'of=/work/big', 'bs=1M']
      const { status, error } = await box.run({ command })
      assert.deepEqual([status, error?.code], ['limit', 'DISK'])
      assert.match(error?.message ?? '', /8 MB/)
    })

    test(`${provider}: execs that were refused a process end as PROCESSES if they fail, and only those`, async (t) => {
      if (provider === 'gvisor') return t.skip('its wall ends above the bound')
      const isCounted = openCgroups()?.controllers.includes('pids')
      if (!isCounted && provider !== 'user-mode-linux')
        return t.skip('there is no cgroup that counts processes')
      await using box = await open({ processes: 16 })
      await runEach(box, crowding)
    })
  })
