import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, suite } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Mayfly, type JobRequest } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'
import { post } from './http-door.ts'

/**
 * Common jobs with the default configuration: unmodified libraries, in the isolate, through each door, with the result
 * that the same code has outside.
 */
/** Under load of other tests a job of one second exceeded the default timeout of five. */
const timeout = '60s'
const root = fileURLToPath(new URL('../../', import.meta.url))
const resolve = createRequire(import.meta.url).resolve

interface RealJob {
  readonly title: string
  readonly source: string
  /** File of the library, and its name in the job. */
  readonly library: readonly [from: string, as: string]
  readonly input: unknown
}

const jobs: readonly RealJob[] = [
  {
    title: 'A long Markdown document rendered by marked',
    source: 'markdown.js',
    library: [join(root, 'node_modules/marked/lib/marked.esm.js'), 'marked.js'],
    input: { text: longMarkdown() },
  },
  {
    title: 'A page rendered by handlebars',
    source: 'page.js',
    library: [join(root, 'node_modules/handlebars/dist/handlebars.js'), 'handlebars.js'],
    input: {
      template: '<ul>{{#each people}}<li class="{{kind}}">{{name}}: {{age}}</li>{{/each}}</ul>',
      data: { people: rows(2_000) },
    },
  },
  {
    title: 'A data file of some megabytes through lodash',
    source: 'data.js',
    library: [resolve('lodash/lodash.js'), 'lodash.js'],
    input: rows(60_000),
  },
]

const place = makePlace()
const outside = mkdtempSync(join(tmpdir(), 'mayfly-outside-'))
let server: Server | undefined
let library: Mayfly | undefined

before(async () => {
  for (const job of jobs) layOutside(job)
  server = await startServer(place)
  await whenReady(server)
  library = await Mayfly.open({ state: join(place.state, '..', 'library') })
})
after(async () => {
  await library?.close()
  await server?.stop()
  place.remove()
  rmSync(outside, { recursive: true, force: true })
})

for (const job of jobs)
  suite(`${job.title} gives the same result as outside`, () => {
    let expected: unknown
    before(async () => {
      const url = pathToFileURL(outsideFile(job)).href
      const { default: run } = (await import(url)) as { default: (input: unknown) => unknown }
      expected = JSON.parse(JSON.stringify(run(job.input)))
      assert.ok(JSON.stringify(expected).length > 50)
    })

    test('from the command line', async () => {
      const input = join(place.cwd, `${job.source}.json`)
      writeFileSync(input, JSON.stringify(job.input))
      const [from, as] = job.library
      const words = [
        'run',
        example(job.source),
        '--file',
        `${from}=${as}`,
        '--input',
        `@${input}`,
        '--timeout',
        timeout,
      ]
      const ran = await mayfly(place, [...words, '--json'])
      isRight(documentOf(ran), expected)
      assert.equal(ran.code, 0)
    })

    test('from the library', async () => {
      isRight(await library!.run(requestOf(job)), expected)
    })

    test('over HTTP', async () => {
      const answer = await post(new URL('/v1/executions', server!.active).href, requestOf(job), {
        authorization: `Bearer ${server!.apiKey}`,
      })
      assert.equal(answer.status, 200)
      isRight(answer.json, expected)
    })
  })

function isRight(outcome: Record<string, any>, expected: unknown): void {
  assert.equal(outcome['status'], 'ok', JSON.stringify(outcome['error']))
  assert.equal(outcome['tier'], 'isolate')
  assert.deepEqual(outcome['result'], expected)
}

function requestOf({ source, library: [from, as], input }: RealJob): JobRequest {
  return {
    code: readFileSync(example(source), 'utf8'),
    files: [{ path: as, content: readFileSync(from, 'utf8') }],
    input,
    limits: { timeout },
  }
}

function example(source: string): string {
  return join(root, 'examples/jobs', source)
}

/** Node's loader needs a package.json to recognise modules; ours detects their syntax. */
function layOutside(job: RealJob): void {
  const [from, as] = job.library
  const folder = dirname(outsideFile(job))
  mkdirSync(folder)
  const type = from.endsWith('.esm.js') ? 'module' : 'commonjs'
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }))
  copyFileSync(from, join(folder, as))
  copyFileSync(example(job.source), outsideFile(job))
}

function outsideFile({ source }: RealJob): string {
  return join(outside, source, 'job.mjs')
}

/** About 300 KB with most constructs of Markdown. */
function longMarkdown(): string {
  return Array.from({ length: 700 }, (_, n) => chapter(n)).join('\n')
}

function chapter(n: number): string {
  return `## Chapter ${n}

A paragraph with *emphasis*, **strength**, \`code\`, a [link](https://example.com/${n}) and <b>markup</b>.

1. first
2. second
   - deeper, with ~~what was struck~~

| name | value |
|:-----|------:|
| row  | ${n * n} |

\`\`\`js
const chapter = ${n}
\`\`\`

> quoted & kept, ${'word '.repeat(20)}
`
}

function rows(count: number) {
  const cities = ['Bergen', 'Łódź', 'São Paulo', 'Kyōto', 'Nuuk']
  return Array.from({ length: count }, (_, n) => ({
    name: `Person ${n}`,
    city: cities[n % cities.length],
    kind: n % 3 === 0 ? 'guest' : 'host',
    age: 18 + ((n * 7) % 60),
  }))
}
