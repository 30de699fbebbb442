import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, request, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { makeKey, makePlace, startServer, type Place, type Server } from './program.ts'

const runner = join(
  import.meta.dirname,
  '../../node_modules/@modelcontextprotocol/conformance/dist/index.js',
)
const runnerMsMax = 110_000

/** Scenarios of the official suite that a server of tools alone can pass, by the revision whose wire they run on. */
const passing: Readonly<Record<string, readonly string[]>> = {
  '2025-11-25': [
    'server-initialize',
    'ping',
    'tools-list',
    'resources-list',
    'server-sse-multiple-streams',
    'dns-rebinding-protection',
    'server-session-lifecycle',
  ],
  '2026-07-28': [
    'tools-list',
    'resources-list',
    'server-sse-multiple-streams',
    'sep-2164-resource-not-found',
    'dns-rebinding-protection',
    'input-required-result-missing-input-response',
    'input-required-result-unsupported-methods',
    'input-required-result-ignore-extra-params',
    'input-required-result-validate-input',
    'http-header-validation',
  ],
}
/** The other scenarios, by what they ask a server for; docs/how-to/mcp.md has the same table. */
const notServed: Readonly<Record<string, readonly string[]>> = {
  'a tool that the suite names': [
    'server-stateless',
    'server-sse-polling',
    'tools-call-simple-text',
    'tools-call-image',
    'tools-call-audio',
    'tools-call-embedded-resource',
    'tools-call-mixed-content',
    'tools-call-with-logging',
    'tools-call-error',
    'tools-call-with-progress',
    'tools-call-sampling',
    'tools-call-elicitation',
    'elicitation-sep1034-defaults',
    'elicitation-sep1330-enums',
    'json-schema-2020-12',
    'http-custom-header-server-validation',
    'input-required-result-basic-elicitation',
    'input-required-result-basic-sampling',
    'input-required-result-basic-list-roots',
    'input-required-result-request-state',
    'input-required-result-multiple-input-requests',
    'input-required-result-multi-round',
    'input-required-result-non-tool-request',
    'input-required-result-result-type',
    'input-required-result-tampered-state',
    'input-required-result-capability-check',
  ],
  'a resource that the suite names': [
    'caching',
    'resources-read-text',
    'resources-read-binary',
    'resources-templates-read',
    'resources-subscribe',
    'resources-unsubscribe',
  ],
  prompts: [
    'prompts-list',
    'prompts-get-simple',
    'prompts-get-with-args',
    'prompts-get-embedded-resource',
    'prompts-get-with-image',
  ],
  completions: ['completion-complete'],
  logging: ['logging-set-level'],
  tasks: [
    'tasks-lifecycle',
    'tasks-capability-negotiation',
    'tasks-wire-fields',
    'tasks-request-state-removal',
    'tasks-mrtr-input',
    'tasks-request-headers',
    'tasks-dispatch-and-envelope',
    'tasks-status-notifications',
    'tasks-required-task-error',
    'tasks-mrtr-composition',
  ],
}
/** Checks of `server-stateless`; the four others need tools that the suite names. */
const statelessPassed = 24

test('The how-to names each scenario that is not passed, beside what it asks for', () => {
  const howTo = readFileSync(join(import.meta.dirname, '../../docs/how-to/mcp.md'), 'utf8')
  for (const [asked, names] of Object.entries(notServed)) {
    const row = howTo.split('\n').find((line) => line.startsWith(`| ${asked} |`)) ?? ''
    const told = row.split('`').filter((_, at) => at % 2 === 1)
    assert.deepEqual(told, names, asked)
  }
})

suite('Conformance of /mcp', () => {
  let place: Place
  let server: Server
  let proxy: HttpServer
  let url: string
  before(async () => {
    place = makePlace()
    server = await startServer(place)
    proxy = withKey(new URL(server.active), makeKey(place, 'default'))
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/mcp`
  })
  after(async () => {
    proxy.closeAllConnections()
    proxy.close()
    assert.deepEqual((await server.stop()).left, [])
    place.remove()
  })

  for (const [revision, scenarios] of Object.entries(passing))
    test(`scenarios of the official suite for a server of tools pass on the wire of ${revision}`, async () => {
      const words = [runner, 'server', '--url', url, '--requirements', revision]
      const text = await new Promise<string>((resolve) => {
        const options = { cwd: place.cwd, timeout: runnerMsMax, maxBuffer: 2 ** 26 }
        // Scenarios that are not for this server make it exit 1.
        execFile(process.execPath, words, options, (_, stdout) => resolve(stdout))
      })
      const summary = new Map(
        [...text.matchAll(/^([✓✗]) ([\w-]+): (\d+) passed/gm)].map((line) => [
          line[2]!,
          { isPassed: line[1] === '✓', passed: Number(line[3]) },
        ]),
      )
      assert.deepEqual(
        scenarios.filter((name) => !summary.get(name)?.isPassed),
        [],
      )
      const listed = [...scenarios, ...Object.values(notServed).flat()]
      assert.deepEqual(
        [...summary.keys()].filter((name) => !listed.includes(name)),
        [],
        'new scenarios',
      )
      if (revision === '2026-07-28')
        assert.ok((summary.get('server-stateless')?.passed ?? 0) >= statelessPassed)
    })
})

/** Adds the key, which the suite cannot send. */
function withKey(to: URL, key: string): HttpServer {
  return createServer((incoming, outgoing) => {
    const { method, headers, url: path } = incoming
    const options = { host: to.hostname, port: to.port, path, method }
    const asked = request({ ...options, headers: { ...headers, authorization: `Bearer ${key}` } })
    asked.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(outgoing)
    })
    asked.on('error', () => outgoing.destroy())
    outgoing.on('close', () => asked.destroy())
    incoming.pipe(asked)
  })
}
