import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import type { Language } from '../../src/contract/job.ts'
import { Mayfly, type Outcome } from '../../src/index.ts'
import { makeDraw, test } from '../fixtures/drawn.ts'
import { mountFlags, noMounts } from '../walls/mounts.ts'
import { isMissing } from '../walls/process-stands.ts'
import { bearer, post } from './http-door.ts'
import {
  bin,
  documentOf,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Server,
} from './program.ts'

/**
 * A program has the same outcome on every wall and through every door, except for the wall that it ran on, its times
 * and its line in the record.
 */
interface Program {
  readonly title: string
  readonly language: Language
  readonly file: string
  readonly code: string
  readonly walls: readonly ('isolated-vm' | 'bubblewrap' | 'embedded')[]
  readonly expect: Partial<Outcome>
}

const everywhere = ['isolated-vm', 'bubblewrap', 'embedded'] as const
const asProcess = ['bubblewrap', 'embedded'] as const
const input = { words: ['so', 'leicht', 'wie', 'ein', 'Tag', 'für', 'eine', 'Fliege', '🪰'] }
const longest = 'leicht'
const sorted = input.words.toSorted()

const programs: readonly Program[] = [
  {
    title: 'a program in JavaScript',
    language: 'js',
    file: 'job.js',
    walls: everywhere,
    code: `
      console.log('words:', input.words.length)
      console.error('é 🪰')
      await new Promise((resolve) => setTimeout(resolve, 1))
      const longest = input.words.reduce((a, b) => (b.length > a.length ? b : a))
      return { sorted: input.words.toSorted(), longest, half: 0.1 + 0.2, none: null }`,
    expect: {
      status: 'ok',
      result: { sorted, longest, half: 0.1 + 0.2, none: null },
      encoding: 'json',
      stdout: 'words: 9\n',
      stderr: 'é 🪰\n',
    },
  },
  {
    title: 'values that plain JSON would lose, from JavaScript',
    language: 'js',
    file: 'tagged.js',
    walls: everywhere,
    code: `return [new Date(0), new Map([[1, 2n]]), new Set(['é']), NaN, -0, new Uint8Array([1, 2])]`,
    expect: {
      status: 'ok',
      encoding: 'tagged',
      result: [
        { $type: 'Date', value: '1970-01-01T00:00:00.000Z' },
        { $type: 'Map', value: [[1, { $type: 'BigInt', value: '2' }]] },
        { $type: 'Set', value: ['é'] },
        { $type: 'number', value: 'NaN' },
        { $type: 'number', value: '-0' },
        { $type: 'bytes', value: 'AQI=' },
      ],
    },
  },
  {
    title: 'an error in JavaScript, after some output',
    language: 'js',
    file: 'throws.js',
    walls: everywhere,
    code: `console.log('before')\nthrow new RangeError('too far')`,
    expect: { status: 'error', result: null, stdout: 'before\n', stderr: '' },
  },
  {
    title: 'a program in Python',
    language: 'python',
    file: 'job.py',
    walls: asProcess,
    code: `
import json, sys
def main(input):
    words = input["words"]
    print("words:", len(words))
    print("é 🪰", file=sys.stderr)
    return {"sorted": sorted(words), "longest": max(words, key=len), "half": 0.1 + 0.2, "none": None}`,
    expect: {
      status: 'ok',
      result: { sorted, longest, half: 0.1 + 0.2, none: null },
      encoding: 'json',
      stdout: 'words: 9\n',
      stderr: 'é 🪰\n',
    },
  },
  {
    title: 'values that plain JSON would lose, from Python',
    language: 'python',
    file: 'tagged.py',
    walls: asProcess,
    code: `result = [float("nan"), 2**80, b"\\x01\\x02", {"é"}, -0.0]`,
    expect: {
      status: 'ok',
      encoding: 'tagged',
      result: [
        { $type: 'number', value: 'NaN' },
        { $type: 'BigInt', value: `${2n ** 80n}` },
        { $type: 'bytes', value: 'AQI=' },
        { $type: 'Set', value: ['é'] },
        { $type: 'number', value: '-0' },
      ],
    },
  },
  {
    title: 'an error in Python, after some output',
    language: 'python',
    file: 'throws.py',
    walls: asProcess,
    code: `print("before")\nresult = {}["gone"]`,
    expect: { status: 'error', result: null, stdout: 'before\n' },
  },
  {
    title: 'a module for Node',
    language: 'node',
    file: 'job.mjs',
    walls: asProcess,
    code: `
      import { createHash } from 'node:crypto'
      import { writeSync } from 'node:fs'
      export default ({ words }) => {
        writeSync(1, 'words: ' + words.length + '\\n')
        console.error('é 🪰')
        return createHash('sha256').update(words.join()).digest('hex')
      }`,
    expect: { status: 'ok', encoding: 'json', stdout: 'words: 9\n', stderr: 'é 🪰\n' },
  },
  {
    title: 'a script for the shell',
    language: 'sh',
    file: 'job.sh',
    walls: asProcess,
    code: `cat | wc -c; echo 'é' >&2; echo '{"made": true}' >&3`,
    expect: { status: 'ok', result: { made: true }, stderr: 'é\n' },
  },
  {
    title: 'a script that fails',
    language: 'sh',
    file: 'bad.sh',
    walls: asProcess,
    code: `echo almost; exit 3`,
    expect: { status: 'error', exitCode: 3, result: null, stdout: 'almost\n', stderr: '' },
  },
]

