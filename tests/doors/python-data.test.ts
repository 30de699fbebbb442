import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { suite, test } from 'node:test'
import type { JobRequest } from '../../src/contract/job.ts'
import { ImageStand } from '../fixtures/image-stand.ts'

/** The image with numpy, pandas and Matplotlib. It needs 50 MB of packages, so only the long tests build it. */
const skip = process.env['MAYFLY_LONG'] ? false : 'MAYFLY_LONG builds the image'
const image = 'python-data'
const source: JobRequest = {
  language: 'python',
  image,
  code: `
import sys
ahead = [name in sys.modules for name in ('numpy', 'pandas', 'matplotlib.pyplot')]
import matplotlib.pyplot as plt, numpy, pandas
frame = pandas.DataFrame({'a': [1, 2, 3]})
plt.plot(frame['a'])
plt.show()
result = [ahead, int(frame['a'].sum()), plt.get_backend().lower(), numpy.random.rand()]
result`,
  limits: { timeout: 120_000, memory: 256e6 },
}

suite('The image python-data', { skip }, () => {
  for (const provider of ['bubblewrap', 'embedded', 'qemu'])
    test(`A warm program on ${provider} has numpy, pandas and Matplotlib, shows its figure, and has its own random seed and back end`, async (t) => {
      let tree = ''
      try {
        await using stand = new ImageStand(source, image)
        const missing = await stand.open(provider, () => {
          stand.mayfly('images', 'build', image)
          if (!existsSync(stand.tree)) ({ tree } = stand)
          stand.mayfly('images', 'unpack', image)
        })
        if (missing !== undefined) return t.skip(missing)
        const drawn = new Set<unknown>()
        for (const [count, backend] of ['agg', 'svg'].entries()) {
          if (!(await stand.isFilled(provider, count + 1))) return t.skip(`no ${provider}`)
          const env = backend === 'agg' ? {} : { env: { MPLBACKEND: backend } }
          const { status, error, result, display, metrics } = await stand.run(provider, env)
          assert.deepEqual([status, error, metrics.pool], ['ok', undefined, 'hit'])
          const [ahead, sum, seen, random] = result as readonly unknown[]
          assert.deepEqual([ahead, sum, seen], [[true, true, true], 6, backend])
          assert.deepEqual(
            display?.map(({ type }) => type),
            ['image/png'],
          )
          drawn.add(random)
        }
        assert.equal(drawn.size, 2)
      } finally {
        if (tree) rmSync(tree, { recursive: true, force: true })
      }
    })
})
