import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limitsOf, profileOf } from '../../tests/sim/simulated-life.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Profile } from '../contract/profile.ts'
import type { TaskEnd } from '../contract/provider.ts'
import { reworded, type EntryPoint } from '../contract/remedy.ts'
import { sha256 } from '../lib/hash.ts'
import { createGate } from './gate.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

const file = (path: string, size = 3) => ({ path, bytes: new Uint8Array(size) })

function endOf(parts: Partial<TaskEnd> = {}): TaskEnd {
  return { status: 'ok', resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [], ...parts }
}

function close(parts: Partial<TaskEnd>, profile: Partial<Profile> = {}) {
  return createGate(profileOf(profile)).close(endOf(parts))
}

function read(
  resultText: string,
  encoding: 'json' | 'tagged' | 'text' = 'json',
  profile?: Partial<Profile>,
) {
  return close({ resultText, encoding }, profile)
}

test('Result and output of a job pass unchanged', () => {
  const gate = createGate(profileOf())
  void gate.stdout(bytes('out'))
  void gate.stderr(bytes('err'))
  assert.deepEqual(gate.close(endOf({ resultText: '{"a":[1]}' })), {
    status: 'ok',
    result: { a: [1] },
    encoding: 'json',
    artifacts: [],
    display: [],
    stdout: 'out',
    stderr: 'err',
    truncated: { stdout: false, stderr: false },
  })
})

test('Output over its limit is cut between two characters and marked (S0-16)', () => {
  const heard: string[] = []
  const profile = profileOf({ limits: limitsOf({ output: 7 }) })
  const gate = createGate(profile, (_, text) => void heard.push(text))
  for (const byte of bytes('a\u{1f600}\u{1f600}b')) void gate.stdout(Uint8Array.of(byte))
  void gate.stderr(bytes('1234567'))
  const gated = gate.close(endOf())
  assert.equal(gated.stdout, 'a\u{1f600}')
  assert.deepEqual(gated.truncated, { stdout: true, stderr: false })
  assert.equal(heard.join(''), 'a\u{1f600}1234567')
})

test('A closed network is named where a program failed to look up a name or reach a host, in the words of each entry point', () => {
  const { controls } = profileOf()
  const failed = (text: string, allow: readonly string[] = []) => {
    const network = { allow, deny: [] }
    const gate = createGate(profileOf({ controls: { ...controls, network } }))
    void gate.stderr(bytes(text))
    const error = { code: 'EXIT', message: 'The program exited with 1' }
    return gate.close(endOf({ status: 'error', error })).error!
  }
  for (const said of [
    'curl: (6) Could not resolve host: example.com',
    'cause: Error: getaddrinfo EAI_AGAIN example.com',
    'cause: Error: getaddrinfo ENOTFOUND example.com',
    'socket.gaierror: [Errno -2] Name or service not known',
    'OSError: [Errno 101] Network is unreachable',
  ])
    assert.equal(
      reworded('run', failed(said)).message,
      'The program exited with 1: the job has no network (--allow HOST permits a host)',
    )
  const pip = 'Name or service not known\nERROR: No matching distribution found for tabulate\n'
  const npm = 'npm error network request failed, reason: getaddrinfo ENOTFOUND a.example\n'
  for (const said of [pip, npm])
    for (const [entry, words] of Object.entries({
      api: '"network": {"allow": ["HOST"]} permits a host; for packages use "packages"',
      run: '--allow HOST permits a host; for packages use --packages FOLDER',
      sandbox: `"mayfly sandbox create --allow HOST" permits a host; for packages use packages that the operator's machine has`,
      run_session: `"network" in the operator's configuration permits a host; for packages use packages that the operator's machine has`,
    }))
      assert.equal(
        reworded(entry as EntryPoint, failed(said)).message,
        `The program exited with 1: the job has no network (${words})`,
      )
  assert.equal(failed('Error: no').message, 'The program exited with 1')
  assert.equal(failed(pip, ['a.example']).message, 'The program exited with 1')
})

