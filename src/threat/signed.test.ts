import assert from 'node:assert/strict'
import { test } from 'node:test'
import { job, plan, verdict } from '../../tests/fixtures/record.ts'
import { allControls } from '../contract/controls.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { Signed } from '../contract/signature.ts'
import { withinSignature } from '../profile/within-signature.ts'
import { analyseSigned } from './signed.ts'

const error = { code: 'SIGNATURE_INVALID', message: 'Cannot accept the signature' } as const
const refused = { kind: 'refused', error } as const

test('S3-24: refused code is blocked, and no analyst sees it', async () => {
  const analyse = analyseSigned(async () => assert.fail('it was parsed'))
  const analysis = await analyse(job(), refused)
  assert.equal(analysis.verdict.signatureValid, false)
  const blocked = withinSignature(plan, refused)
  assert.equal(blocked.kind, 'blocked')
  assert.equal(blocked.kind === 'blocked' && blocked.error.code, 'SIGNATURE_INVALID')
  const unsigned = { ...error, code: 'SIGNATURE_REQUIRED' } as const
  const other = withinSignature(plan, { kind: 'refused', error: unsigned })
  assert.equal(other.kind === 'blocked' && other.error.code, 'SIGNATURE_REQUIRED')
})

test('The verdict reports whether a signature was valid', async () => {
  const analyse = analyseSigned(async () => ({ kind: 'verdict', verdict, cached: true }))
  const says = async (signed: Signed) => (await analyse(job(), signed)).verdict.signatureValid
  assert.equal(await says({ kind: 'valid', keys: ['k'] }), true)
  assert.equal(await says({ kind: 'unsigned' }), false)
})

test('A plan that grants more than the signers allow is blocked, any other plan is unchanged', () => {
  const granting: Plan = {
    ...plan,
    kind: 'run',
    profile: { ...plan.profile, controls: { ...allControls, capabilities: ['mail.send'] } },
  }
  const kindFor = (signed: Signed) => withinSignature(granting, signed).kind
  assert.equal(kindFor({ kind: 'unsigned' }), 'run')
  assert.equal(kindFor({ kind: 'valid', keys: ['k'] }), 'run')
  const allowed = (...capabilities: string[]) =>
    kindFor({ kind: 'valid', keys: ['k'], capabilities })
  assert.equal(allowed('mail.send', 'network'), 'run')
  assert.equal(allowed('network'), 'blocked')
  assert.equal(allowed('mail.send'), 'blocked')
})
