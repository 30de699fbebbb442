import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { JobRequest } from '../../src/contract/job.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { auditFile } from '../../src/lib/state-folder.ts'
import { providerNames } from '../../src/assemble/providers.ts'
import { Mayfly } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { call, Program } from '../fixtures/wasi-program.ts'
import { op } from '../fixtures/wasm.ts'
import { makePlace } from './program.ts'

/**
 * S4-2: a digest of the input, by the library, on each provider of the table, with the images of machines. Each language of a
 * provider has a program of its own for it; walls of a language share one. The mock runs no code: its answer says so.
 */
type ProviderName = (typeof providerNames)[number]
type Source = Pick<JobRequest, 'language'> & { readonly code: string }

const text = 'so leicht wie ein Tag: 0123456789'
const input = { text }

const body = `
  let digest = 2166136261
  for (const char of JSON.stringify(input)) digest = Math.imul(digest ^ char.charCodeAt(0), 16777619)
  return Array.from({ length: 8 }, (_, at) => String.fromCharCode(97 + ((digest >>> (28 - 4 * at)) & 15))).join('')`
const isolate: Source = { language: 'js', code: body }
const program: Source = { language: 'node', code: `export default (input) => {${body}\n}` }
const python: Source = {
  language: 'python',
  code: `
import json
def main(input):
    digest = 2166136261
    for byte in json.dumps(input, separators=(",", ":")).encode():
        digest = (digest ^ byte) * 16777619 & 0xffffffff
    return "".join(chr(97 + (digest >> 28 - 4 * at & 15)) for at in range(8))`,
}

/** Programs that return their own source as base64. In an isolate, which has no file of it, that is the text of the function. */
const ownSources: readonly Source[] = [
  {
    language: 'js',
    code: 'function own() { return btoa(unescape(encodeURIComponent(own.toString()))) /* ä 😀 */ }',
  },
  {
    language: 'node',
    code: `// ä 😀
import { readFileSync } from 'node:fs'
export default () => readFileSync(import.meta.filename, 'base64')\n`,
  },
  {
    language: 'python',
    code: '# ä 😀\nimport base64\nresult = base64.b64encode(open(__file__, "rb").read()).decode()\n',
  },
]

const digests: Readonly<Record<Exclude<ProviderName, 'mock'>, readonly Source[]>> = {
  'isolated-vm': [isolate],
  wasi: [{ language: 'wasm', code: digestInWasm() }],
  bubblewrap: [isolate, program, python],
  embedded: [isolate, program, python],
  seatbelt: [isolate, program],
  podman: [isolate, program, python],
  docker: [isolate, program, python],
  gvisor: [isolate, program, python],
  'user-mode-linux': [isolate, program, python],
  firecracker: [isolate, program, python],
  qemu: [isolate, program, python],
}
suite('S4-2: one program on every provider', () => {
  const place = makePlace()
  const state = join(place.state, 'library')
  let mayfly: Mayfly
  before(async () => {
    await copyMachineState(state)
    mayfly = await Mayfly.open({ state })
  })
  after(async () => {
    await mayfly.close()
    place.remove()
  })

  const run = (provider: ProviderName, source: Source) =>
    mayfly.run({ ...source, input, provider, limits: { timeout: 120_000 } })

  /** Reason why a provider that ran nothing is unavailable; fails the test if it is available. */
  async function whyAbsent(name: ProviderName): Promise<string> {
    const all = await mayfly.providers()
    const found = all.find(({ provider }) => provider.name === name)?.availability
    assert.ok(found && !found.available, `${name} is available, and ran nothing`)
    assert.ok(found.reason.length > 10 && found.fix.length > 5, JSON.stringify(found))
    return found.reason
  }

  for (const [provider, sources] of Object.entries(digests) as [ProviderName, Source[]][])
    test(`S4-2: ${provider} gives the same result as every other, or the reason why it is unavailable`, async (t) => {
      for (const source of sources) {
        const outcome = await run(provider, source)
        if (outcome.status === 'unavailable') return t.skip(await whyAbsent(provider))
        const where = `${source.language}: ${JSON.stringify(outcome.error)}`
        assert.deepEqual(
          [outcome.status, outcome.provider, outcome.result],
          ['ok', provider, digestOf(input)],
          where,
        )
      }
    })

  for (const [provider, sources] of Object.entries(digests) as [ProviderName, Source[]][])
    test(`S0-13: ${provider}: the SHA-256 of the code in the record is that of the source that the guest has`, async (t) => {
      const own = ownSources.filter(({ language }) =>
        sources.some((source) => source.language === language),
      )
      if (own.length === 0) return t.skip('a module in WebAssembly cannot read itself')
      for (const source of own) {
        const outcome = await run(provider, source)
        if (outcome.status === 'unavailable') return t.skip(await whyAbsent(provider))
        const { id, result, error } = outcome
        const seen = sha256(Buffer.from(result as string, 'base64'))
        const where = `${source.language}: ${JSON.stringify(error)}`
        assert.deepEqual([seen, recordedDigest(id)], [sha256(source.code), seen], where)
      }
    })

  /** Digest of the code in the record, which is read without the server's help. */
  function recordedDigest(id: string): unknown {
    using log = openLog(auditFile(state))
    const [admitted] = log.last(2, id).map(({ bodyText }) => JSON.parse(bodyText) as object)
    return (admitted as { codeSha256?: unknown }).codeSha256
  }

  test('S4-2: the mock returns its input, and is marked as a mock', async () => {
    const { result, provider } = await run('mock', isolate)
    assert.deepEqual([provider, result], ['mock', { mock: true, echo: input }])
  })

  test('S4-2: a job that names an unknown provider gets the list of known providers', async () => {
    const { status, error } = await mayfly.run({ ...program, input, provider: 'no-such-wall' })
    assert.equal(status, 'unavailable')
    assert.ok(error)
    assert.match(error.message, /no available provider is "no-such-wall"/)
    const { hint } = error.details as { hint: string }
    const named = new Set(hint.replace('Name one of ', '').split(', '))
    // The error message loads no provider that this process never needed: WebAssembly and the mock.
    for (const name of providerNames)
      assert.ok(named.has(name) || name === 'wasi' || name === 'mock', name)
  })
})

