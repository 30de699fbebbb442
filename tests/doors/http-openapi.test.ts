import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type * as z from 'zod'
import { capabilityCall } from '../../src/contract/capability.ts'
import { effectCall, effectRequest } from '../../src/contract/effect.ts'
import { jobRequest } from '../../src/contract/job.ts'
import { tightenAsked } from '../../src/contract/live.ts'
import { execRequest, sessionRequest, timeoutRequest } from '../../src/contract/session.ts'
import { defaultProvider } from '../../src/gateway/doors/configuration.ts'
import { configBody } from '../../src/gateway/http/configuration-body.ts'
import { docsPage } from '../../src/gateway/doors/docs-page.ts'
import { openApi, openApiBytes } from '../../src/gateway/openapi.ts'
import { forkRequest } from '../../src/contract/fork.ts'
import { calls } from '../../src/gateway/routes.ts'
import { activeContent, mcpMessage } from '../../src/gateway/http/schema.ts'
import { zonesAsked, zoneTighten } from '../../src/gateway/doors/zones.ts'
import { bearer, call, folder, openDoor, raw, statusOf } from './http-door.ts'

const schemaOfBody: Readonly<Record<string, z.ZodType>> = {
  Job: jobRequest,
  ActiveContent: activeContent,
  EffectRequest: effectRequest,
  EffectCall: effectCall,
  CapabilityCall: capabilityCall,
  ZonesAsked: zonesAsked,
  SessionAsked: sessionRequest,
  Exec: execRequest,
  SessionTimeout: timeoutRequest,
  ForkAsked: forkRequest,
  Tighten: tightenAsked,
  ZoneTighten: zoneTighten,
  DefaultProvider: defaultProvider,
  ConfigPatch: configBody,
  McpMessage: mcpMessage,
}

const golden = join(import.meta.dirname, '..', 'golden', 'openapi.json')

/** Run with MAYFLY_GOLDEN=write to update the golden; review its difference in the commit. */
test('The OpenAPI document equals its golden file', async () => {
  const text = `${JSON.stringify(openApi('0.0.0'), null, 2)}\n`
  if (process.env['MAYFLY_GOLDEN'] === 'write') await writeFile(golden, text)
  assert.equal(text, await readFile(golden, 'utf8'))
})

test('The OpenAPI document is made once for each version, and the page of it has the origin of each request', () => {
  assert.equal(openApiBytes('0.0.0'), openApiBytes('0.0.0'))
  const pages = ['http://a.example:1', 'http://b.example:2'].map((one) =>
    docsPage('0.0.0', one).page.toString(),
  )
  assert.ok(pages[0]!.includes('http://a.example:1/v1/executions'))
  assert.equal(pages[0]!.replaceAll('http://a.example:1', 'http://b.example:2'), pages[1])
  assert.ok(!pages[1]!.includes('%ORIGIN%'))
})

test('Attack: an answer that needs no key costs the server no more than a small one', () => {
  const answers = [openApiBytes, (version: string) => docsPage(version, 'http://a.example').page]
  for (const answer of answers) {
    answer('0.0.0')
    const { user } = process.cpuUsage()
    for (let times = 0; times < 200; times++) answer('0.0.0')
    // Below a millisecond each, against three where each is made anew as text.
    assert.ok(process.cpuUsage().user - user < 200_000)
  }
})