test('Invalid UTF-8 is replaced, and a character split over chunks is not', () => {
  const heard: string[] = []
  const gate = createGate(profileOf(), (_, text) => void heard.push(text))
  for (const part of [[0xe2], [0x82], [0xac, 0xff], [0xef, 0xbb, 0xbf], [0xf0, 0x9f]]) {
    void gate.stdout(Uint8Array.from(part))
  }
  const { stdout } = gate.close(endOf())
  assert.equal(stdout, '\u20ac\ufffd\ufeff\ufffd')
  assert.equal(heard.join(''), stdout)
})

test('A chunk is copied, since its buffer may be reused', () => {
  const gate = createGate(profileOf())
  const chunk = bytes('before')
  void gate.stdout(chunk)
  chunk.fill(0x78)
  assert.equal(gate.close(endOf()).stdout, 'before')
})

test("A listener's promise is back-pressure, and a listener that throws is unsubscribed", async () => {
  const slow = Promise.withResolvers<void>()
  const gate = createGate(profileOf(), () => slow.promise)
  const held = gate.stdout(bytes('a'))
  assert(held instanceof Promise)
  slow.reject(new Error('gone'))
  await held
  assert.equal(gate.stdout(bytes('b')), undefined)
  const throwing = createGate(profileOf(), () => {
    throw new Error('broken')
  })
  assert.equal(throwing.stdout(bytes('a')), undefined)
  assert.equal(gate.close(endOf()).stdout, 'ab')
})

test('With gate "whole" nothing is sent before the verdict, and nothing at all if it is refused', () => {
  const output = { gate: 'whole', schema: { type: 'number' } } as const
  for (const [resultText, heardAfter, status] of [
    ['1', ['stdout:a', 'stderr:b'], 'ok'],
    ['"x"', [], 'refused'],
  ] as const) {
    const heard: string[] = []
    const gate = createGate(
      profileOf({ output }),
      (name, text) => void heard.push(`${name}:${text}`),
    )
    void gate.stdout(bytes('a'))
    void gate.stderr(bytes('b'))
    assert.deepEqual(heard, [])
    const gated = gate.close(endOf({ resultText }))
    assert.deepEqual([gated.status, heard], [status, heardAfter])
    assert.equal(gated.stdout, status === 'ok' ? 'a' : '')
  }
})

test('With gate "whole" the listener gets the bytes of output that is not UTF-8 after the verdict', () => {
  const heard: unknown[] = []
  const profile = profileOf({ output: { gate: 'whole' } })
  const gate = createGate(profile, (...all) => void heard.push(all))
  void gate.stdout(Uint8Array.of(0xff, 0x61))
  void gate.stderr(bytes('b'))
  assert.equal(gate.close(endOf()).stdout, '\ufffda')
  assert.deepEqual(heard, [
    ['stdout', '\ufffda', Buffer.of(0xff, 0x61)],
    ['stderr', 'b', undefined],
  ])
})

test('Output after the end is ignored', () => {
  const gate = createGate(profileOf())
  gate.close(endOf())
  void gate.stdout(bytes('late'))
  assert.equal(gate.close(endOf()).stdout, '')
})

test('A result that is too large, too deep or no JSON is refused', () => {
  const limits = limitsOf({ result: 5000 })
  const code = (text: string) => {
    const { status, result, error } = read(text, 'json', { limits })
    if (error) assert.deepEqual([status, result], ['refused', null])
    return error?.code
  }
  assert.equal(code(`"${'x'.repeat(5000)}"`), 'RESULT_TOO_LARGE')
  assert.equal(code(`"${'\u20ac'.repeat(1700)}"`), 'RESULT_TOO_LARGE')
  assert.equal(code(`"${'\u20ac'.repeat(1600)}"`), undefined)
  assert.equal(code('['.repeat(1600) + ']'.repeat(1600)), 'RESULT_TOO_DEEP')
  assert.equal(code('['.repeat(1500) + ']'.repeat(1500)), undefined)
  assert.equal(code(`"${'['.repeat(4000)}"`), undefined)
  assert.equal(code(`"\\"${'['.repeat(4000)}"`), undefined)
  assert.equal(code('{"a":'), 'RESULT_MALFORMED')
  assert.equal(code(''), 'RESULT_MALFORMED')
  assert.equal(code('undefined'), 'RESULT_MALFORMED')
})