/** FNV-1a of the JSON of a value, 32 bits, as eight letters from a to p. */
function digestOf(value: unknown): string {
  let digest = 2166136261
  for (const byte of Buffer.from(JSON.stringify(value))) digest = Math.imul(digest ^ byte, 16777619)
  const hex = (digest >>> 0).toString(16).padStart(8, '0')
  return hex.replaceAll(/./g, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16)))
}

/** The same as a module, which reads its input and writes its result by WASI. */
function digestInWasm(): string {
  const inputAt = 1024
  const textAt = 2048
  const digestAt = 16
  const [i32And, i32Xor, i32ShiftRight, i32LessThan] = [[0x71], [0x73], [0x76], [0x49]]
  const [loadByte, storeByte] = [
    [0x2d, 0, 0],
    [0x3a, 0, 0],
  ]
  const digest = [...op.i32(digestAt), ...op.load()]
  const byte = [...op.get(0), ...op.i32(inputAt), ...op.i32Add, ...loadByte]
  const step = [...digest, ...byte, ...i32Xor, ...op.i32(16_777_619), ...op.i32Mul]
  const next = [...op.get(0), ...op.i32(1), ...op.i32Add, ...op.set(0)]
  const hasMore = [...op.get(0), ...op.i32(4), ...op.load(), ...i32LessThan]
  const shift = [...op.i32(28), ...op.get(0), ...op.i32(4), ...op.i32Mul, ...op.i32Sub]
  const nibble = [...digest, ...shift, ...i32ShiftRight, ...op.i32(15), ...i32And]
  const letterAt = [...op.get(0), ...op.i32(textAt + 1), ...op.i32Add]
  return new Program()
    .does([...op.i32(0), ...op.i32(inputAt), ...op.store()])
    .does([...op.i32(4), ...op.i32(1024), ...op.store()])
    .does([...op.i32(0), ...op.i32(0), ...op.i32(1), ...op.i32(4)])
    .does(op.call(call.fd_read), op.drop)
    .does(op.i32(digestAt), op.i32(2_166_136_261 | 0), op.store())
    .does(
      op.loop([
        ...op.i32(digestAt),
        ...step,
        ...op.store(),
        ...next,
        ...hasMore,
        ...op.branchIf(0),
      ]),
    )
    .times(8, (one) => one.does(letterAt, nibble, op.i32(97), op.i32Add, storeByte))
    .does(op.i32(textAt), op.i32(34), storeByte, op.i32(textAt + 9), op.i32(34), storeByte)
    .write(3, textAt, 10).base64
}
