import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import { inJs, Stand } from '../conformance/stand.ts'

/** Code caches of the realm: stored once beside Node's compile cache, and taken over by each worker. */
const here = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))
const run = promisify(execFile)
const reports = `
import { Cell } from ${JSON.stringify(here('guest/cell.js'))}
import { findParts } from ${JSON.stringify(here('guest/cell/parts.js'))}
import { REHEARSAL } from ${JSON.stringify(here('guest/cell/rehearsal.js'))}
import { deserialize } from 'node:v8'
import { readFileSync } from 'node:fs'
import ivm from 'isolated-vm'
const folder = process.env.NODE_COMPILE_CACHE
const isFound = findParts(folder)
const isolate = new ivm.Isolate()
const refused = isFound
  ? deserialize(readFileSync(folder + '/realm.parts')).filter(([, code, bytes]) =>
      isolate.compileScriptSync(code, { filename: 'mayfly:realm', cachedData: new ivm.ExternalCopy(bytes) })
        .cachedDataRejected !== false)
  : []
const cell = new Cell({ memoryMiB: 64, webAssembly: false })
let stdout = ''
const code = 'console.log([1, { a: 2 }]); const id = crypto.randomUUID(); return [id.length, new URL("http://a/b").pathname]'
const io = { released() {}, stdout(text) { stdout += text }, stderr() {}, call: async () => 'null' }
const { status, resultText } = await cell.run({ ...REHEARSAL, code }, io)
console.log(JSON.stringify({ isFound, refused: refused.length, status, resultText, stdout }))
process.reallyExit(0)`
const expected = {
  refused: 0,
  status: 'ok',
  resultText: '[36,"/b"]',
  stdout: '[ 1, { a: 2 } ]\n',
}

suite('Stored code caches of the realm', () => {
  let own: string
  let folder: string
  before(async () => {
    own = mkdtempSync(join(tmpdir(), 'mayfly-parts-'))
    const [home, generation] = [join(own, 'home'), '0123456789abcdef']
    folder = join(home, generation, 'compiled')
    mkdirSync(home)
    const args = [here('src/jail/prepare.js'), here('.'), home, generation, here('.')]
    await run(process.execPath, args, { env: {} })
  })
  after(() => rmSync(own, { recursive: true }))

  const told = async (env: Readonly<Record<string, string>>) => {
    const program = ['--input-type=module', '--eval', reports]
    const { stdout } = await run(process.execPath, program, { cwd: here('.'), env })
    return JSON.parse(stdout) as typeof expected & { isFound: boolean }
  }

  test('are reused, V8 accepts each, and a job has the same result as without them', async () => {
    const [stored, none] = [await told({ NODE_COMPILE_CACHE: folder }), await told({})]
    assert.deepEqual(stored, { ...expected, isFound: true })
    assert.deepEqual(none, { ...expected, isFound: false })
  })

  test('are rebuilt if a stored file is truncated', async () => {
    const file = join(folder, 'realm.parts')
    const whole = readFileSync(file)
    try {
      writeFileSync(file, whole.subarray(0, whole.length / 2))
      assert.deepEqual(await told({ NODE_COMPILE_CACHE: folder }), { ...expected, isFound: false })
    } finally {
      writeFileSync(file, whole)
    }
  })
})

test('A worker started for one job has random numbers, although it closed its files', async () => {
  const made = await makeIsolates()
  try {
    const stand = new Stand(made.provider, makeIsolates, inJs)
    const source =
      'return [crypto.randomUUID().length, crypto.getRandomValues(new Uint8Array(4)).length]'
    // More concurrent jobs than spare workers.
    const ends = await Promise.all(Array.from({ length: 4 }, () => stand.run(source)))
    for (const { end } of ends) assert.equal(end.resultText, '[36,4]')
  } finally {
    await made.provider.close?.()
    await made.close()
  }
})
