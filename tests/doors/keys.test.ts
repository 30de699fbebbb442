import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { bearer, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, type Place, startServer, whenReady } from './program.ts'

let place: Place

before(async () => {
  place = makePlace()
  writeFileSync(at('job.js'), 'return input + 1')
  for (const name of ['ada', 'bob']) await keys('generate', at(`${name}.key`))
  await keys('trust', at('ada.key.pub'), '--name', 'ada')
  await keys('sign', at('job.js'), '--key', at('ada.key'), '--out', at('job.js.sig'))
})
after(() => place.remove())

function at(name: string): string {
  return join(place.cwd, name)
}

function keys(...args: readonly string[]) {
  return mayfly(place, ['keys', ...args, '--json'])
}

async function runSigned(file: string, ...more: readonly string[]) {
  const flags = ['--signature', at('job.js.sig'), '--input', '1', '--json', ...more]
  const { status, result, error, security } = documentOf(
    await mayfly(place, ['run', at(file), ...flags]),
  )
  return { status, result, code: error?.code, signatureValid: security.signatureValid }
}

test('S3-50: code signed by the command runs, and code changed afterwards does not', async () => {
  assert.equal(statSync(at('ada.key')).mode & 0o777, 0o600)
  const ran = await runSigned('job.js')
  assert.deepEqual(ran, { status: 'ok', result: 2, code: undefined, signatureValid: true })
  writeFileSync(at('changed.js'), 'return input + 2')
  const changed = await runSigned('changed.js')
  assert.deepEqual([changed.status, changed.code], ['blocked', 'SIGNATURE_INVALID'])
  const verify = ['verify', at('job.js'), '--signature', at('job.js.sig')]
  assert.equal((await keys(...verify)).code, 0)
  assert.equal((await keys(...verify, '--public-key', '')).code, 2)
  assert.equal((await keys('verify', at('changed.js'), '--signature', at('job.js.sig'))).code, 1)
})

test('A private key is never overwritten, and only Ed25519 keys are accepted', async () => {
  const { code } = await keys('generate', at('ada.key'))
  assert.equal(code, 2)
  assert.equal((await keys('sign', at('job.js'), '--key', at('job.js'))).code, 2)
  assert.equal((await keys('trust', 'AAAA', '--name', 'x')).code, 2)
})

test('Attack: a file named like a key or a signer does not take the place of the key that is given', async () => {
  await keys('generate', at('own.key'))
  await keys('generate', at('mallory.key'))
  const [own, mallory] = ['own', 'mallory'].map((name) =>
    readFileSync(at(`${name}.key.pub`), 'utf8').trim(),
  ) as [string, string]
  // The file is below the folders that the slashes of a key name.
  mkdirSync(dirname(at(own)), { recursive: true })
  writeFileSync(at(own), mallory)
  await keys('sign', at('job.js'), '--key', at('mallory.key'), '--out', at('mallory.sig'))
  const verify = ['verify', at('job.js'), '--signature', at('mallory.sig'), '--public-key']
  for (const given of [own, `${own}\n`]) assert.equal((await keys(...verify, given)).code, 1)
  assert.equal((await keys(...verify, `./${own}`)).code, 0)
  assert.equal((await keys(...verify, at('mallory.key.pub'))).code, 0)
  const unpadded = own.slice(0, -1)
  mkdirSync(dirname(at(unpadded)), { recursive: true })
  writeFileSync(at(unpadded), mallory)
  assert.equal((await keys(...verify, unpadded)).code, 2)

  assert.equal(documentOf(await keys('trust', own, '--name', 'own'))['key'], own)
  await keys('trust', mallory, '--name', 'mallory')
  writeFileSync(at('own'), mallory)
  const refused = await keys('revoke', 'own')
  assert.deepEqual([refused.code, documentOf(refused)['revokedAt']], [2, undefined])
  writeFileSync(at('own'), 'no key')
  assert.equal(documentOf(await keys('revoke', 'own'))['key'], own)
  assert.equal(documentOf(await keys('revoke', './mallory.key.pub'))['key'], mallory)
})

