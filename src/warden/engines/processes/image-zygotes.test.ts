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
  const { zygotes, live, ask } = openAll(() => true)
  await ask(undefined)
  for (const image of ['a', 'b']) await ask(image)
  assert.deepEqual([...live], ['system', 'a', 'b'])
  await ask('a')
  await ask('c')
  await turn()
  assert.deepEqual([...live].sort(), ['a', 'c', 'system'])
  assert.equal(await zygotes.of('a'), await zygotes.of('a'))
  await zygotes.close()
  assert.deepEqual([...live], [])
})

test('Attack: an image that was not built here has no template, whatever asks for it', async () => {
  const asked: string[] = []
  const { zygotes, live, ask } = openAll((digest) => {
    asked.push(digest)
    return digest === 'built'
  })
  for (let times = 0; times < 3; times++) await ask('imported')
  assert.equal(await zygotes.of('imported'), undefined)
  assert.deepEqual([...live], [])
  await ask('built')
  await ask('built')
  assert.deepEqual([...live], ['built'])
  assert.deepEqual(asked, [...Array.from({ length: 4 }, () => 'imported'), 'built'])
  await zygotes.close()
  assert.equal(await zygotes.of('built'), undefined)
})

/** Templates that are played, and the roots of those that live. */
function openAll(isBuilt: (digest: string) => boolean) {
  const live = new Set<string>()
  const zygotes = new ImageZygotes({
    launcher: () => launcher,
    openLibrary: () => Promise.resolve(open()),
    isEager: true,
    isBuilt: (digest) => Promise.resolve(isBuilt(digest)),
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
    const of = await zygotes.of(image)
    // The first question opens the library alone.
    for (let times = 0; times < 2; times++)
      await of?.has({ file: '/launcher', args: [image ?? 'system'] })
  }
  return { zygotes, live, ask }
}