test('A hundred thousand brackets are refused before they are parsed', () => {
  assert.equal(read('['.repeat(100_000)).error?.code, 'RESULT_TOO_DEEP')
  assert.equal(read('{"a":'.repeat(100_000)).error?.code, 'RESULT_TOO_DEEP')
})

test('A raw key __proto__ is a forged result, in any spelling, and a tagged pair of that name is data', () => {
  for (const text of [
    '{"__proto__":{"x":1}}',
    '[{"\\u005f_proto__":1}]',
    '{"a":{"__proto\\u005F_":1}}',
  ]) {
    const { status, result, error } = read(text)
    assert.deepEqual([status, result, error?.code], ['refused', null, 'RESULT_FORGED'])
  }
  const pairs = '{"$type":"object","value":[["__proto__",1]]}'
  assert.deepEqual(read(pairs, 'tagged').result, JSON.parse(pairs))
  assert.equal(read('"__proto__"').result, '__proto__')
})

test('Tags are interpreted only in tagged results', () => {
  const forged = '{"$type":"Date","value":"yesterday"}'
  assert.equal(read(forged, 'tagged').error?.code, 'RESULT_FORGED')
  assert.deepEqual(read(forged).result, { $type: 'Date', value: 'yesterday' })
  assert.equal(read('{"$type":"BigInt","value":"12"}', 'tagged').encoding, 'tagged')
})

test('A lone surrogate becomes a replacement character, in keys too', () => {
  assert.deepEqual(read('{"\\ud800":"a\\udc00"}').result, { '\ufffd': 'a\ufffd' })
  assert.deepEqual(read('"\ud800"').result, '\ufffd')
  assert.equal(read('"\\ud83d\\ude00"').result, '\u{1f600}')
})

test('A result that does not match its schema is refused, and the error gives the position', () => {
  const schema = { type: 'object', properties: { width: { type: 'integer', minimum: 1 } } }
  const profile = { output: { gate: 'stream', schema } } as const
  const { status, result, error } = read('{"width":0}', 'json', profile)
  assert.deepEqual([status, result, error?.code], ['refused', null, 'SCHEMA_MISMATCH'])
  assert.deepEqual(error?.details, { path: '/width', why: 'expected at least 1' })
  assert.equal(read('{"width":2}', 'json', profile).status, 'ok')
  assert.throws(
    () => createGate(profileOf({ output: { gate: 'stream', schema: { type: 'x' } } })),
    {
      code: 'INVALID',
    },
  )
})

test('A job that failed has a bounded error and no result', () => {
  const made = close({ status: 'timeout', resultText: '1' })
  assert.deepEqual([made.status, made.result, made.error?.code], ['timeout', null, 'TIMEOUT'])
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const { error } = close({
    status: 'error',
    error: {
      code: 'x'.repeat(100),
      name: '\ud800',
      message: 'm'.repeat(1e6),
      stack: 's'.repeat(1e6),
      details: circular,
    },
  })
  assert.deepEqual(
    [error!.code.length, error!.message.length, error!.stack!.length],
    [64, 8192, 16_384],
  )
  assert.equal(error!.name, '\ufffd')
  assert.equal('details' in error!, false)
})

test('Artifacts leave with size and digest, and not at all if too large or with unsafe paths', () => {
  const limits = limitsOf({ artifacts: 10 })
  const leaving = close({ artifacts: [file('a/b.bin')] }, { limits })
  assert.deepEqual(leaving.artifacts, [
    { path: 'a/b.bin', size: 3, sha256: sha256(new Uint8Array(3)) },
  ])
  const refused = (artifacts: TaskEnd['artifacts']) => {
    const gated = close({ artifacts, resultText: '1' }, { limits })
    assert.deepEqual([gated.status, gated.result, gated.artifacts], ['refused', null, []])
    return gated.error?.code
  }
  assert.equal(refused([file('a', 6), file('b', 6)]), 'ARTIFACTS_TOO_LARGE')
  assert.equal(
    refused(Array.from({ length: 1001 }, (_, i) => file(`${i}`, 0))),
    'ARTIFACTS_TOO_LARGE',
  )
  for (const path of [
    '',
    '/etc/passwd',
    '../a',
    'a/../../b',
    './a',
    'a//b',
    'a\0b',
    'a\u0001b',
    'a\nb',
    'a\x9bb',
    'a\\..\\b',
    '\ud800',
  ]) {
    assert.equal(refused([file(path)]), 'ARTIFACT_INVALID', path)
  }
  assert.equal(refused([file('a'), file('a')]), 'ARTIFACT_INVALID')
})