test('S3-24: the command binds the language of a suffix, and the code is refused in another', async () => {
  writeFileSync(at('both.py'), 'result = 1 // 2\n')
  await keys('sign', at('both.py'), '--key', at('ada.key'), '--out', at('both.sig'))
  const signature = ['--signature', at('both.sig')]
  assert.equal((await keys('verify', at('both.py'), ...signature)).code, 0)
  const other = ['--language', 'js', ...signature]
  const verified = await keys('verify', at('both.py'), ...other)
  assert.deepEqual([verified.code, documentOf(verified)['valid']], [1, false])
  const { error } = documentOf(await mayfly(place, ['run', at('both.py'), ...other, '--json']))
  assert.equal(error.code, 'SIGNATURE_INVALID')
  assert.match(error.message, /it is of python$/)
})

test('S3-52: a running server applies a revocation to the next job, and both changes are in the record', async () => {
  await keys('trust', at('bob.key.pub'), '--name', 'bob')
  await keys('sign', at('job.js'), '--key', at('bob.key'), '--out', at('bob.sig'))
  const signature = JSON.parse(readFileSync(at('bob.sig'), 'utf8')) as unknown
  writeFileSync(at('only.toml'), '[signing]\nrequired = true\n')
  await using server = await startServer(place, ['--config', at('only.toml')])
  await whenReady(server)
  const ask = (more: object) =>
    post(
      new URL('/v1/executions', server.active).href,
      { code: 'return input + 1', input: 1, ...more },
      bearer(server.apiKey),
    )
  assert.equal((await ask({})).json['code'], 'SIGNATURE_REQUIRED')
  const ran = await ask({ signature })
  assert.deepEqual([ran.status, ran.json['result']], [200, 2])
  await keys('revoke', 'bob')
  const after = await ask({ signature })
  assert.deepEqual([after.status, after.json['code']], [403, 'SIGNER_UNKNOWN'])
  assert.match(String(after.json['message']), /the key of its signer was revoked$/)
  const lines = JSON.parse(
    (await mayfly(place, ['audit', 'list', '--limit', '100000', '--json'])).stdout,
  ) as {
    body: { point?: string; fields?: { name: string } }
  }[]
  const changes = lines.filter(({ body }) => body.fields?.name === 'bob')
  assert.deepEqual(
    changes.map(({ body }) => body.point),
    ['signer/trusted', 'signer/revoked'],
  )
  assert.equal((await server.stop()).code, 0)
  assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
})

test('S3-24: an effect with a raw signature is registered, and no longer runs once its key is not trusted', async () => {
  await keys('generate', at('eve.key'))
  await keys('trust', at('eve.key.pub'), '--name', 'eve')
  const code = 'return input + 1'
  writeFileSync(at('effect.js'), code)
  const signed = await keys('sign', at('effect.js'), '--key', at('eve.key'), '--raw')
  const { signature, publicKey } = documentOf(signed)
  await using server = await startServer(place)
  const apiKey = documentOf(await mayfly(place, ['access', 'create', '--json']))['key'] as string
  await whenReady(server)
  const ask = (path: string, body: object) =>
    post(new URL(`/api/effects/${path}`, server.active).href, body, bearer(apiKey))
  const register = (more: object) =>
    ask('register', { effectId: 'plus', code, signature, publicKey, ...more })
  const changed = await register({ code: `${code} ` })
  assert.deepEqual([changed.status, changed.json['code']], [403, 'SIGNATURE_INVALID'])
  const registered = await register({})
  assert.deepEqual([registered.status, registered.json['security'].signatureValid], [200, true])
  const ran = await ask('execute', { effectId: 'plus', input: 1 })
  assert.deepEqual([ran.status, ran.json['result']], [200, 2])
  await keys('revoke', 'eve')
  for (const refused of [await ask('execute', { effectId: 'plus', input: 1 }), await register({})])
    assert.deepEqual([refused.status, refused.json['code']], [403, 'SIGNER_UNKNOWN'])
  await server.stop()
})