test('The OpenAPI document has every route with its methods, and no other', () => {
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

test('Each call is in one group, and the pages that a group names are in the package', () => {
  const { tags, paths } = openApi('0.0.0') as {
    tags: readonly { name: string; description: string }[]
    paths: Record<string, Record<string, { tags?: readonly string[] }>>
  }
  const calls = Object.values(paths).flatMap((methods) =>
    Object.entries(methods).filter(([method]) => method !== 'parameters'),
  )
  const used = calls.map(([, call]) => {
    assert.equal(call.tags?.length, 1)
    return call.tags[0]
  })
  assert.deepEqual(new Set(used), new Set(tags.map(({ name }) => name)))
  const pages = tags.flatMap(({ description }) => description.match(/docs\/\S+\.md/g) ?? [])
  assert.ok(pages.length >= tags.length)
  for (const page of pages) assert.ok(existsSync(new URL(`../../${page}`, import.meta.url)), page)
})

test('Every reference in the OpenAPI document resolves', () => {
  const text = JSON.stringify(openApi('0.0.0'))
  const { components } = openApi('0.0.0') as { components: { schemas: Record<string, unknown> } }
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    assert.ok(components.schemas[name!], `${name}`)
  }
  assert.ok(!text.includes('#/$defs'))
})

test('Each call with a body has an example that is valid by its schema', () => {
  const { paths } = openApi('0.0.0') as { paths: Record<string, Record<string, Operation>> }
  const bodies = Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap(({ requestBody }) => requestBody?.content['application/json'] ?? [])
  assert.ok(bodies.length > 8)
  for (const { schema, example } of bodies) {
    const name = schema.$ref.split('/').at(-1)!
    assert.ok(example, name)
    const found = schemaOfBody[name]
    assert.ok(found, name)
    assert.deepEqual(found.safeParse(example).error?.issues ?? [], [], name)
  }
})

test('The bytes of a file are the body of the call that puts it', () => {
  const { paths } = openApi('0.0.0') as { paths: Record<string, Record<string, Operation>> }
  const { requestBody } = paths['/v1/sandboxes/{id}/files']!['put']!
  assert.deepEqual(Object.keys(requestBody?.content ?? {}), ['application/octet-stream'])
})

interface Operation {
  readonly requestBody?: {
    readonly content: Record<string, { schema: { $ref: string }; example: unknown }>
  }
}

test('Off loopback, /openapi.json and /docs need a key', async () => {
  await using door = await openDoor({ host: '0.0.0.0', insecureHttp: true })
  for (const path of ['/openapi.json', '/docs']) {
    const url = door.gateway.activeUrl + path
    assert.equal((await call(url)).status, 401)
    assert.equal((await call(url, { headers: bearer(door.key) })).status, 200)
  }
  assert.equal((await call(`${door.gateway.staticUrl}/docs`)).status, 200)
})

test('On loopback a browser opens /docs and /openapi.json without a key, and no other call', async () => {
  await using door = await openDoor()
  const { activeUrl } = door.gateway
  assert.equal((await call(`${activeUrl}/openapi.json`)).json['openapi'], '3.1.0')
  assert.match((await call(`${activeUrl}/docs`)).headers.get('content-type') ?? '', /^text\/html/)
  assert.equal((await call(`${activeUrl}/docs`, { method: 'POST' })).status, 405)
  for (const path of ['/v1/executions', '/metrics', '/v1/providers', '/docs/', '/docs/x'])
    assert.equal((await call(activeUrl + path)).status, 401, path)
})

test('On loopback /docs is refused for another host name and for a page of another origin', async () => {
  await using door = await openDoor()
  for (const path of ['/docs', '/openapi.json']) {
    const get = (lines: string) =>
      raw(door.activePort, `GET ${path} HTTP/1.1\r\n${lines}connection: close\r\n\r\n`)
    assert.equal(statusOf(await get('host: rebound.example\r\n')), 421)
    const host = `host: 127.0.0.1:${door.activePort}\r\n`
    assert.equal(statusOf(await get(host)), 200)
    assert.equal(statusOf(await get(`${host}origin: http://evil.example\r\n`)), 403)
    assert.equal(statusOf(await get(`${host}sec-fetch-site: cross-site\r\n`)), 403)
  }
})

test('/docs is one page without scripts or external resources, and lists every call and body', async () => {
  await using door = await openDoor()
  const { text } = await call(`${door.gateway.activeUrl}/docs`)
  const page = await call(`${door.gateway.staticUrl}/docs`)
  assert.equal(page.text, text)
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
  assert.doesNotMatch(text, /<script|src=|url\(|@import|href="(?!#|data:,")/)
  for (const path of Object.keys(calls)) assert.ok(text.includes(path), path)
  for (const [, name] of text.matchAll(/href="#(\w+)"/g)) assert.ok(text.includes(`id="${name}"`))
  const examples = [...text.matchAll(/<pre tabindex="0">curl -s/g)]
  assert.equal(examples.length, Object.values(calls).flatMap(Object.keys).length)
})

test('A page of the site at /docs replaces the built-in one', async () => {
  await using files = await folder()
  await writeFile(join(files.path, 'docs'), 'ours')
  await using door = await openDoor({ site: files.path })
  assert.equal((await call(`${door.gateway.staticUrl}/docs`)).text, 'ours')
})
