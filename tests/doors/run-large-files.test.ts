import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { documentOf, makePlace, mayfly } from './program.ts'

/** Large files of a job, through the real command: the memory used to place them is not charged to the job. */
const place = makePlace()
after(() => place.remove())

const bytes = Buffer.alloc(20 * 2 ** 20, 'Mayfly\0\xff', 'latin1')
const digest = createHash('md5').update(bytes).digest('hex')
writeFileSync(join(place.cwd, 'big.bin'), bytes)
const programs = {
  'sum.sh': 'md5sum big.bin | cut -d" " -f1',
  'sum.py': `import hashlib
with open("big.bin", "rb") as file: print(hashlib.file_digest(file, "md5").hexdigest())`,
  'sum.mjs': `import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
const hash = createHash('md5')
for await (const chunk of createReadStream('big.bin')) hash.update(chunk)
console.log(hash.digest('hex'))`,
}
for (const [name, source] of Object.entries(programs)) writeFileSync(join(place.cwd, name), source)

suite('A file of 20 MB', () => {
  for (const name of Object.keys(programs))
    for (const jailKind of ['bubblewrap', 'embedded'] as const)
      test(`is read whole by ${name} in ${jailKind}, and placing it is not charged as memory`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const flags = ['--provider', jailKind, '--memory', '64MB', '--timeout', '20s', '--json']
        const ran = await mayfly(place, ['run', name, '--file', 'big.bin', ...flags])
        const { status, stdout, error } = documentOf(ran)
        assert.deepEqual([status, stdout], ['ok', `${digest}\n`], JSON.stringify(error))
      })

  for (const name of ['sum.sh', 'sum.py'])
    test(`ends ${name} at its disk limit when it does not fit`, async (t) => {
      if (isMissing(t, { jailKind: 'bubblewrap' })) return
      const args = ['run', name, '--file', 'big.bin', '--disk', '10MB', '--json']
      const { status, error } = documentOf(await mayfly(place, args))
      assert.deepEqual([status, error.code], ['limit', 'DISK'])
    })

  test('is passed to standard input, byte for byte', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    writeFileSync(join(place.cwd, 'stdin.sh'), 'md5sum | cut -d" " -f1')
    const flags = ['--memory', '64MB', '--timeout', '20s', '--json']
    const ran = await mayfly(place, ['run', 'stdin.sh', ...flags], {
      stdin: bytes.toString('latin1'),
    })
    const text = createHash('md5').update(bytes.toString('latin1')).digest('hex')
    assert.equal(documentOf(ran)['stdout'], `${text}\n`)
  })
})
