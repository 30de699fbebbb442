import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { unlimited } from '../../src/contract/controls.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand } from '../conformance/stand.ts'
import { isMissing, unable } from './process-stands.ts'

/** Read limits of a program on the disk of /usr: enforced if the disk supports it, reported otherwise. */
const MiB = 2 ** 20
const read = 4 * MiB
const bytesASecond = 2 * MiB

/** Drops the page cache of the file first; pages that other processes map stay, and are told by a time of -1. */
const reading = (file: string) => `import os, resource, time
def main(input):
    fd = os.open('${file}', os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    blocks = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_inblock
    before, began, left = blocks(), time.monotonic(), ${read}
    while left > 0: left -= len(os.read(fd, 65536))
    took = time.monotonic() - began
    return took if (blocks() - before) * 512 >= ${read} else -1`

for (const jailKind of jailKinds)
  suite(`Reading from a disk: ${jailKind}`, { skip: unable('python') }, () => {
    test('S1-10: reads are as slow as their limit on walls that claim to enforce io, and no other wall claims it', async (t) => {
      if (isMissing(t, { jailKind })) return
      const made = await makeProcesses(jailKind, {}, 'python')
      try {
        const stand = new Stand(
          made.provider,
          () => Promise.reject(new Error('no other')),
          inPython,
        )
        const proved = await made.provider.detect()
        assert.ok(proved.available)
        const told = made.provider.enforces.includes('io')
        const bound = await heldBy(stand, 'def main(input): return 0', bytesASecond)
        assert.equal(told, bound.held === 'cgroup')
        if (!told) return t.skip('the disk of /usr supports no io limit')
        const file = largeFile()
        if (!file) return t.skip('no large file below /usr/share')
        const fast = await heldBy(stand, reading(file), unlimited)
        const slow = await heldBy(stand, reading(file), bytesASecond)
        t.diagnostic(`${file}: ${fast.value} s, and ${slow.value} s with the limit`)
        if (Math.min(fast.value, slow.value) < 0) return t.skip(`${file} is in use`)
        const least = (0.9 * read) / bytesASecond
        if (fast.value >= least) return t.skip('the disk is as slow without the limit')
        assert.ok(slow.value >= least, `it took ${slow.value} s`)
      } finally {
        await made.provider.close?.()
        await made.close()
      }
    })
  })

async function heldBy(stand: Stand, code: string, io: number) {
  const running = await stand.start(code, { controls: { io } })
  await using sandbox = running.sandbox
  const { resultText } = await running.end
  return { value: Number(resultText), held: sandbox.held?.io }
}

/** Last file in sorted order: the first ones are more often in use. */
function largeFile(): string | undefined {
  const files = readdirSync('/usr/share', { recursive: true, withFileTypes: true })
  return files
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .findLast((file) => statSync(file, { throwIfNoEntry: false })!.size >= read)
}
