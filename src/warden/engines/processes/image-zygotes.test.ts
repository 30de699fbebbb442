import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { CProgram } from '../../../jail/c-program.ts'
import { ImageZygotes } from './image-zygotes.ts'

/** A library that its templates close. */
const open = (): CProgram => ({ file: '/dev/null', fd: openSync('/dev/null', 'r') })
const launcher = open()

test('Templates of two images are kept in addition to those without an image; the least recently used is ended', async () => {
  const live = new Set<string>()
  const zygotes = new ImageZygotes({
    launcher: () => launcher,
    openLibrary: () => Promise.resolve(open()),
    isEager: true,
    start({ jail }) {
      const name = jail.args[0]!
      live.add(name)
      return {
        pid: undefined,
        ready: Promise.resolve(),
        gone: Promise.resolve(),
        surroundings: [],
        isAlive: true,
        fork: () => Promise.resolve(1),
        close: () => void live.delete(name),
      }
    },
  })
  const ask = async (image: string | undefined) => {
    const of = zygotes.of(image)
    // The first question opens the library alone.
    for (let times = 0; times < 2; times++)
      await of.has({ file: '/launcher', args: [image ?? 'system'] })
  }
  await ask(undefined)
  for (const image of ['a', 'b']) await ask(image)
  assert.deepEqual([...live], ['system', 'a', 'b'])
  await ask('a')
  await ask('c')
  await turn()
  assert.deepEqual([...live].sort(), ['a', 'c', 'system'])
  assert.equal(zygotes.of('a'), zygotes.of('a'))
  await zygotes.close()
  assert.deepEqual([...live], [])
})
