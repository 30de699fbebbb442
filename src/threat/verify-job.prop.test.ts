import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { job } from '../../tests/fixtures/record.ts'
import type { Config } from '../contract/config.ts'
import { envelopeSchema, type Envelope, type SignatureAsked } from '../contract/signature.ts'
import { verifyRaw, signEnvelope } from './signature.ts'
import { createVerifier } from './verify-job.ts'
import { parseJson } from '../lib/parse-json.ts'

const signing = { required: false, signers: 1 }
const config = { signing, tenants: [] } as unknown as Config
const key = generateKeyPairSync('ed25519').privateKey
const code = 'return 1'
const good = signEnvelope({ code, files: [] }, key, { capabilities: ['network'], expires: null })
const verify = createVerifier({
  config: () => config,
  signers: { trusts: () => true },
  date: () => 0,
})

function kindOf(source: string, signature?: SignatureAsked, publicKey?: string): string {
  const { asked, ...rest } = job('exec_1', source)
  const more = {
    ...(signature !== undefined && { signature }),
    ...(publicKey !== undefined && { publicKey }),
  }
  return verify({ ...rest, asked: { ...asked, ...more } }).kind
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.uint8Array({ maxLength: 70 }).map((bytes) => Buffer.from(bytes).toString('base64')),
  fc.constantFrom(good.key, good.signature, good.code, ''),
)

test('No forged signature is valid, in any shape, and verification never throws', () => {
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), (signature, publicKey) => {
      assert.equal(kindOf(code, signature, publicKey), 'refused')
      assert.equal(verifyRaw(code, signature, publicKey ?? ''), false)
    }),
  )
})

test('An envelope with any field changed is refused', () => {
  assert.equal(kindOf(code, good), 'valid')
  const change = fc.record(
    {
      code: text.map((value) => `sha256:${value}`),
      capabilities: fc.array(text, { maxLength: 3 }),
      expires: fc.option(
        fc.oneof(
          text,
          fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
        ),
      ),
      key: text,
      signature: text,
      files: fc.dictionary(fc.string({ minLength: 1 }), fc.constant(good.code), { maxKeys: 2 }),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(change, (changes) => {
      const envelope = { ...good, ...changes } as Envelope
      const isSame = JSON.stringify(envelope) === JSON.stringify(good)
      assert.equal(kindOf(code, envelope), isSame ? 'valid' : 'refused')
    }),
  )
})

test('An envelope survives a JSON round trip', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 100 }),
      fc.array(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 5 }),
      fc.option(fc.integer({ min: 1, max: 8.64e15 })),
      (source, capabilities, expires) => {
        const made = signEnvelope({ code: source, files: [] }, key, { capabilities, expires })
        const read = envelopeSchema.parse(parseJson(JSON.stringify(made)))
        assert.equal(kindOf(source, read), 'valid')
        assert.equal(kindOf(`${source}.`, read), 'refused')
      },
    ),
  )
})
