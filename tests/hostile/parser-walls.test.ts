import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { strengthOf, type TierName } from '../../src/contract/tier.ts'
import { Mayfly, type Outcome } from '../../src/index.ts'
import { isSampled } from '../fixtures/drawn.ts'
import { sourceOf } from './case.ts'
import { parser } from './cases/parser.ts'
import { inParallel, sample, seed } from './sample.ts'

const CASES = isSampled ? 6 : 12

/**
 * Default escalation on this machine's walls: parser-breaking code never runs in an isolate, although a weaker
 * wall may stand in for the tier that its risk asks for.
 */
suite('Unparsed code, by the default escalation', () => {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-parser-'))
  let mayfly: Mayfly
  before(async () => {
    mayfly = await Mayfly.open({ state })
  })
  after(async () => {
    await mayfly[Symbol.asyncDispose]()
    for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
  })

  const isUnread = ({ security }: Outcome) =>
    security.findings.some(({ name }) => name === 'UNPARSED' || name === 'UNREAD_DEPENDENCY')

  for (const place of ['the source of the job', 'a file of the job', 'a package'] as const)
    test(`as ${place} it runs in a process wall at least`, async () => {
      let unread = 0
      const some = process.env['MAYFLY_LONG'] ? parser : sample(parser, CASES)
      await inParallel(some, 2, async (hostile) => {
        const code = sourceOf(hostile.code)
        const isSource = place === 'the source of the job'
        const path = place === 'a package' ? 'node_modules/bomb/index.js' : 'bomb.js'
        const { language = 'js', name } = hostile
        const outcome = await mayfly.run({
          code: isSource ? code : 'return 1',
          language: isSource ? language : 'js',
          limits: { timeout: '300ms' },
          ...(!isSource && { files: [{ path, content: code }] }),
        })
        if (!isUnread(outcome)) return
        unread++
        const { tier, status, security } = outcome
        assert.ok(security.risk >= (place === 'a package' ? 60 : 90), `${name}, seed ${seed}`)
        if (status === 'unavailable') return
        assert.ok(
          strengthOf[tier as TierName] >= strengthOf.process,
          `${tier}, ${name}, seed ${seed}`,
        )
      })
      assert.ok(unread > 0, `none of ${some.length} was unread, seed ${seed}`)
    })
})