const place = makePlace()
let library: Mayfly
let server: Server

before(async () => {
  library = await Mayfly.open({ state: join(place.state, 'library') })
  server = await startServer(place, ['--state', join(place.state, 'server')])
  await whenReady(server)
  for (const { file, code } of programs) writeFileSync(join(place.cwd, file), code)
})
after(async () => {
  await server.stop()
  await library.close()
  place.remove()
})

/** Fields that must be equal, as the bytes that a client gets. */
const kept = ({ status, result, encoding, stdout, stderr, truncated, artifacts, error }: Outcome) =>
  JSON.stringify({
    status,
    result,
    encoding,
    stdout,
    stderr,
    truncated,
    artifacts,
    error: error && { code: error.code, name: error.name, message: error.message },
  })

type Door = (program: Program, provider: string) => Promise<Outcome>

const doors: Readonly<Record<string, Door>> = {
  library: ({ language, code, file: name }, provider) =>
    library.run({ language, code, name, input, provider }),
  async http({ language, code, file: name }, provider) {
    const body = { language, code, name, input, provider }
    const url = new URL('/v1/executions', server.active).href
    return (await post(url, body, bearer(server.apiKey))).json as Outcome
  },
  async cli({ language, file }, provider) {
    const words = ['--language', language, '--provider', provider, '--input', JSON.stringify(input)]
    return documentOf(await mayfly(place, ['run', file, ...words, '--json'])) as Outcome
  },
}

