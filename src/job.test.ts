import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SimulatedClock } from '../tests/sim/simulated-clock.ts'
import { newJob } from './job.ts'

const clock = new SimulatedClock()
const who = { tenant: 'acme', principal: 'p', origin: 'library' } as const
const withSchema = (schema: Record<string, unknown>) =>
  newJob({ code: 'return 1', output: { schema } }, who, clock)

suite('A job request', () => {
  test('is refused for a schema that is too large, before anything walks it', () => {
    const properties = Object.fromEntries(
      Array.from({ length: 2000 }, (_, n) => [`name${n}`, { type: 'string', maxLength: 10 }]),
    )
    assert.ok(withSchema({ type: 'object', properties }).asked.output.schema)
    const many = Array.from({ length: 30_000 }, () => 1)
    const large: readonly Record<string, unknown>[] = [
      { default: many },
      { enum: [{ deep: { in: many } }] },
      { title: 'x'.repeat(300_000) },
      { ['k'.repeat(300_000)]: true },
    ]
    for (const schema of large)
      assert.throws(
        () => withSchema(schema),
        { code: 'INVALID' },
        JSON.stringify(schema).slice(0, 40),
      )
  })

  test('is refused for a limit outside of "limits", and for bytes, with the field that takes them', () => {
    const refused = (asked: Record<string, unknown>, message: RegExp) =>
      assert.throws(() => newJob({ code: 'return 1', ...asked }, who, clock), { message })
    refused({ timeout: 5000 }, /"timeout"; a limit goes as "limits\.timeout"$/)
    refused({ timeoutMs: 5000 }, /"timeoutMs"; a limit goes as "limits\.timeout"$/)
    const operators = /"result"; a job cannot set "limits\.result" in the operator's configuration$/
    refused({ limits: { result: '1GB' } }, operators)
    refused({ colour: 'red' }, /Unrecognized key: "colour"$/)
    const files = [{ path: 'a.csv', content: Buffer.from('a') }]
    refused({ files }, /"files\.0\.content": expected text; bytes go as base64 with "encoding"/)
  })

  test('is refused for a file at the place of a folder of another, with both paths', () => {
    const filesAt = (...paths: readonly string[]) =>
      newJob({ code: '', files: paths.map((path) => ({ path })) }, who, clock).asked.files.length
    assert.equal(filesAt('a/b', 'a/c', 'ab', 'a/b', 'd'), 5)
    const message = /"files\.1\.path": expected no file at "\.\/a", which is a folder of "a\/\/b"/
    for (const last of [[], ['c']])
      assert.throws(() => filesAt('a//b', './a', ...last), { code: 'INVALID', message })
    const files = [
      { path: 'a', type: 'folder' },
      { path: 'link', type: 'link', content: 'a' },
      { path: 'a/b' },
      { path: 'link/c' },
    ] as const
    assert.equal(newJob({ code: '', files: [...files] }, who, clock).asked.files.length, 4)
  })

  test('has files and standard input in the usual spelling of base64, and is refused for what is none', () => {
    const madeOf = {
      stdin: (content: string) =>
        newJob({ code: '', stdin: { content, encoding: 'base64' } }, who, clock).asked.stdin,
      file: (content: string) => {
        const file = { path: 'a', content, encoding: 'base64' } as const
        return newJob({ code: '', files: [file] }, who, clock).asked.files[0]
      },
    }
    for (const made of Object.values(madeOf)) {
      for (const content of ['aGk=', 'aGk', 'aG\nk=\n'])
        assert.equal(made(content)?.content, 'aGk=')
      assert.equal(made('-_-_')?.content, '+/+/')
      for (const content of ['!!!', 'a', 'aGk=aGk='])
        assert.throws(() => made(content), { code: 'INVALID', message: /expected base64/ }, content)
    }
    const link = { path: 'a', content: 'b', type: 'link', encoding: 'base64' } as const
    assert.equal(newJob({ code: '', files: [link] }, who, clock).asked.files[0]?.content, 'b')
  })

  test('is refused without a valid tenant name', () => {
    for (const tenant of ['', 'x'.repeat(65), undefined as never])
      assert.throws(() => newJob({ code: 'return 1' }, { ...who, tenant }, clock), {
        code: 'INVALID',
        message: /"tenant": expected a name/,
      })
  })

  test('is refused for an input above 32 million characters, also one that a batch repeats, before it is joined', () => {
    const tooLarge = { code: 'TOO_LARGE', message: /of at most 33554432$/ }
    const input = 'x'.repeat(2 ** 20)
    const made = (asked: object) => newJob({ code: 'return 1', ...asked }, who, clock)
    assert.equal(made({ input }).inputText.length, input.length + 2)
    assert.throws(() => made({ input: input.repeat(32) }), tooLarge)
    const calls = (length: number) => Array.from({ length }, () => ({}))
    assert.equal(made({ input, calls: calls(3) }).inputText.length, 3 * (input.length + 3) + 1)
    // Longer than a string can be.
    assert.throws(() => made({ input, calls: calls(1000) }), tooLarge)
  })
})
