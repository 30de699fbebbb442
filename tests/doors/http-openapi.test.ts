import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openApi } from '../../src/gateway/openapi.ts'
import { calls } from '../../src/gateway/routes.ts'
import { bearer, call, folder, openDoor } from './http-door.ts'

const golden = join(import.meta.dirname, '..', 'golden', 'openapi.json')

/** Run with MAYFLY_GOLDEN=write to accept what changed; the difference is then there to be read in the commit. */
test('The description of the API is the one that was last agreed on', async () => {
  const text = `${JSON.stringify(openApi('0.0.0'), null, 2)}\n`
  if (process.env['MAYFLY_GOLDEN'] === 'write') await writeFile(golden, text)
  assert.equal(text, await readFile(golden, 'utf8'))
})

test('Every call is described, with its methods, and nothing else is', () => {
  const { paths } = openApi('0.0.0') as { paths: Record<string, Record<string, unknown>> }
  assert.deepEqual(Object.keys(paths).sort(), Object.keys(calls).sort())
  for (const [path, methods] of Object.entries(calls)) {
    const described = Object.keys(paths[path]!).filter((key) => key !== 'parameters')
    assert.deepEqual(
      described.sort(),
      Object.keys(methods)
        .sort()
        .map((one) => one.toLowerCase()),
      path,
    )
  }
})

test('Every reference in the description leads somewhere', () => {
  const text = JSON.stringify(openApi('0.0.0'))
  const { components } = openApi('0.0.0') as { components: { schemas: Record<string, unknown> } }
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    assert.ok(components.schemas[name!], `${name}`)
  }
  assert.ok(!text.includes('#/$defs'))
})

test('/openapi.json is served to whoever has a key', async () => {
  await using door = await openDoor()
  const url = `${door.gateway.activeUrl}/openapi.json`
  assert.equal((await call(url)).status, 401)
  assert.equal((await call(url, { headers: bearer(door.key) })).json['openapi'], '3.1.0')
})

test('/docs is one page without a script or anything from elsewhere, and names every call and body', async () => {
  await using door = await openDoor()
  assert.equal((await call(`${door.gateway.activeUrl}/docs`)).status, 401)
  const { text } = await call(`${door.gateway.activeUrl}/docs`, { headers: bearer(door.key) })
  const page = await call(`${door.gateway.staticUrl}/docs`)
  assert.equal(page.text, text)
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
  assert.doesNotMatch(text, /<script|<link|src=|url\(|@import|https?:/)
  for (const path of Object.keys(calls)) assert.ok(text.includes(path), path)
  for (const [, name] of text.matchAll(/href="#(\w+)"/g)) assert.ok(text.includes(`id="${name}"`))
})

test('A site that has a page called docs keeps it', async () => {
  await using files = await folder()
  await writeFile(join(files.path, 'docs'), 'ours')
  await using door = await openDoor({ site: files.path })
  assert.equal((await call(`${door.gateway.staticUrl}/docs`)).text, 'ours')
})
