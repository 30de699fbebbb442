import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from '../fixtures/drawn.ts'
import { bearer, call, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

interface Row {
  readonly name: string
  readonly tier: string
  readonly strength: number
  readonly available: boolean
  readonly code?: string
  readonly reason?: string
  readonly fix?: string
  readonly module?: string
}

const textOf = (path: string) =>
  readFileSync(new URL(`../../examples/${path}`, import.meta.url), 'utf8')
const composed = textOf('provider-module/python-alone.js')
/** Start of a module that runs the default export of its code in Node, without a wall. */
const runsNode = `import { appendFileSync } from 'node:fs'
const guest = \`const { writeSync } = require('node:fs')
const { text } = require('node:stream/consumers')
const source = 'data:text/javascript,' + encodeURIComponent(process.argv[1])
Promise.all([import(source), text(process.stdin)]).then(async ([guest, input]) =>
  writeSync(3, JSON.stringify(await guest.default(JSON.parse(input)))))\`
`
const isRoot = process.getuid?.() === 0
const proofMsMax = 60_000

/** Provider modules, as an operator adds them to a server that is serving. */
suite('Provider modules from a folder', () => {
  const place = makePlace()
  const above = dirname(place.cwd)
  const folder = join(above, 'providers')
  const config = join(above, 'mayfly.toml')
  let server: Server

  before(async () => {
    mkdirSync(folder, { mode: 0o755 })
    // Landlock closes to the server of an ordinary user what appears beside its state folder after its start.
    mkdirSync(join(above, 'outside'))
    writeFileSync(config, '[providers]\nfolder = "providers"\n', { mode: 0o644 })
    server = await startServer(place, ['--config', config])
    await whenReady(server)
  })
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, left: [] })
    place.remove()
  })

  function drop(name: string, text: string, mode = 0o644): string {
    const draft = join(folder, `.${name}`)
    writeFileSync(draft, text)
    chmodSync(draft, mode)
    renameSync(draft, join(folder, name))
    return join(folder, name)
  }
  const url = (path: string) => new URL(path, server.active).href
  const rows = async (): Promise<readonly Row[]> => {
    const { json } = await call(url('/v1/providers'), { headers: bearer(server.apiKey) })
    return json as unknown as readonly Row[]
  }
  /** Polls: under load a proof takes longer than one response. */
  const proved = async (name: string): Promise<Row | undefined> => {
    const until = performance.now() + proofMsMax
    let row: Row | undefined
    do {
      row = (await rows()).find((one) => one.name === name)
      if (!row?.reason?.includes('in progress')) return row
      await sleep(200)
    } while (performance.now() < until)
    return row
  }
  const run = (job: object) => post(url('/v1/executions'), job, bearer(server.apiKey))
  const inPython = { code: 'result = sum([1, 2, 39])', language: 'python' }

  always(
    'S4-3, S4-15: a module that is dropped in is listed, proved, and serves a job, without a restart',
    async () => {
      assert.equal(await proved('python-alone'), undefined)
      const file = drop('python-alone.js', composed)
      const row = await proved('python-alone')
      assert.ok(row?.available, row?.reason ?? '')
      assert.deepEqual([row.tier, row.strength, row.module], ['process', 3, file])
      const { json } = await run({ ...inPython, provider: 'python-alone' })
      assert.deepEqual(
        [json['status'], json['result'], json['provider']],
        ['ok', 42, 'python-alone'],
      )
      const other = await run({ code: 'return 1', provider: 'python-alone' })
      assert.deepEqual([other.status, other.json['code']], [503, 'UNAVAILABLE'])
    },
  )

  test('S4-3: a job of the command line uses the module too', async () => {
    writeFileSync(join(place.cwd, 'sum.py'), 'result = sum([1, 2, 39])')
    const args = ['run', 'sum.py', '--provider', 'python-alone', '--config', config, '--json']
    const outcome = documentOf(await mayfly(place, args))
    assert.deepEqual([outcome['status'], outcome['result']], ['ok', 42])
    assert.equal(outcome['provider'], 'python-alone')
  })

  always(
    'S4-3: a module that is removed takes no further job, and a running one ends normally',
    async () => {
      const running = run({
        code: 'import time\nprint("on", flush=True)\ntime.sleep(2)\nresult = 42',
        language: 'python',
        provider: 'python-alone',
      })
      await sleep(700)
      unlinkSync(join(folder, 'python-alone.js'))
      assert.equal(await proved('python-alone'), undefined)
      const refused = await run({ ...inPython, provider: 'python-alone' })
      assert.equal(refused.status, 503)
      const ended = (await running).json
      assert.deepEqual([ended['status'], ended['result']], ['ok', 42])
    },
  )

  always('S4-15: a broken module is listed with its cause, and jobs go on', async () => {
    const files = [
      drop('syntax.js', 'export default {'),
      drop('shape.js', `export default { name: 'shape', on: 'process', speed: 9 }`),
      drop(
        'hang.js',
        `export default { ...${provider('hang')}, detect: () => new Promise(() => {}) }`,
      ),
      drop('throw.js', `throw new Error('nothing here')`),
    ]
    const { json } = await run({ code: 'return 1' })
    assert.equal(json['status'], 'ok')
    const reasons = ['syntax', 'shape', 'hang', 'throw'].map(async (name) => {
      const { available, code, reason } = (await proved(name))!
      return [available, code, reason?.replace(/^.*?": /, '')]
    })
    assert.deepEqual(await Promise.all(reasons), [
      [false, 'PROVIDER_BROKEN', 'Unexpected end of input'],
      [false, 'PROVIDER_BROKEN', 'its default export is wrong: Unrecognized key: "speed"'],
      [false, 'PROVIDER_BROKEN', 'its probe took longer than 10000 ms'],
      [false, 'PROVIDER_BROKEN', 'nothing here'],
    ])
    const named = await run({ ...inPython, provider: 'syntax' })
    assert.equal(named.status, 503)
    assert.match(named.text, /it is not available: .*Unexpected end of input/)
    const ready = await call(url('/readyz'))
    assert.equal(ready.status, 200)
    assert.deepEqual(ready.json['refused'].toSorted(), ['hang', 'shape', 'syntax', 'throw'])
    files.forEach((file) => unlinkSync(file))
  })

  always('S4-15: a module without a wall cannot claim a tier: a guest refutes it', async () => {
    const answers = join(above, 'outside', 'answers')
    writeFileSync(answers, '')
    // The server may have become another user.
    chmodSync(answers, 0o666)
    const text = textOf('provider/shell.ts')
      .replace(`name: 'shell'`, `name: 'liar'`)
      .replace(`tier: 'none'`, `tier: 'process'`)
      .replace('strength: 0', 'strength: 3')
      .replace(`languages: ['sh']`, `languages: ['node']`)
      .replace(`'/bin/sh', ['-c', code]`, `process.execPath, ['--eval', guest, '--', code]`)
      .replace('return {', `appendFileSync(${JSON.stringify(answers)}, resultText)\n    return {`)
    const file = drop('liar.ts', `${runsNode}${text}\nexport default shell\n`)
    const { available, code, reason } = (await proved('liar'))!
    assert.deepEqual([available, code], [false, 'PROVIDER_UNPROVED'])
    assert.match(reason ?? '', /it claims tier "process", and did not hold node: network/)
    // The guest ran, and told of the listener that it reached.
    assert.match(readFileSync(answers, 'utf8'), /^\[[^\]]*"tcp"/)
    unlinkSync(file)
  })

  always(
    'S4-15: a module that others could have written is refused, with the place and a fix',
    async () => {
      const outside = join(above, 'outside')
      chmodSync(outside, 0o777)
      const marker = join(outside, 'evaluated')
      const mark = `import { writeFileSync } from 'node:fs'\nwriteFileSync(${JSON.stringify(marker)}, '')\n`
      const open = drop('open.js', mark + composed, 0o666)
      writeFileSync(join(outside, 'evil.js'), mark + composed)
      symlinkSync(join(outside, 'evil.js'), join(folder, 'link.js'))
      assert.deepEqual(refusal(await proved('open')), [
        'PROVIDER_UNTRUSTED',
        `everybody may write to "${open}" (mode 0666)`,
        `chmod go-w ${open}`,
      ])
      assert.deepEqual(refusal(await proved('link')), [
        'PROVIDER_UNTRUSTED',
        `everybody may write to "${outside}" (mode 0777)`,
        `chmod go-w ${outside}`,
      ])
      assert.equal(existsSync(marker), false)
      // The same text leaves its mark where nobody else may write to it.
      const own = drop('own.js', mark + composed.replace("'python-alone'", "'marking'"))
      assert.ok((await proved('marking'))?.available)
      assert.ok(existsSync(marker))
      for (const one of [open, join(folder, 'link.js'), own]) unlinkSync(one)
      chmodSync(folder, 0o775)
      const [code, reason] = refusal(await proved('providers'))
      assert.deepEqual(
        [code, reason],
        ['PROVIDER_UNTRUSTED', `its group may write to "${folder}" (mode 0775)`],
      )
      chmodSync(folder, 0o755)
    },
  )

  always(
    'S4-15: a module of another user is refused',
    { skip: !isRoot && 'only root gives files away' },
    async () => {
      const strange = drop('strange.js', composed)
      chownSync(strange, 12_345, 12_345)
      const [code, reason] = refusal(await proved('strange'))
      assert.equal(code, 'PROVIDER_UNTRUSTED')
      assert.match(String(reason), /belongs to uid 12345, not to root/)
      unlinkSync(strange)
    },
  )

  always('the record tells which modules came, were refused and went', async () => {
    const { stdout } = await mayfly(place, ['audit', 'export'])
    const expected = [
      ['provider/loaded', 'python-alone'],
      ['provider/removed', 'python-alone'],
      ['provider/refused', 'liar'],
      ['provider/refused', 'open'],
    ] as const
    for (const [point, name] of expected)
      assert.ok(
        stdout.split('\n').some((line) => line.includes(point) && line.includes(`"${name}"`)),
        `${point} ${name}`,
      )
  })
})

