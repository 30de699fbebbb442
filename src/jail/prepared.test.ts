import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, suite, test } from 'node:test'
import { preparedProgram } from './prepared.ts'
import { nodeProgram, pythonProgram } from './whole-guests.ts'

const joined = mkdtempSync(path.join(tmpdir(), 'mayfly-prepared-'))
after(() => rmSync(joined, { recursive: true, force: true }))
const python = { from: '/somewhere/python', at: '/opt/mayfly/compiled' }
const settings = { scratchBytes: 1 }
const placesOf = (program: ReturnType<typeof nodeProgram>) => program.whole!.places

suite('Prepared programs', () => {
  test('A program stays as it is until its prepared code is ready', () => {
    for (const program of [nodeProgram(settings), pythonProgram(settings)])
      assert.equal(
        preparedProgram(program, { joined: undefined, python: undefined }, false),
        program,
      )
  })

  test('Python gets the bytecode of this machine, but not in an image', () => {
    const program = pythonProgram(settings)
    const places = placesOf(preparedProgram(program, { joined, python }, false))
    assert.deepEqual(places, [...placesOf(program), python])
    assert.equal(preparedProgram(program, { joined, python }, true), program)
  })

  test('Node gets its joined file, in an image too', () => {
    const main = path.join(joined, 'guest/process/node.js')
    mkdirSync(path.dirname(main), { recursive: true })
    writeFileSync(main, '')
    for (const isInImage of [true, false]) {
      const program = preparedProgram(nodeProgram(settings), { joined, python }, isInImage)
      assert.equal(program.main, main)
      assert.ok(!placesOf(program).some(({ at }) => at === python.at))
    }
  })
})
