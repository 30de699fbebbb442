import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { makePlace, startServer, whenReady, type Server } from './program.ts'

const root = join(import.meta.dirname, '../..')
const programMsMax = 60_000

/**
 * SDKs that need an API key are replaced by stubs with the documented shapes: the first response requests the tool, the
 * second repeats its result.
 */
const packages: Readonly<Record<string, string>> = {
  '@anthropic-ai/sdk': `
    import assert from 'node:assert/strict'
    export default class Anthropic {
      messages = { create: async ({ model, max_tokens, tools, messages }) => {
        assert.ok(model && max_tokens)
        const [{ name, description, input_schema }] = tools
        assert.ok(description && input_schema.type === 'object')
        const last = messages.at(-1)
        if (typeof last.content === 'string')
          return { stop_reason: 'tool_use', content: [
            { type: 'text', text: 'I look.' },
            { type: 'tool_use', id: 'toolu_1', name, input: JSON.parse(process.env.CALL) }] }
        assert.deepEqual(messages.at(-2).role, 'assistant')
        const [{ type, tool_use_id, content }] = last.content
        assert.deepEqual([last.role, type, tool_use_id], ['user', 'tool_result', 'toolu_1'])
        return { stop_reason: 'end_turn', content: [{ type: 'text', text: 'It said: ' + content }] }
      } }
    }`,
  openai: `
    import assert from 'node:assert/strict'
    export default class OpenAI {
      responses = { create: async ({ model, tools, input }) => {
        const [{ type, name, parameters, strict }] = tools
        assert.deepEqual([type, strict, parameters.additionalProperties], ['function', true, false])
        assert.deepEqual(Object.keys(parameters.properties), parameters.required)
        const last = input.at(-1)
        if (last.role === 'user')
          return { output_text: '', output: [{ type: 'reasoning', id: 'rs_1', summary: [] },
            { type: 'function_call', call_id: 'call_1', name, arguments: process.env.CALL }] }
        assert.deepEqual([last.type, last.call_id], ['function_call_output', 'call_1'])
        return { output: [], output_text: 'It said: ' + last.output }
      } }
    }`,
  ai: `
    import assert from 'node:assert/strict'
    export const tool = (given) => given
    export const jsonSchema = (schema) => ({ jsonSchema: schema })
    export const stepCountIs = (count) => ({ steps }) => steps.length === count
    export async function generateText({ model, tools, stopWhen, prompt }) {
      const [[, { description, inputSchema, execute }]] = Object.entries(tools)
      assert.ok(model && prompt && description && inputSchema.jsonSchema.type === 'object')
      assert.equal(stopWhen({ steps: [] }), false)
      return { text: 'It said: ' + await execute(JSON.parse(process.env.CALL), { toolCallId: 'call_1' }) }
    }`,
}

suite('A tool that runs code for a language model', () => {
  const place = makePlace()
  const folder = mkdtempSync(join(place.cwd, 'agent-'))
  let server: Server

  before(async () => {
    install(folder)
    server = await startServer(place)
    await whenReady(server)
  })
  after(async () => {
    await server?.stop()
    place.remove()
  })

  /** Stdout of a program of the folder; `args` are the arguments with which the model calls the tool. */
  function run(file: string, call: unknown): Promise<string> {
    const env = {
      ...process.env,
      CALL: JSON.stringify(call),
      MAYFLY_URL: server.active,
      MAYFLY_API_KEY: server.apiKey,
    }
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const options = { cwd: folder, env, timeout: programMsMax }
    execFile(process.execPath, [file], options, (error, stdout, stderr) =>
      error ? reject(new Error(stdout + stderr)) : resolve(stdout),
    )
    return promise
  }

  for (const file of ['anthropic.ts', 'openai.ts', 'ai-sdk.ts'])
    test(`${file} runs the code of the model, and returns the result to it`, async () => {
      const code = 'import os\nprint("from inside", 6 * 7, "MAYFLY_API_KEY" in os.environ)'
      const said = await run(file, { language: 'python', code })
      assert.match(said, /It said: status: ok/)
      assert.match(said, /from inside 42 False/)
    })

  test('Invalid arguments return an error text, and nothing runs', async () => {
    for (const call of [null, 7, {}, { language: 'perl', code: '1' }, { language: 'python' }])
      assert.match(await run('openai.ts', call), /It said: Not run: expected/)
  })

  test('A failed program is reported with its exit code, and long output is truncated', async () => {
    const said = await run('anthropic.ts', { language: 'bash', code: 'seq 1 9000; exit 3' })
    assert.match(said, /status: error, exit code 3/)
    assert.match(said, /characters left out/)
    assert.ok(said.length < 10_000)
  })

  test('A model cannot widen the rights that the tool sets', async () => {
    const call = { language: 'bash', code: 'echo ran', network: 'open', limits: { timeout: '1h' } }
    assert.match(await run('ai-sdk.ts', call), /stdout:\nran/)
  })
})

/** The example, the programs of the how-to, and the packages that these import. */
function install(folder: string): void {
  copyFileSync(join(root, 'examples/tools/run-code.ts'), join(folder, 'run-code.ts'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const text = readFileSync(join(root, 'docs/how-to/tool-calling.md'), 'utf8')
  const programs = [...text.matchAll(/^```ts\n\/\/ ([\w-]+\.ts)\n(.*?)^```$/gms)]
  assert.equal(programs.length, Object.keys(packages).length)
  for (const [, name, code] of programs) writeFileSync(join(folder, name!), code!)
  const modules = join(folder, 'node_modules')
  for (const [name, code] of Object.entries(packages)) {
    const home = join(modules, name)
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'package.json'), '{"type":"module","exports":"./index.js"}')
    writeFileSync(join(home, 'index.js'), code)
  }
  mkdirSync(dirname(join(modules, 'mayfly')), { recursive: true })
  symlinkSync(root, join(modules, 'mayfly'))
}
