import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { jobRequest, type Job, type JobRequest } from '../contract/job.ts'
import { createAnalyst } from './analyse.ts'
import { inspect } from './inspect.ts'
import { openReplyCache } from './reply-cache.ts'

const base = mkdtempSync(join(tmpdir(), 'mayfly-replies-'))
after(() => rmSync(base, { recursive: true, force: true }))

const newFolder = (name: string): string => join(base, name.replaceAll(' ', '-'))
const entriesIn = (folder: string): readonly string[] =>
  readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name))

function jobOf(asked: JobRequest & { code: string }, tenant = 'default'): Job {
  const parsed = jobRequest.parse(asked)
  const who = { tenant, principal: 'tester', origin: 'library' } as const
  return {
    id: 'exec_1',
    ...who,
    at: 0,
    asked: { ...parsed, code: asked.code },
    inputText: 'null',
  }
}

/** Analysts of separate runs that share a folder, as with `mayfly run`. */
function newRun(folder: string, more: { rulesVersion?: () => string; version?: string } = {}) {
  const { version = 'one', ...rest } = more
  const asked: string[] = []
  const analyse = createAnalyst({
    ask: async (tenant, text) => {
      asked.push(tenant)
      return JSON.stringify(inspect(JSON.parse(text)))
    },
    emitter: { emit: () => undefined },
    kept: openReplyCache(folder, { version }),
    ...rest,
  })
  return { analyse, asked }
}

const source = 'fetch("https://example.org/")'

suite('Replies stored for later runs', () => {
  test('a known source gets the same verdict without an analysis process', async () => {
    const folder = newFolder('known')
    const first = newRun(folder)
    const made = await first.analyse(jobOf({ code: source }))
    const next = newRun(folder)
    const again = await next.analyse(jobOf({ code: source }))
    assert.deepEqual([first.asked.length, next.asked.length], [1, 0])
    assert.deepEqual(again, { ...made, cached: true })
  })

  test('another tenant, source, file, entry, rule or analyser version is analysed anew', async () => {
    const folder = newFolder('others')
    await newRun(folder).analyse(jobOf({ code: source }))
    const asksFor = async (job: Job, more = {}) => {
      const { analyse, asked } = newRun(folder, more)
      await analyse(job)
      return asked.length
    }
    assert.equal(await asksFor(jobOf({ code: source }, 'other')), 1)
    assert.equal(await asksFor(jobOf({ code: `${source} ` })), 1)
    assert.equal(await asksFor(jobOf({ code: source, entry: 'module' })), 1)
    assert.equal(await asksFor(jobOf({ code: source, files: [{ path: 'a', content: '' }] })), 1)
    assert.equal(await asksFor(jobOf({ code: source }), { rulesVersion: () => 'stricter' }), 1)
    assert.equal(await asksFor(jobOf({ code: source }), { version: 'two' }), 1)
    assert.equal(await asksFor(jobOf({ code: source })), 0)
  })

  test('no source is stored: a reply with code is not stored, and the others are encrypted', async () => {
    const folder = newFolder('private')
    await newRun(folder).analyse(jobOf({ code: 'const secretName: number = 1', language: 'ts' }))
    assert.deepEqual(entriesIn(folder), [])
    await newRun(folder).analyse(jobOf({ code: source }))
    const [name] = entriesIn(folder)
    assert.doesNotMatch(readFileSync(join(folder, name!), 'latin1'), /NETWORK|fetch|language/)
  })

  test('only the first reply of a process is stored: an earlier source may have forged a later one', async () => {
    const folder = newFolder('first')
    const { analyse, asked } = newRun(folder)
    for (const code of [source, 'eval(input)', 'return 1']) await analyse(jobOf({ code }))
    assert.equal(asked.length, 3)
    assert.equal(entriesIn(folder).length, 1)
    const together = newFolder('together')
    const many = newRun(together)
    await Promise.all([source, 'return 1'].map((code) => many.analyse(jobOf({ code }))))
    assert.deepEqual(entriesIn(together), [])
  })

  test('a failed analysis is not stored', async () => {
    const folder = newFolder('failed')
    const analyse = createAnalyst({
      ask: () => Promise.reject(new Error('the parser died')),
      emitter: { emit: () => undefined },
      kept: openReplyCache(folder, { version: 'one' }),
    })
    await analyse(jobOf({ code: source }))
    assert.deepEqual(entriesIn(folder), [])
  })

  test('entries and bytes are bounded, and the oldest are removed first', () => {
    const folder = newFolder('bounded')
    const few = openReplyCache(folder, { version: 'one', entriesMax: 3 })!
    for (const [at, word] of ['a', 'b', 'c', 'd'].entries()) {
      few.keep([word], word)
      for (const name of entriesIn(folder)) utimesSync(join(folder, name), at, at)
    }
    assert.equal(entriesIn(folder).length, 3)
    assert.equal(few.recall(['d']), 'd')
    const narrow = openReplyCache(folder, { version: 'one', bytesMax: 1000 })!
    narrow.keep(['e'], 'x'.repeat(970))
    assert.deepEqual([narrow.recall(['d']), narrow.recall(['e'])?.length], [undefined, 970])
    narrow.keep(['f'], 'x'.repeat(2 ** 20))
    assert.equal(narrow.recall(['f']), undefined)
  })

  test('a false reply that was stored is refused like a fresh one', async () => {
    const folder = newFolder('lies')
    const kept = openReplyCache(folder, { version: 'one' })!
    const { analyse, asked } = newRun(folder)
    const lying = { ...kept, recall: () => '{"language":"js","entry":"auto"}' }
    const believing = createAnalyst({
      ask: async (tenant, text) => {
        asked.push(tenant)
        return JSON.stringify(inspect(JSON.parse(text)))
      },
      emitter: { emit: () => undefined },
      kept: { recall: lying.recall, keep: () => undefined },
    })
    const honest = await analyse(jobOf({ code: source }))
    const again = await believing(jobOf({ code: source }))
    assert.equal(asked.length, 2)
    assert.deepEqual(again.verdict, honest.verdict)
  })
})