test('A listener gets a long stream to its limit, and the end repeats a MiB of it', () => {
  let heard = 0
  const profile = profileOf({ limits: limitsOf({ output: 2 ** 22 }) })
  const gate = createGate(profile, (_, text) => void (heard += text.length))
  const chunk = new Uint8Array(65_536).fill(97)
  for (let sent = 0; sent < 2 ** 23; sent += chunk.length) void gate.stdout(chunk)
  const { stdout, truncated } = gate.close(endOf())
  const lines = (text: string) => text.replace(/\n… \d+ bytes left out …\n/, '')
  assert.match(stdout, /a\n… \d+ bytes left out …\na/)
  assert.ok(heard <= 2 ** 22 && heard > 2 ** 22 - 50, `${heard}`)
  assert.ok(stdout.length <= 2 ** 20 && lines(stdout).length > 2 ** 20 - 50)
  assert.equal(truncated.stdout, true)
})

test('Output over its limit is an artifact as a whole, and what is left out of its text is counted', () => {
  const profile = profileOf({ limits: limitsOf({ output: 1000, artifacts: 2 ** 20 }) })
  const gate = createGate(profile)
  const whole = Array.from({ length: 500 }, (_, n) => `line ${n}\n`).join('')
  void gate.stdout(bytes(whole))
  const { stdout, outputLeftOut, artifacts, files } = gate.close(endOf({ artifacts: [file('a')] }))
  const leftOut = /\n… (\d+) bytes left out …\n/.exec(stdout)
  assert.ok(stdout.startsWith('line 0\n') && stdout.endsWith('line 499\n'))
  assert.deepEqual(outputLeftOut, { stdout: Number(leftOut?.[1]) })
  assert.deepEqual(
    artifacts.map(({ path, size }) => [path, size]),
    [
      ['a', 3],
      ['stdout.txt', whole.length],
    ],
  )
  assert.equal(Buffer.from(files![1]!.bytes).toString(), whole)
})

