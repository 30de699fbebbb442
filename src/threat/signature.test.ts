import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { envelopeSchema } from '../contract/signature.ts'
import type { JobFile } from '../contract/job.ts'
import { sha256 } from '../lib/hash.ts'
import { signEnvelope, whyInvalid } from './signature.ts'

const { privateKey } = generateKeyPairSync('ed25519')

test('a signed executable cannot be replaced by a plain file whose content equals its digest', () => {
  const content = 'throw new Error("guard")'
  const guard: JobFile = { path: 'g.js', content, encoding: 'utf8', executable: true }
  const code = 'require("./g.js")'
  const envelope = envelopeSchema.parse(
    signEnvelope({ code, files: [guard] }, privateKey, { capabilities: [], expires: null }),
  )
  assert.equal(whyInvalid(envelope, { code, files: [guard] }, 0), undefined)
  const digest = `sha256:${sha256(content)}`
  for (const forged of [JSON.stringify(['file', true, digest]), `file+x:${digest}`, content]) {
    const plain: JobFile = { path: 'g.js', content: forged, encoding: 'utf8' }
    assert.match(whyInvalid(envelope, { code, files: [plain] }, 0) ?? '', /does not cover/)
  }
})
