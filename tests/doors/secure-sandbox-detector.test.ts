import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { Language } from '../../src/contract/job.ts'
import { Mayfly, SandboxThreatDetector } from '../../src/index.ts'
import { signEnvelope } from '../../src/threat/signature.ts'

/** The tests promised for SandboxThreatDetector, point by point. */
suite('SandboxThreatDetector', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-detector-'))
  let mayfly: Mayfly
  let detector: SandboxThreatDetector
  before(async () => {
    mayfly = await Mayfly.open({ state: join(folder, 'state') })
    detector = new SandboxThreatDetector({ mayfly })
  })
  after(async () => {
    await mayfly.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const namesIn = async (code: string): Promise<string[]> =>
    (await detector.analyzeCode(code)).patterns.map(({ name }) => name)

  const blockedAt = async (blockThreshold?: number): Promise<boolean> => {
    const options = blockThreshold === undefined ? { mayfly } : { mayfly, blockThreshold }
    return (await new SandboxThreatDetector(options).analyzeCode('eval(input)')).blocked
  }

  test('Safe code detection: plain code has no pattern, a low score, and is not blocked', async () => {
    const { score, patterns, severity, blocked } = await detector.analyzeCode(
      'const sum = input.numbers.reduce((a, b) => a + b, 0)\nreturn { sum }',
    )
    assert.deepEqual(
      { patterns, severity, blocked },
      { patterns: [], severity: 'low', blocked: false },
    )
    assert.ok(score < 40)
  })

  suite('Malicious pattern detection: each pattern has its name, score and position', () => {
    const cases = [
      ['EVAL', 80, 'const a = 1\n  eval(a)', 2],
      ['PROCESS_ACCESS', 90, 'process.exit(1)', 1],
      ['FILESYSTEM', 85, "import fs from 'node:fs'\nfs.readFileSync('/etc/passwd')", 1],
      ['CHILD_PROCESS', 95, "require('child_process').exec('id')", 1],
      ['NETWORK', 75, "fetch('http://a.example')", 1],
      ['REQUIRE', 70, "require('lodash')", 1],
      ['IMPORT', 70, "import x from 'lodash'", 1],
      ['BUFFER_OVERFLOW', 80, 'new ArrayBuffer(2 ** 40)', 1],
      ['TIMING_ATTACK', 40, 'const t = performance.now(); work(); return performance.now() - t', 1],
    ] as const
    for (const [name, score, code, line] of cases)
      test(`${name} scores ${score}`, async () => {
        const analysis = await detector.analyzeCode(code)
        const pattern = analysis.patterns.find((one) => one.name === name)
        assert.equal(pattern?.score, score)
        assert.equal(pattern.line, line)
        assert.ok(analysis.score >= score)
        assert.equal(analysis.blocked, analysis.score >= 80)
      })
  })

  test('Prototype pollution detection', async () => {
    assert.ok((await namesIn('({}).__proto__.admin = true')).includes('PROTOTYPE_POLLUTION'))
    assert.ok((await namesIn('Object.prototype.admin = true')).includes('PROTOTYPE_POLLUTION'))
  })

  test('VM escape detection', async () => {
    const code = 'this.constructor.constructor("return process")()'
    const { score, severity, blocked } = await detector.analyzeCode(code)
    assert.deepEqual(
      { score, severity, blocked },
      { score: 100, severity: 'critical', blocked: true },
    )
    assert.ok(
      (await namesIn('x["const" + "ructor"]["constructor"]("return 1")')).includes('VM_ESCAPE'),
    )
  })

  test('Cryptomining detection', async () => {
    const code =
      "new WebSocket('wss://pool.minexmr.com:4444'); new CoinHive.Anonymous('key').start()"
    const { score } = await detector.analyzeCode(code)
    assert.ok((await namesIn(code)).includes('CRYPTOMINING'))
    assert.ok(score >= 95)
  })

  test('Complexity analysis: every branch adds one', async () => {
    const one = await detector.analyzeCode('return input')
    const four = await detector.analyzeCode(
      'if (input.a) return 1\nif (input.b) return 2\nreturn input.c && 3',
    )
    assert.equal(four.complexityScore - one.complexityScore, 3)
  })

  test('Packed code gets a score for behavior, and plain code does not', async () => {
    const packed = `eval(String.fromCharCode(${Array.from({ length: 80 }, (_, n) => 60 + (n % 50)).join(',')}))`
    const [hidden, plain] = [
      await detector.analyzeCode(packed),
      await detector.analyzeCode('return 1'),
    ]
    assert.ok(hidden.behaviorScore > plain.behaviorScore)
    assert.equal(plain.behaviorScore, 0)
  })

  suite('Options (S3-26)', () => {
    test('A score of 80 is blocked by a threshold of 80, and not by one of 81', async () => {
      assert.deepEqual(
        [await blockedAt(79), await blockedAt(80), await blockedAt(81), await blockedAt()],
        [true, true, false, true],
      )
    })

    test('An invalid threshold is an error', () => {
      for (const blockThreshold of [-1, 102, NaN])
        assert.throws(() => new SandboxThreatDetector({ blockThreshold }), { code: 'INVALID' })
    })

    suite('Signatures', () => {
      const code = 'return 1'
      const [trusted, stranger] = [signerOf(code), signerOf(code)]
      const signing = () =>
        new SandboxThreatDetector({
          mayfly,
          enableCodeSigning: true,
          trustedSigners: [trusted.publicKey],
        })

      test('A trusted signer’s signature is valid, and unsigned code has none', async () => {
        assert.equal((await signing().analyzeCode(code, trusted)).signatureValid, true)
        assert.equal((await signing().analyzeCode(code)).signatureValid, false)
      })

      test('A changed byte and an untrusted signer are refused, and counted as refused, not as analysed', async () => {
        const detector = signing()
        const refused = { name: 'MayflyError', code: 'SIGNATURE_INVALID' }
        await assert.rejects(detector.analyzeCode('return 2', trusted), refused)
        await assert.rejects(detector.analyzeCode(code, stranger), { code: 'SIGNER_UNKNOWN' })
        const { analyzed, refused: count } = detector.getStatistics()
        assert.deepEqual([analyzed, count], [0, 2])
      })

      test('An envelope is valid for the language that was signed, and for no other', async () => {
        const { privateKey } = generateKeyPairSync('ed25519')
        const signable = { code: 'print(1)', files: [], language: 'python' } as const
        const grants = { capabilities: [], expires: null }
        const signature = signEnvelope(signable, privateKey, grants)
        const trustedSigners = [signature.key]
        const detector = new SandboxThreatDetector({
          mayfly,
          enableCodeSigning: true,
          trustedSigners,
        })
        const analyse = (language?: Language) =>
          detector.analyzeCode(signable.code, { signature, ...(language && { language }) })
        assert.equal((await analyse('python')).signatureValid, true)
        for (const other of ['sh', 'js', undefined] as const)
          await assert.rejects(analyse(other), { code: 'SIGNATURE_INVALID', message: /of python/ })
        assert.equal(detector.getStatistics().refused, 3)
      })

      test('A signature is refused by a detector that does not verify signatures', async () => {
        await assert.rejects(detector.analyzeCode(code, trusted), { code: 'INVALID' })
      })
    })
  })

  test('The result has every documented key with its type (S3-27)', async () => {
    const analysis = await detector.analyzeCode('eval(1)')
    const types = Object.fromEntries(
      Object.entries(analysis).map(([key, value]) => [
        key,
        Array.isArray(value) ? 'array' : typeof value,
      ]),
    )
    assert.deepEqual(types, {
      score: 'number',
      patterns: 'array',
      severity: 'string',
      blocked: 'boolean',
      complexityScore: 'number',
      behaviorScore: 'number',
      signatureValid: 'boolean',
      cached: 'boolean',
    })
    const [pattern] = analysis.patterns
    assert.deepEqual(Object.keys(pattern!).sort(), [
      'column',
      'count',
      'description',
      'line',
      'name',
      'score',
      'severity',
    ])
  })

  test('Code that does not parse is blocked, with its position', async () => {
    const { blocked, syntaxError } = await detector.analyzeCode('const a = 1\nconst = 2')
    assert.equal(blocked, true)
    assert.equal(syntaxError?.line, 2)
  })

  test('A malformed WebAssembly module is blocked, as at a registration', async () => {
    const malformed = Buffer.from('no module').toString('base64')
    const empty = Buffer.from('\0asm\x01\0\0\0', 'latin1').toString('base64')
    const blocked = async (code: string) =>
      (await detector.analyzeCode(code, { language: 'wasm' })).blocked
    assert.deepEqual([await blocked(malformed), await blocked(empty)], [true, false])
  })

  test('Caching: analysing the same code again is a cache hit, and other code is a miss', async () => {
    const own = new SandboxThreatDetector({ mayfly })
    const code = 'return "only here"'
    const known = []
    for (const source of [code, code, `${code};`])
      known.push((await own.analyzeCode(source)).cached)
    assert.deepEqual(known, [false, true, false])
    assert.equal(own.getStatistics().cacheHits, 1)
  })

  test('Statistics tracking: analyses, blocks, cache hits and occurrences are counted exactly (S3-62)', async () => {
    const own = new SandboxThreatDetector({ mayfly })
    assert.deepEqual(own.getStatistics(), {
      analyzed: 0,
      blocked: 0,
      refused: 0,
      cacheHits: 0,
      occurrences: {},
    })
    const sources = [
      'return "s"',
      'eval(1); eval(2)',
      'eval(1); eval(2)',
      'fetch("http://a.example/s")',
    ]
    for (const source of sources) await own.analyzeCode(source)
    assert.deepEqual(own.getStatistics(), {
      analyzed: 4,
      blocked: 2,
      refused: 0,
      cacheHits: 1,
      occurrences: { EVAL: 4, NETWORK: 1 },
    })
  })

  test('The documented example runs unchanged', async () => {
    const code = 'return 1'
    const detector = new SandboxThreatDetector({
      blockThreshold: 80,
      enableCodeSigning: true,
      trustedSigners: ['publicKey1', 'publicKey2'],
      mayfly,
    })
    await assert.rejects(detector.analyzeCode(code, { signature: '...', publicKey: '...' }), {
      code: 'SIGNATURE_INVALID',
    })
    assert.equal((await detector.analyzeCode(code)).blocked, false)
  })
})

function signerOf(code: string): { readonly signature: string; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x = '' } = publicKey.export({ format: 'jwk' })
  return {
    signature: sign(null, Buffer.from(code), privateKey).toString('base64'),
    publicKey: Buffer.from(x, 'base64url').toString('base64'),
  }
}
