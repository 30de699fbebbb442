import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { runModule } from '../../guest/wasm/run.js'
import { collectGarbage } from '../../src/lib/collect-garbage.ts'
import { op, wasi, wasm } from '../fixtures/wasm.ts'

const memoryBytes = 8 * 2 ** 20

test('The input of a wasm job that catches its exit is no memory of the job, in any characters', async () => {
  collectGarbage()
  // Takes the size of the heap at its import.
  const { runModule: run } = await import('../../guest/wasm/run.js')
  for (const character of ['a', '\u0100']) {
    const used = usedOf(run, character)
    assert.equal(used.length, 1)
    assert.ok(used[0]! < memoryBytes, `${used[0]} bytes`)
  }
})

/** Memory that is told when a worker gives up a job with an input of twice its limit, in characters. */
function usedOf(run: typeof runModule, character: string): readonly number[] {
  const exits = [...op.i32(0), ...op.call(0)]
  // A block with a handler that catches everything.
  const caught = [0x02, 0x40, 0x1f, 0x40, 1, 2, 0, ...exits, 0x0b, 0x0b]
  // The first call exits; a worker bears a thousand more.
  const body = Array.from({ length: 1002 }, () => caught).flat()
  const module = wasm({ imports: [wasi.proc_exit], functions: [{ export: '_start', body }] })
  const used: number[] = []
  const task = {
    entry: 'program',
    code: module.toString('base64'),
    inputText: longText(character),
    memoryBytes,
    outputBytesMax: 1000,
    resultBytesMax: 1000,
  }
  const nothing = () => undefined
  run(task, {
    stdout: nothing,
    stderr: nothing,
    collect: collectGarbage,
    abandon: (end) => {
      used.push(end.memory?.used ?? Infinity)
      throw new Error('A worker leaves here')
    },
  })
  return used
}

/** In a function of its own, whose end leaves nothing of the text but the result. */
function longText(character: string): string {
  return JSON.parse(`"${character.repeat(2 * memoryBytes)}"`) as string
}
