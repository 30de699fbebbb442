import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { MayflyError } from '../contract/error.ts'
import { findProgram } from '../os/find-program.ts'
import { memoryImage } from './memory-image.ts'

const MIB = 2 ** 20
const PAGE = 4096
const pageOf = (text: string) => Buffer.alloc(PAGE, text)

async function* chunksOf(bytes: Uint8Array) {
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7)
}

function partsOf(
  runs: readonly (readonly [number, number])[],
  pages: readonly Buffer[],
  bytes = 4 * MIB,
) {
  const frames = [pages.slice(0, 2), pages.slice(2)].map((some) =>
    zstdCompressSync(Buffer.concat(some)),
  )
  return {
    pages: Buffer.from(JSON.stringify({ format: 1, bytes, pageBytes: PAGE, isWhole: true, runs })),
    changed: chunksOf(Buffer.concat(frames)),
  }
}

const folder = () => mkdtempSync(join(tmpdir(), 'mayfly-image-'))

test('An image has the pages of the template, with those of the capture in their places', async () => {
  const place = folder()
  try {
    const path = join(place, 'base')
    const template = Buffer.alloc(4 * MIB, 'base')
    for (let at = 0; at < template.length; at += PAGE) template.writeUInt32LE(at, at)
    writeFileSync(path, template)
    await using base = await open(path)
    const runs = [
      [0, 1],
      [255, 2],
      [1023, 1],
    ] as const
    const pages = ['first', 'across', 'chunks', 'last'].map(pageOf)
    const image = Buffer.concat(
      await Array.fromAsync(memoryImage({ ...partsOf(runs, pages), base })),
    )
    const memory = image.subarray(PAGE)
    const expected = Buffer.from(template)
    for (const [index, page] of [0, 255, 256, 1023].entries())
      pages[index]!.copy(expected, page * PAGE)
    assert.ok(memory.equals(expected))
  } finally {
    rmSync(place, { recursive: true })
  }
})

test('An error of the bytes of a capture is the error of its image', async () => {
  const { pages } = partsOf([[0, 1]], [pageOf('first')])
  async function* changed(): AsyncGenerator<Uint8Array> {
    yield zstdCompressSync(pageOf('first')).subarray(0, 9)
    throw new MayflyError('STATE', 'the digest is another one')
  }
  const image = Array.fromAsync(memoryImage({ pages, changed: changed(), base: undefined }))
  await assert.rejects(image, { code: 'STATE', message: 'the digest is another one' })
})

test('An image without a template has zeros beside the captured pages, and gdb reads it', async (t) => {
  const image = await Array.fromAsync(
    memoryImage({ ...partsOf([[300, 1]], [pageOf('captured ')]), base: undefined }),
  )
  const gdb = findProgram('gdb')
  if (!gdb) return t.skip('gdb is missing')
  const place = folder()
  try {
    const path = join(place, 'memory.elf')
    writeFileSync(path, Buffer.concat(image))
    const words = ['-nx', '-batch', '-ex', `x/s ${300 * PAGE}`, '-ex', 'x/1xb 0', '--core', path]
    const { stdout } = spawnSync(gdb, words, { encoding: 'utf8' })
    assert.match(stdout, /0x12c000:\s+"captured captured/)
    assert.match(stdout, /0x0:\s+0x00/)
  } finally {
    rmSync(place, { recursive: true })
  }
})

test('RAM of 3 GiB is two ranges, the second of them above 4 GiB', async () => {
  const chunks = memoryImage({ ...partsOf([], [], 3 * 2 ** 30), base: undefined })
  const { value } = await chunks.next()
  await chunks.return(undefined)
  const header = Buffer.from(value as Uint8Array)
  const rangeAt = (at: number) =>
    [8, 24, 32].map((field) => Number(header.readBigUInt64LE(at + field)))
  assert.equal(header.readUInt16LE(56), 2)
  assert.deepEqual(rangeAt(64), [PAGE, 0, 2 ** 31])
  assert.deepEqual(rangeAt(120), [PAGE + 2 ** 31, 2 ** 32, 2 ** 30])
})

test('Parts that do not fit each other are refused', async () => {
  const page = pageOf('x')
  const bad = [
    partsOf([[5, 2]], [page]),
    partsOf(
      [
        [300, 1],
        [3, 1],
      ],
      [page, page],
    ),
    partsOf([[1024, 1]], [page]),
    { ...partsOf([], []), pages: Buffer.from('{"format":2}') },
  ]
  for (const parts of bad) {
    const image = memoryImage({ ...parts, base: undefined })
    await assert.rejects(Array.fromAsync(image), { code: 'STATE' })
  }
})
