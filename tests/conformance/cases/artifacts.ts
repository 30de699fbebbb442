import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'

/** Larger than a pipe buffer and than the window of a stream. */
const fileBytes = 300_000

export const artifacts: Chapter = {
  name: 'Files and artifacts',
  cases: [
    {
      title: 'A file of the job and a file that the program creates are transferred byte for byte',
      needs: [{ guest: 'copies' }, { can: 'files' }, { can: 'artifacts' }],
      async run(stand) {
        const bytes = randomBytes(fileBytes)
        const content = bytes.toString('base64')
        const brought = { path: 'brought.bin', content, encoding: 'base64' } as const
        const { end } = await stand.run(stand.guests.copies, { files: [brought] })
        assert.equal(end.status, 'ok', messageIn(end))
        // An unchanged input file is no artifact.
        assert.deepEqual(
          end.artifacts.map(({ path }) => path),
          ['made/copy.bin'],
        )
        assert.ok(bytes.equals(end.artifacts[0]!.bytes))
      },
    },
    {
      title: 'An artifact above the limit is omitted, and named in the outcome',
      needs: [{ guest: 'copies' }, { can: 'files' }, { can: 'artifacts' }],
      async run(stand) {
        const content = Buffer.alloc(fileBytes).toString('base64')
        const brought = { path: 'brought.bin', content, encoding: 'base64' } as const
        const limits = { artifacts: fileBytes - 1 }
        const { end } = await stand.run(stand.guests.copies, { files: [brought], limits })
        assert.equal(end.status, 'ok', messageIn(end))
        assert.deepEqual(end.artifacts, [])
        assert.deepEqual(
          end.leftOut?.map(({ path }) => path),
          ['made/copy.bin'],
        )
      },
    },
  ],
}
