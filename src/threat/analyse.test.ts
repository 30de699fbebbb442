import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { jobRequest, type Job, type JobAccount, type JobRequest } from '../contract/job.ts'
import type { LayerCode } from '../contract/pipeline.ts'
import { verdictSchema } from '../contract/verdict.ts'
import { createAnalyst } from './analyse.ts'
import { inspect } from './inspect.ts'
import { createLayerAnalyst } from './layers.ts'
import { NoAnalystError } from './no-analyst.ts'

function jobOf(asked: JobRequest & { code: string }, tenant = 'default'): Job {
  const parsed = jobRequest.parse(asked)
  return {
    id: 'exec_1',
    tenant,
    principal: 'tester',
    origin: 'library',
    at: 0,
    asked: { ...parsed, code: asked.code },
    inputText: 'null',
  }
}

function analystWith(
  answer: (text: string) => string | Promise<string>,
  more: { cacheEntriesMax?: number; rulesVersion?: () => string; layers?: LayerCode } = {},
) {
  const asked: string[] = []
  const said: string[] = []
  const analyse = createAnalyst({
    ask: async (tenant, text) => {
      asked.push(tenant)
      return answer(text)
    },
    emitter: { emit: (point) => void said.push(point) },
    ...more,
  })
  return { analyse, asked, said }
}

const honest = (text: string) => JSON.stringify(inspect(JSON.parse(text)))

test('a job becomes a verdict with scores, severity, findings and capabilities', async () => {
  const { analyse } = analystWith(honest)
  const analysis = await analyse(jobOf({ code: 'fetch("x")\nprocess.exit()' }))
  assert.equal(analysis.kind, 'verdict')
  const verdict = verdictSchema.parse(analysis.verdict)
  assert.equal(verdict.threatScore, 90)
  assert.equal(verdict.severity, 'low')
  assert.deepEqual(verdict.capabilities, ['network', 'process'])
  assert.deepEqual(
    verdict.findings.map(({ name, line, column, kind }) => [name, line, column, kind]),
    [
      ['PROCESS_ACCESS', 2, 1, 'need'],
      ['NETWORK', 1, 1, 'need'],
    ],
  )
  assert.equal(verdict.signatureValid, false)
})

test('S3-25: equal jobs are analysed once; another tenant, file, entry or language is analysed anew', async () => {
  const { analyse, asked } = analystWith(honest)
  const files = [{ path: 'a.js', content: '1' }]
  const fresh = await analyse(jobOf({ code: 'return 1' }))
  const again = await analyse({ ...jobOf({ code: 'return 1', input: 2 }), inputText: '2' })
  assert.equal(asked.length, 1)
  assert.deepEqual([fresh.cached, again], [false, { ...fresh, cached: true }])
  await analyse(jobOf({ code: 'return 1' }, 'acme'))
  await analyse(jobOf({ code: 'return 1', files }))
  await analyse(jobOf({ code: 'return 1', files: [{ path: 'a.js', content: '2' }] }))
  await analyse(jobOf({ code: 'return 1', entry: 'body' }))
  await analyse(jobOf({ code: 'return 1', language: 'js' }))
  assert.deepEqual(asked, ['default', 'acme', 'default', 'default', 'default', 'default'])
})

test('S3-25: a change of the rules invalidates a cached verdict', async () => {
  let version = '1'
  const { analyse, asked } = analystWith(honest, { rulesVersion: () => version })
  const first = await analyse(jobOf({ code: 'return 1' }))
  await analyse(jobOf({ code: 'return 1' }))
  assert.equal(asked.length, 1, 'it is cached before the change')
  version = '2'
  const second = await analyse(jobOf({ code: 'return 1' }))
  assert.equal(asked.length, 2)
  assert.notEqual(first.verdict.digest, second.verdict.digest)
})

