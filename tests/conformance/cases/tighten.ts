import assert from 'node:assert/strict'
import {
  allControls,
  isWithin,
  noFiles,
  noNetwork,
  type Control,
  type Controls,
} from '../../../src/contract/controls.ts'
import type { Enforced, Sandbox } from '../../../src/contract/provider.ts'
import { MayflyError } from '../../../src/contract/error.ts'
import type { Chapter } from '../case.ts'
import { inTime, type Stand } from '../stand.ts'

export const tighten: Chapter = {
  name: 'Tightening',
  cases: [
    {
      title: 'Loosening a live sandbox is a conflict and changes nothing',
      needs: [],
      async run(stand) {
        const held = stand.profile({ controls: granted }).controls
        await using sandbox = await stand.launch({ controls: granted })
        for (const [name, wider] of Object.entries(widest) as [Control, never][]) {
          await refusedAsConflict(sandbox.tighten({ ...held, [name]: wider }))
        }
        const { controls } = await sandbox.tighten(held)
        assert.ok(isWithin(held, controls) && isWithin(controls, held))
      },
    },
    {
      title: 'Controls declared as tightenable are closed step by step, and all others are named',
      needs: [],
      async run(stand) {
        await using sandbox = await stand.launch({ controls: granted, later: steps.at(-1)! })
        await tightensStepByStep(stand, sandbox)
      },
    },
    {
      title: 'Tightening works while the guest uses all of its CPU',
      needs: [{ guest: 'spins' }],
      async run(stand) {
        const running = await stand.start(stand.guests.spins, {
          controls: granted,
          later: steps.at(-1)!,
        })
        await using sandbox = running.sandbox
        await running.said('spinning')
        await tightensStepByStep(stand, sandbox)
      },
    },
    {
      title: 'Withdrawn controls stay withdrawn, also for a guest that starts afterwards',
      needs: [{ tightens: 'capabilities' }],
      async run(stand) {
        const wish = { capabilities: { double: () => '42' } }
        await using sandbox = await stand.launch(wish)
        const { controls } = stand.profile(wish)
        await sandbox.tighten({ ...controls, capabilities: [] })
        await refusedAsConflict(sandbox.tighten(controls))
      },
    },
  ],
}

/** Grants of all rights that tightening can withdraw. */
const granted: Partial<Controls> = {
  files: { read: ['/data', '/reference'], write: ['/data'] },
  io: 10_000_000,
  processes: 8,
  syscalls: ['file', 'process'],
  capabilities: ['double', 'tick'],
}

/** More than the above, and more than any grant. */
const widest: Partial<Controls> = {
  network: { allow: 'any', deny: [] },
  files: allControls.files,
  cpu: 1000,
  memory: 2 ** 50,
  io: 2 ** 50,
  processes: 1000,
  syscalls: 'any',
  capabilities: 'any',
}

const steps: readonly Partial<Controls>[] = [
  { capabilities: ['double'] },
  { files: { read: ['/data'], write: [] }, io: 1_000_000 },
  { processes: 1, syscalls: ['file'] },
  { cpu: 0.5, memory: 64 * 2 ** 20 },
  { network: noNetwork, files: noFiles, capabilities: [], syscalls: [] },
]

/** Controls that the bounds of a wall alone can close. */
const amounts: ReadonlySet<Control> = new Set<Control>(['cpu', 'memory', 'io', 'processes'])

async function tightensStepByStep(stand: Stand, sandbox: Sandbox): Promise<void> {
  let held: Controls = stand.profile({ controls: granted }).controls
  for (const step of steps) {
    const asked = { ...held, ...step }
    const enforced = await inTime(sandbox.tighten(asked), 'a tightening')
    assertEnforced(enforced, asked, held, sandbox.tightens ?? stand.provider.tightens)
    held = enforced.controls
  }
}

function assertEnforced(
  enforced: Enforced,
  asked: Controls,
  before: Controls,
  tightens: readonly Control[],
): void {
  const { controls, took, unenforced } = enforced
  assert.ok(isWithin(controls, before), 'it is looser than before')
  assert.ok(took >= 0)
  for (const name of Object.keys(asked) as Control[]) {
    const closed = isWithin(only(controls, name), only(asked, name))
    assert.equal(
      closed,
      !unenforced.includes(name),
      `${name}: closed ${closed}, and reported otherwise`,
    )
    if (tightens.includes(name)) assert.ok(closed, `${name} is reported as closed while running`)
    else if (amounts.has(name) && !isWithin(only(before, name), only(asked, name)))
      assert.ok(!closed, `${name} is reported as closed, and is not declared as tightenable`)
  }
}

function only(controls: Controls, name: Control): Controls {
  return { ...allControls, [name]: controls[name] }
}

async function refusedAsConflict(asked: Promise<unknown>): Promise<void> {
  await assert.rejects(
    asked,
    (thrown) => thrown instanceof MayflyError && thrown.code === 'CONFLICT',
  )
}
