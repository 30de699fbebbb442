import assert from 'node:assert/strict'
import type { JobRequest } from '../../src/contract/job.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { ImageStand } from '../fixtures/image-stand.ts'
import { markedFile, markedImage } from '../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from './qemu-here.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Walls with their own kernel boot the image of the job, or the default image of the wall. */
const providers = ['user-mode-linux', 'qemu'] as const

const source: JobRequest = {
  language: 'python',
  code: `
import os
def main(input):
    return [os.path.exists("${markedFile}"), os.path.realpath("/usr/bin/python3")]`,
  limits: { timeout: 120_000 },
}

for (const provider of providers)
  suite(`Images of ${provider}`, () => {
    test(`S1-7: a job on ${provider} has the image that it names or that of its wall, the record names its digest, and a vulnerable one is refused`, async (t) => {
      if (provider === 'qemu' && !isQemuThere()) return t.skip(noQemu)
      if (provider === 'user-mode-linux' && !isUserKernelThere()) return t.skip(noUserKernel)
      await using stand = new ImageStand(source)
      const missing = await stand.open(provider)
      if (missing !== undefined) return t.skip(missing)
      const own = await stand.run(provider)
      const python = '/usr/bin/python3.13'
      assert.deepEqual([own.status, own.result, own.error], ['ok', [false, python], undefined])
      assert.equal(own.image, stand.digest('python'))
      const record = stand.mayfly('audit', 'list')
      assert.ok(record.includes(`"image":"${stand.digest('python')}"`), record.slice(0, 2000))

      // A spare of a configured image, named by tag.
      const kind = stand.kind(provider)
      await stand.until('pool/refilled', kind)
      const named = await stand.run(provider, { image: markedImage })
      assert.deepEqual([named.status, named.result], ['ok', [true, python]])
      assert.deepEqual([named.image, named.metrics.pool], [stand.digest(markedImage), 'hit'])
      const digest = stand.digest('python')
      const byDigest = await stand.run(provider, { image: digest })
      assert.deepEqual([byDigest.result, byDigest.image], [[false, python], digest])

      // The tag moves to another image: its spares are ended, and the next job uses the new one.
      await stand.until('pool/refilled', kind, 2)
      stand.tag(markedImage, 'python')
      const moved = await stand.run(provider, { image: markedImage })
      assert.deepEqual([moved.result, moved.image], [[false, python], stand.digest('python')])
      await stand.until('pool/drained', kind)
      const drained = stand.events.find(({ point }) => point === 'pool/drained')
      assert.equal(drained?.fields['because'], 'changed')

      // A scan finds a vulnerability: the image is no longer used, named by a job or by default.
      stand.scanAll('openssl')
      for (const image of [undefined, 'python', stand.digest('python')]) {
        const refused = await stand.run(provider, image === undefined ? {} : { image })
        assert.deepEqual([refused.status, refused.error?.code], ['unavailable', 'IMAGE_REFUSED'])
        assert.match(refused.error?.message ?? '', /TOO_SEVERE: .*CVE-2026-0001 of openssl/)
      }
    })
  })