test('S3-25: findings stored beside a layer of packages count for the analyser that made them', async () => {
  let stored = JSON.stringify({ version: 'rules', found: [] })
  const content = 'process.exit()'
  const layers = {
    codeBytes: () => content.length,
    read: () => [{ path: 'node_modules/a/index.js', content }],
    recall: () => stored,
    keep: (_layer: string, text: string) => void (stored = text),
  }
  const layer = { kind: 'node', layer: 'a'.repeat(64), files: 1, bytes: 14 } as const
  const job: Job = { ...jobOf({ code: 'return 1', language: 'js' }), packages: [layer] }
  const namesBy = async (rulesVersion: string) => {
    const { analyse, asked } = analystWith(honest, { rulesVersion: () => rulesVersion, layers })
    const { verdict } = await analyse(job)
    return [verdict.findings.map(({ name }) => name).join(), asked.length]
  }
  assert.deepEqual(await namesBy('rules'), ['PROCESS_ACCESS', 2], 'the version names no analyser')
  assert.deepEqual(await namesBy('rules'), ['PROCESS_ACCESS', 1], 'this analyser stored it')
  assert.deepEqual(await namesBy('other rules'), ['PROCESS_ACCESS', 2])
})

test('S3-25: a cached verdict takes a tenth of the time of its analysis at most, for 10 KB of source', async () => {
  const filler = Array.from(
    { length: 140 },
    (_, n) => `function part${n}(list) { return list.map((x) => x * ${n}).filter(Boolean) }`,
  ).join('\n')
  const { analyse, asked } = analystWith(honest)
  const timesMs = { fresh: [] as number[], cached: [] as number[] }
  for (let n = 0; n < 11; n++)
    for (const which of ['fresh', 'cached'] as const) {
      const job = jobOf({ code: `// ${n}\n${filler}\nreturn input.a + 1` })
      assert.ok(job.asked.code.length > 10_000)
      const began = performance.now()
      await analyse(job)
      timesMs[which].push(performance.now() - began)
    }
  assert.equal(asked.length, 11)
  const [fresh, cached] = [medianOf(timesMs.fresh), medianOf(timesMs.cached)]
  assert.ok(fresh >= 10 * cached, `${fresh} ms, cached ${cached} ms`)
})

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

test('the cache is bounded, and evicts the least recently used entry', async () => {
  const { analyse, asked } = analystWith(honest, { cacheEntriesMax: 2 })
  for (const code of ['1', '2', '1', '3', '1', '2']) await analyse(jobOf({ code }))
  assert.equal(asked.length, 4)
})

const garbage: Record<string, () => string | Promise<string>> = {
  'no JSON': () => 'ok',
  'nothing of use': () => '{}',
  'a rejection': () => Promise.reject(new Error('it died')),
  'a pattern that does not exist': () =>
    honest('{"code":"1","entry":"auto","files":[]}').replace(
      '"found":[]',
      '"found":[{"name":"X"}]',
    ),
  'an entry that is not decided': () =>
    honest('{"code":"1","entry":"auto","files":[]}').replace('"body"', '"auto"'),
  'a score beyond its bound': () =>
    honest('{"code":"1","entry":"auto","files":[]}').replace(
      '"behaviorScore":0',
      '"behaviorScore":-1',
    ),
  'another source to run': () =>
    honest('{"code":"1","entry":"auto","files":[]}').replace('{', '{"javascript":"steal()",'),
  'too much': () => ' '.repeat(10 * 2 ** 20),
}

for (const [name, answer] of Object.entries(garbage)) {
  test(`an analysis that answers with ${name} is the finding UNPARSED, and is not cached`, async () => {
    const { analyse, asked, said } = analystWith(answer)
    const analysis = await analyse(jobOf({ code: '1' }))
    assert.equal(analysis.kind, 'verdict')
    assert.deepEqual([analysis.verdict.threatScore, analysis.verdict.risk], [90, 90])
    assert.equal(analysis.verdict.severity, 'critical')
    assert.equal(analysis.verdict.findings[0]?.name, 'UNPARSED')
    assert.equal(analysis.verdict.findings[0]?.kind, 'threat')
    verdictSchema.parse(analysis.verdict)
    await analyse(jobOf({ code: '1' }))
    assert.equal(asked.length, 2)
    assert.equal(said[0], 'threat/unparsed')
  })
}

