import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import type { JobRequest } from '../../src/contract/job.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { ImageStand } from '../fixtures/image-stand.ts'
import { markedImage } from '../fixtures/machine-images.ts'

/** Warm programs of an image have imported the modules that the image names, and share nothing between jobs. */
const source: JobRequest = {
  language: 'python',
  code: `
import os, sys
ahead = 'marked' in sys.modules
def main(input):
    import importlib.util, marked, random, threading
    with open(marked.__cached__, 'rb') as file:
        head = file.read(16)
    with open(marked.__file__, 'rb') as file:
        is_of_source = importlib.util.source_hash(file.read()) == head[8:]
    found = sorted(set(os.listdir('/tmp')) - {'.mayfly-result'}) + sorted(os.listdir('/work'))
    for folder in ('/tmp', '/work'): open(folder + '/left', 'w').close()
    return [ahead, marked.drawn, random.random(), found, threading.active_count(), head[4], is_of_source]`,
  image: markedImage,
  limits: { timeout: 120_000 },
}
const own = { path: 'marked.py', content: 'drawn = "own"\n' }
const usesOwn = 'import marked\ndef main(input): return marked.drawn'
const jobs = 3

for (const [provider, templates] of [
  ['bubblewrap'],
  ['embedded'],
  ['embedded', 'all'],
  ['gvisor'],
  ['user-mode-linux'],
  ['qemu'],
] as const)
  suite(`Spares of an image on ${provider}${templates ? ', forked' : ''}`, () => {
    test(`S0-5: a program on ${provider} that was warm${templates ? ', forked from a template,' : ''} has imported the compiled modules of its image, and leaves nothing for the next`, async (t) => {
      const before = process.env['MAYFLY_TEMPLATES']
      if (templates) process.env['MAYFLY_TEMPLATES'] = templates
      let wasUnpacked = true
      let tree = ''
      try {
        await using stand = new ImageStand(source)
        const missing = await stand.open(provider, () => {
          ;({ tree } = stand)
          wasUnpacked = existsSync(tree)
          stand.mayfly('images', 'unpack', markedImage)
        })
        if (missing !== undefined) return t.skip(missing)
        const [ahead, later] = [new Set<unknown>(), new Set<unknown>()]
        for (let count = 1; count <= jobs; count++) {
          if (!(await stand.isFilled(provider, count))) {
            // An ordinary user has a gVisor of its own only where its probe holds.
            assert.ok(process.env['CI'] !== 'true' || mayBeMissing(provider), provider)
            return t.skip(`${provider} is unavailable`)
          }
          const outcome = await stand.run(provider)
          assert.deepEqual([outcome.status, outcome.error], ['ok', undefined])
          assert.equal(outcome.metrics.pool, 'hit')
          const [isAhead, first, next, ...rest] = outcome.result as readonly unknown[]
          assert.deepEqual([isAhead, ...rest], [true, ['job.py', 'out'], 1, 1, true])
          ahead.add(first)
          later.add(next)
        }
        // All forks or clones share the imports of their template, and none of the random values drawn later.
        if (templates || provider === 'qemu') assert.ok(ahead.size < jobs)
        else assert.equal(ahead.size, jobs)
        assert.equal(later.size, jobs)
        await stand.isFilled(provider, jobs + 1)
        const shadowed = await stand.run(provider, { code: usesOwn, files: [own] })
        assert.deepEqual([shadowed.result, shadowed.metrics.pool], ['own', 'hit'])
      } finally {
        if (before === undefined) delete process.env['MAYFLY_TEMPLATES']
        else process.env['MAYFLY_TEMPLATES'] = before
        if (tree && !wasUnpacked) rmSync(tree, { recursive: true, force: true })
      }
    })
  })

const mayBeMissing = (provider: string) => provider === 'gvisor' && process.getuid?.() !== 0