test('A result that is too large names its bound, the key that raises it and a way without it', () => {
  const profile = profileOf({ limits: limitsOf({ result: 2 ** 20 }) })
  const message = 'Cannot return the result: it takes more bytes than this job may return'
  const guests = endOf({ status: 'error', error: { code: 'RESULT_TOO_LARGE', message } })
  for (const end of [guests, endOf({ resultText: `"${'x'.repeat(2 ** 20)}"` })]) {
    const { error } = createGate(profile).close(end)
    assert.match(
      error?.message ?? '',
      /return: 1MB \(write it to a file, or have "limits\.result" in/,
    )
  }
})

test('A whole output takes no room of the artifacts of a job, nor one of their names', () => {
  for (const [own, ...more] of [
    [file('stdout.txt'), 'stdout-1.txt'],
    [file('large', 10_000)],
  ] as const) {
    const profile = profileOf({ limits: limitsOf({ output: 300, artifacts: 12_000 }) })
    const gate = createGate(profile)
    void gate.stdout(bytes('some text\n'.repeat(290)))
    const { artifacts, status } = gate.close(endOf({ artifacts: [own] }))
    assert.deepEqual([status, artifacts.map(({ path }) => path)], ['ok', [own.path, ...more]])
  }
})

test('A result of encoding "text" is a string, anything else is forged', () => {
  assert.deepEqual(read('"<Thing>"', 'text').result, '<Thing>')
  assert.equal(read('{"a":1}', 'text').error?.code, 'RESULT_FORGED')
  assert.equal(read('null', 'text').error?.code, 'RESULT_FORGED')
})

test('Rich output that names no artifact is refused, and withheld with the rest', () => {
  const display = [{ type: 'image/png', path: 'a.png' }]
  const artifacts = [{ path: 'a.png', bytes: bytes('png') }]
  const shown = createGate(profileOf()).close(endOf({ display, artifacts }))
  assert.deepEqual([shown.status, shown.display], ['ok', display])
  const forged = createGate(profileOf()).close(endOf({ display }))
  assert.deepEqual(
    [forged.status, forged.error?.code, forged.display],
    ['refused', 'DISPLAY_INVALID', []],
  )
})

test('A limit error names the limit, its value and how to raise it', () => {
  const at = (code: string, because: string, more: Partial<Profile['limits']> = {}) => {
    const status = code === 'TIMEOUT' ? 'timeout' : 'limit'
    const field = `limits.${code.toLowerCase()}`
    return close(
      { status, error: { code, message: 'x' } },
      { limits: limitsOf(more), explain: [{ field, value: 0, because }] },
    ).error!
  }
  const memory = at('MEMORY', 'default', { memory: 128 * 2 ** 20 })
  assert.equal(memory.message, 'The job used more memory than 128 MB ("limits.memory" raises it)')
  assert.deepEqual(memory.details, {
    limit: { field: 'limits.memory', value: 128 * 2 ** 20, because: 'default' },
    remedies: [{ field: 'limits.memory', value: 256 * 2 ** 20 }],
  })
  assert.match(
    at('DISK', 'ceilings.disk', { disk: 1536 }).message,
    /more space than 1\.5 KB \(the operator's "ceilings\.disk" holds it there\)/,
  )
  const { message } = close(
    { status: 'timeout', error: { code: 'TIMEOUT', message: 'x' } },
    {
      limits: limitsOf({ timeout: 5 }),
      explain: [{ field: 'limits.timeout', value: 5, because: 'asked' }],
    },
  ).error!
  assert.equal(
    message,
    'The job ran longer than 5 ms of wall time ("limits.timeout" raises it; a number is milliseconds, "5s" is five seconds)',
  )
})

test('An error that a guest completed has the remedies of its text, and a text of the program has none', () => {
  const message = 'fetch is not defined here: run it with "language": "node"'
  const closed = (error: OutcomeError) => close({ status: 'error', error }).error?.details
  assert.deepEqual(closed({ code: 'USER_ERROR', name: 'ReferenceError', message }), {
    remedies: [{ field: 'language', value: 'node' }],
  })
  assert.equal(closed({ code: 'USER_ERROR', name: 'Error', message }), undefined)
})

test('A life ended by its schedule has a message that names it', () => {
  const { schedule } = profileOf()
  const phases = [{ ...schedule.phases[0]!, for: 1500 }]
  const { error } = close(
    { status: 'timeout', error: { code: 'TIMEOUT', message: 'x' } },
    { limits: limitsOf({ timeout: 5000 }), schedule: { ...schedule, name: 'short', phases } },
  )
  assert.equal(
    error!.message,
    'The life of schedule "short" was over after 1.5 s: its phases are that long',
  )
})

test('A life whose phases ended early has a message with both lengths, and no advice about the timeout', () => {
  const { schedule } = profileOf()
  const phases = [{ ...schedule.phases[0]!, for: 5000 }]
  const { error } = close(
    { status: 'timeout', error: { code: 'TIMEOUT', message: 'x', details: { lifeMs: 3260 } } },
    { limits: limitsOf({ timeout: 5000 }), schedule: { ...schedule, name: 'beacon', phases } },
  )
  assert.equal(
    error!.message,
    'The life of schedule "beacon" was over after 3.3 s of 5 s: its phases ended early',
  )
})

test('An error with the name of a limit at another end is unchanged', () => {
  const { error } = close({ status: 'error', error: { code: 'MEMORY', message: 'mine' } })
  assert.deepEqual(error, { code: 'MEMORY', message: 'mine' })
})