suite('Provider modules and jobs', () => {
  const place = makePlace()
  after(() => place.remove())
  const module = () => {
    writeFileSync(join(place.cwd, 'wall.js'), composed)
    chmodSync(join(place.cwd, 'wall.js'), 0o644)
  }

  test('S4-15: no module is loaded from the folder of the job', async () => {
    module()
    const toml = join(dirname(place.cwd), 'job.toml')
    writeFileSync(toml, '[providers]\nmodules = ["cwd/wall.js"]\n')
    writeFileSync(join(place.cwd, 'job.py'), 'result = 1')
    const args = ['run', 'job.py', '--provider', 'python-alone', '--config', toml, '--json']
    const outcome = documentOf(await mayfly(place, args))
    assert.equal(outcome['status'], 'unavailable')
    assert.match(outcome['error'].message, /no available provider is "python-alone"/)
    const listed = JSON.parse(
      (await mayfly(place, ['providers', '--json', '--config', toml])).stdout,
    )
    assert.equal(listed.find(({ name }: Row) => name === 'python-alone').available, true)
  })

  test('S4-15: a configuration found in the current folder names no module until it is trusted', async () => {
    module()
    writeFileSync(join(place.cwd, 'mayfly.toml'), '[providers]\nmodules = ["wall.js"]\n')
    const refused = await mayfly(place, ['providers'])
    assert.equal(refused.code, 2)
    assert.match(refused.stderr, /providers\.modules: code that Mayfly trusts/)
    await mayfly(place, ['policy', 'trust'])
    const listed = JSON.parse((await mayfly(place, ['providers', '--json'])).stdout)
    assert.equal(listed.find(({ name }: Row) => name === 'python-alone').available, true)
  })
})

function refusal(row: Row | undefined): readonly (string | undefined)[] {
  assert.equal(row?.available, false)
  return [row.code, row.reason?.replace(/^.*?": /, ''), row.fix]
}

function provider(name: string): string {
  return `{ name: '${name}', tier: 'none', languages: ['js'], enforces: [], tightens: [], can: [], launch() {} }`
}