suite('A stored reply is ignored', () => {
  const attacks: Readonly<Record<string, (file: string, folder: string) => void>> = {
    'has one bit changed': (file) => {
      const bytes = readFileSync(file)
      bytes[bytes.length - 1]! ^= 1
      writeFileSync(file, bytes)
    },
    'has another nonce': (file) => {
      const bytes = readFileSync(file)
      bytes[0]! ^= 1
      writeFileSync(file, bytes)
    },
    'was cut': (file) => truncateSync(file, 40),
    'is empty': (file) => truncateSync(file, 0),
    'is plain text': (file) => writeFileSync(file, '{"language":"js","entry":"script","found":[]}'),
    'is that of another source': (file, folder) => {
      const kept = openReplyCache(folder, { version: 'one' })!
      kept.keep(['other'], '{}')
      const other = entriesIn(folder).find((name) => !file.endsWith(name))!
      copyFileSync(join(folder, other), file)
    },
    'may be read by others': (file) => chmodSync(file, 0o644),
    'has a second name': (file) => linkSync(file, join(base, 'second')),
    'is a symbolic link': (file) => {
      renameSync(file, join(base, 'elsewhere'))
      symlinkSync(join(base, 'elsewhere'), file)
    },
    'is a folder': (file) => {
      rmSync(file)
      mkdirSync(file)
    },
    'has lost its key': (_file, folder) => rmSync(join(folder, 'key')),
    'has another key': (_file, folder) => writeFileSync(join(folder, 'key'), Buffer.alloc(32)),
  }
  for (const [title, attack] of Object.entries(attacks))
    test(title, async () => {
      const folder = newFolder(title)
      const made = await newRun(folder).analyse(jobOf({ code: source }))
      attack(join(folder, entriesIn(folder)[0]!), folder)
      const { analyse, asked } = newRun(folder)
      const again = await analyse(jobOf({ code: source }))
      assert.equal(asked.length, 1)
      assert.deepEqual(again, made)
      const next = newRun(folder)
      await next.analyse(jobOf({ code: source }))
      assert.equal(next.asked.length, 0, 'it is made anew')
    })

  test('no reply is stored in a folder that others may enter, or with a key that others may read', () => {
    const folder = newFolder('open')
    mkdirSync(folder, { mode: 0o755 })
    assert.equal(openReplyCache(folder), undefined)
    chmodSync(folder, 0o700)
    writeFileSync(join(folder, 'key'), Buffer.alloc(32), { mode: 0o644 })
    assert.equal(openReplyCache(folder), undefined)
    rmSync(join(folder, 'key'))
    writeFileSync(join(folder, 'key'), Buffer.alloc(16), { mode: 0o600 })
    assert.equal(openReplyCache(folder), undefined)
    const link = newFolder('link')
    symlinkSync(folder, link)
    assert.equal(openReplyCache(link), undefined)
  })
})