suite('The outcome is the same everywhere', () => {
  for (const program of programs)
    test(`S0-14: ${program.title}, on every wall of its language, through every entry point`, async (t) => {
      if (isMissing(t, { jailKind: 'bubblewrap' })) return
      let first: string | undefined
      const isByCommand = makeDraw(program.title, program.walls.length)
      for (const wall of program.walls) {
        const isWithCli = isByCommand()
        for (const [name, door] of Object.entries(doors)) {
          // A command starts a server for its one job.
          if (name === 'cli' && !isWithCli) continue
          const outcome = await door(program, wall)
          const where = `${wall} by ${name}`
          assert.equal(outcome.provider, wall, `${where}: ${JSON.stringify(outcome.error)}`)
          for (const [field, value] of Object.entries(program.expect))
            assert.deepEqual(outcome[field as keyof Outcome], value, `${where}: ${field}`)
          first ??= kept(outcome)
          assert.equal(kept(outcome), first, where)
        }
      }
    })

  test('S0-14: each wall reports the versions of its Node and Python', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const python = spawnSync('/usr/bin/python3', ['-V'], { encoding: 'utf8' }).stdout.trim()
    const listed = await library.providers()
    const walls = listed.filter(
      // The wall of macOS runs nothing here.
      ({ provider }) => provider.tier === 'process' && provider.name !== 'seatbelt',
    )
    const names = walls.map(({ provider }) => provider.name).toSorted()
    assert.deepEqual(names, ['bubblewrap', 'embedded'])
    for (const { provider, availability } of walls) {
      assert.ok(availability.available)
      const versions = [`node ${process.versions.node}`, python.replace('Python', 'python')]
      assert.deepEqual(availability.features, versions, provider.name)
    }
  })

  test('S0-14: without Python the error names the missing program, and other languages still run', async (t) => {
    const none = noMounts()
    if (none) return t.skip(none)
    // Bind-mounts /dev/null over the interpreter in a mount namespace of this command alone.
    const shell = 'mount --bind /dev/null "$(realpath /usr/bin/python3)" && exec "$@"'
    const hidden = (args: readonly string[]) => {
      const words = [...mountFlags(), 'sh', '-c', shell, 'sh', process.execPath, bin, ...args]
      const { stdout } = spawnSync('unshare', words, {
        cwd: place.cwd,
        env: { ...place.env, MAYFLY_STATE: join(place.state, 'poor') },
        encoding: 'utf8',
        timeout: 300_000,
      })
      return JSON.parse(stdout) as Outcome
    }
    const poor = hidden(['run', 'job.py', '--json'])
    assert.deepEqual(
      [poor.status, poor.error?.code, poor.error?.message],
      [
        'unavailable',
        'LANGUAGE_UNSUPPORTED',
        'Cannot run "python" here: no available wall has its runtime',
      ],
    )
    assert.match(JSON.stringify(poor.error?.details), /does not run \\"python\\"/)
    assert.equal(hidden(['run', 'job.sh', '--json']).status, 'ok')
  })

  test('Files below out/ are returned with their bytes if the job asks for artifacts', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    writeFileSync(join(place.cwd, 'made.py'), 'open("out/a.bin", "wb").write(bytes([0, 255]))')
    mkdirSync(join(place.cwd, 'made'))
    chmodSync(join(place.cwd, 'made'), 0o777)
    const ran = await mayfly(place, ['run', 'made.py', '--artifacts', 'made', '--quiet'])
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(readFileSync(join(place.cwd, 'made/a.bin')), Buffer.from([0, 255]))
    const body = { language: 'sh', code: 'printf é > out/b.txt' }
    const url = new URL('/v1/executions', server.active).href
    for (const artifacts of ['inline', 'reference'] as const) {
      const { json } = await post(url, { ...body, artifacts }, bearer(server.apiKey))
      const [{ content, ...file }] = json['artifacts'] as [{ path: string; content?: string }]
      const bytes = artifacts === 'inline' ? Buffer.from('é').toString('base64') : undefined
      assert.deepEqual([file.path, content], ['b.txt', bytes])
    }
  })

  test('A folder for artifacts that cannot be written is a usage error before anything runs', async () => {
    writeFileSync(join(place.cwd, 'plain'), '')
    const ran = await mayfly(place, ['run', 'job.sh', '--artifacts', 'plain/made', '--json'])
    assert.deepEqual([ran.code, documentOf(ran)['error'].code], [2, 'USAGE'])
  })

  test('S0-14: two languages give the same value the same bytes', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const [js, python] = await Promise.all(
      [programs[0]!, programs[3]!].map((program) => doors['library']!(program, program.walls[1]!)),
    )
    assert.equal(kept(js!), kept(python!))
  })
})