test('the account of a job goes with each of its sources to the process, and with none that is cached', async () => {
  const accounts: (JobAccount | undefined)[] = []
  const layer = { kind: 'node', layer: 'a'.repeat(64), files: 1, bytes: 14 } as const
  const analyse = createAnalyst({
    ask: async (_tenant, text, account) => {
      accounts.push(account)
      return honest(text)
    },
    emitter: { emit: () => undefined },
    layers: {
      codeBytes: () => 14,
      read: () => [{ path: 'node_modules/a/index.js', content: 'process.exit()' }],
      recall: () => undefined,
      keep: () => undefined,
    },
  })
  const account = { sender: 'visitor', charge: () => undefined }
  const job = { ...jobOf({ code: 'return 1', language: 'js' }), packages: [layer], account }
  await analyse(job)
  await analyse(job)
  assert.deepEqual(accounts, [account, account])
})

for (const code of ['OVERLOADED', 'DRAINING', 'WARDEN_LOST'] as const)
  test(`a job that this machine could not analyse is not judged: ${code}`, async () => {
    const { analyse, said } = analystWith(() => {
      throw new MayflyError(code, 'Cannot analyse now')
    })
    await assert.rejects(analyse(jobOf({ code: 'return 1' })), { code })
    assert.deepEqual(said, [])
  })

test('a machine where no analysis can start judges neither a job nor the layers of its packages', async () => {
  const { analyse, said } = analystWith(() => {
    throw new NoAnalystError('UNAVAILABLE', 'Cannot analyse: a file is missing')
  })
  await assert.rejects(analyse(jobOf({ code: 'return 1' })), NoAnalystError)
  const lost = createLayerAnalyst({
    ask: () => Promise.reject(new NoAnalystError('UNAVAILABLE', 'Cannot analyse')),
    layers: {
      codeBytes: () => 14,
      read: () => [{ path: 'node_modules/a/index.js', content: 'process.exit()' }],
      recall: () => undefined,
      keep: () => undefined,
    },
    version: () => 'one',
    emitter: { emit: (point) => void said.push(point) },
  })
  const layer = { kind: 'node', layer: 'a'.repeat(64), files: 1, bytes: 14 } as const
  await assert.rejects(lost({ ...jobOf({ code: '1' }), packages: [layer] }), NoAnalystError)
  assert.deepEqual(said, [])
})

test('a reply cannot change the requested language', async () => {
  const { analyse } = analystWith(() =>
    honest('{"code":"1","entry":"auto","files":[],"language":"sh"}'),
  )
  const { verdict } = await analyse(jobOf({ code: '1', language: 'js' }))
  assert.equal(verdict.findings[0]?.name, 'UNPARSED')
  assert.equal(verdict.language, 'js')
})

test('a source with a syntax error ends with its position, and its verdict has no finding', async () => {
  const { analyse } = analystWith(honest)
  const analysis = await analyse(jobOf({ code: 'return 1\nlet = = 2' }))
  assert.equal(analysis.kind, 'syntax-error')
  assert.equal(analysis.kind === 'syntax-error' && analysis.line, 2)
  assert.deepEqual(analysis.verdict.findings, [])
})

test('TypeScript comes back as JavaScript of the same length', async () => {
  const { analyse } = analystWith(honest)
  const code = 'const a: number = 1\nreturn a as unknown'
  const analysis = await analyse(jobOf({ code, language: 'ts' }))
  assert.equal(
    analysis.kind === 'verdict' && analysis.javascript,
    'const a         = 1\nreturn a           ',
  )
})

test('the server side of analysis loads no parser', () => {
  const seen = new Set<string>()
  const visit = (url: URL) => {
    if (seen.has(url.href)) return
    seen.add(url.href)
    const source = readFileSync(url, 'utf8')
    for (const [, kind, from] of source.matchAll(/^(import(?: type)?)[^']*'([^']+)'/gm)) {
      assert.notEqual(from, 'oxc-parser', url.href)
      if (kind === 'import' && from!.startsWith('.')) visit(new URL(from!, url))
    }
  }
  visit(new URL('./analyse.ts', import.meta.url))
  assert.ok(seen.size > 5)
})
