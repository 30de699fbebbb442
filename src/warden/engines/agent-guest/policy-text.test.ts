import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import policy from '../../../../policies/apparmor/job.json' with { type: 'json' }
import { callClasses } from '../../../contract/calls.ts'
import { PolicyCompiler } from './policy-compiler.ts'
import { jobProfile, policyText } from './policy-text.ts'

suite('A profile of AppArmor', () => {
  const subsets = Array.from({ length: 2 ** callClasses.length }, (_, bits) =>
    callClasses.filter((_name, index) => bits & (1 << index)),
  )

  test('Has no rule more with a class less, and fewer with one that has rules', () => {
    for (const open of subsets)
      for (const name of open) {
        const lines = new Set(policyText(open).split('\n'))
        const left = policyText(open.filter((one) => one !== name)).split('\n')
        assert.ok(left.every((line) => lines.has(line)))
        assert.equal(left.length < lines.size, name !== 'process')
      }
  })

  test('Is made of plain rules, each with its reason, under the name that the agent knows', () => {
    const header = readFileSync(
      new URL('../../../../guest/agent/policy.h', import.meta.url),
      'utf8',
    )
    assert.match(header, new RegExp(`^#define JOB_PROFILE "${jobProfile}"$`, 'm'))
    assert.equal(policy.name, jobProfile)
    for (const { rule, why } of policy.rules) {
      assert.match(rule, /^[\w/{},*()[\]=^ -]+$/)
      assert.ok(why.length > 10, rule)
    }
  })

  test('Without the compiler the error names its package, and the next call tries again', async () => {
    const compiler = new PolicyCompiler(['apparmor_parser'])
    for (const open of [callClasses, callClasses, []])
      await assert.rejects(compiler.compile(open), {
        code: 'UNAVAILABLE',
        hint: /install apparmor/,
      })
    assert.match(compiler.missing ?? '', /of the package apparmor is missing$/)
  })
})
