import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import type { ConfigInput } from '../../../src/contract/config.ts'
import { Mayfly } from '../../../src/index.ts'
import { isRunscThere, noRunsc } from '../../conformance/gvisor.ts'
import { leasesIn } from '../../doors/program.ts'
import { isSampled, test } from '../../fixtures/drawn.ts'
import { unable } from '../../walls/process-stands.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { sessionFamilies, sessionWalls, type SessionWall } from './case.ts'
import { sessionCorpus } from './corpus.ts'
import { notHeld } from './held.ts'

/**
 * The corpus on each wall that can hold a session. A seeded sample runs
 * unless MAYFLY_LONG is set; MAYFLY_SEED repeats one.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const perFamily = long ? Infinity : isSampled ? 2 : 3
const atATime = 3

const config: ConfigInput = {
  sandboxes: { lifetime: '10m' },
  schedules: {
    default: { phases: [{ name: 'full', for: '10m' }], on_anomaly: recorded() },
    // Tightened by its owner: a wall can close no class unless a phase of its schedule closes all.
    writing: {
      phases: [
        { name: 'full', for: '9m' },
        { name: 'still', for: '1m', syscalls: [] },
      ],
      on_anomaly: recorded(),
    },
    losing: {
      phases: [
        { name: 'full', for: '600ms' },
        // Sockets as well: without a granted network a connect fails in every phase.
        {
          name: 'quiet',
          for: '10m',
          network: 'none',
          syscalls: ['exec', 'process', 'write', 'outside'],
        },
      ],
      on_anomaly: recorded(),
    },
  },
}

function recorded() {
  return { low: 'record', medium: 'record', high: 'record' } as const
}

function skipped(wall: SessionWall): string | false {
  if (wall === 'gvisor') return unable('python') || (!isRunscThere() && noRunsc)
  const isMissing = wall === 'bubblewrap' && !existsSync('/usr/bin/bwrap')
  return unable('python') || (isMissing && 'bwrap is missing')
}

for (const wall of sessionWalls)
  suite(`Hostile programs in sessions on ${wall}`, { skip: skipped(wall) }, () => {
    let state: string
    let mayfly: Mayfly
    before(async () => {
      state = mkdtempSync(join(tmpdir(), 'hostile-sessions-'))
      mayfly = await Mayfly.open({ ...config, state })
    })
    after(async () => {
      await mayfly.close()
      const left = leasesIn({ state })
      for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
      assert.deepEqual(left, [], 'leases are left')
    })

    for (const family of sessionFamilies)
      test(`After each program of the family "${family}" on ${wall}, outcomes, charges and record of each exec are its own`, async () => {
        const cases = sessionCorpus[family].filter(
          ({ slow, without }) => (long || !slow) && !without?.includes(wall),
        )
        const found: string[] = []
        await inParallel(sample(cases, perFamily), atATime, async (hostile) => {
          const why = await notHeld({ mayfly, state, wall }, hostile)
          found.push(...why.map((one) => `${hostile.name}: ${one}`))
        })
        assert.deepEqual(found, [], `seed ${seed}`)
      })
  })
