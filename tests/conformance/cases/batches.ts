import assert from 'node:assert/strict'
import { code, type Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'

/** Batches: one answer for each call, in order, regardless of failures. */
export const batches: Chapter = {
  name: 'Batches',
  cases: [
    {
      title: 'Each call of a batch has its own answer, in order, before the end of the task',
      needs: [{ guest: 'echo' }, { can: 'batch' }],
      async run(stand) {
        const { end, answers } = await stand.run(stand.guests.echo, {
          input: [1, 'two', null],
          calls: 3,
        })
        assert.equal(end.status, 'ok', messageIn(end))
        assert.equal(end.resultText, 'null')
        assert.deepEqual(
          answers.map(({ status, executionTime }) => [status, executionTime >= 0]),
          [
            ['ok', true],
            ['ok', true],
            ['ok', true],
          ],
        )
        for (const [index, said] of ['1', '"two"', 'null'].entries())
          assert.ok(answers[index]?.resultText.includes(said), said)
      },
    },
    {
      title: 'A call that throws has its own error, and affects no other call',
      needs: [{ language: 'js' }, code, { can: 'batch' }],
      async run(stand) {
        const { end, answers } = await stand.run(
          'if (input === 2) throw new TypeError("two"); return input',
          { input: [1, 2, 3], calls: 3 },
        )
        assert.equal(end.status, 'ok', messageIn(end))
        assert.deepEqual(
          answers.map(({ status, resultText }) => [status, resultText]),
          [
            ['ok', '1'],
            ['error', 'null'],
            ['ok', '3'],
          ],
        )
        assert.deepEqual(
          [answers[1]?.error?.name, answers[1]?.error?.message],
          ['TypeError', 'two'],
        )
      },
    },
    {
      title:
        'The timeout of a task bounds all calls of a batch, and answered calls keep their results',
      needs: [{ language: 'js' }, code, { can: 'batch' }],
      async run(stand) {
        const { end, answers } = await stand.run('if (input === 2) for (;;); return input', {
          input: [1, 2, 3],
          calls: 3,
          limits: { timeout: 1000 },
        })
        assert.equal(end.status, 'timeout', messageIn(end))
        assert.deepEqual(
          answers.map(({ resultText }) => resultText),
          ['1'],
        )
      },
    },
    {
      title: 'The results of a batch together have the size limit of one result',
      needs: [{ language: 'js' }, code, { can: 'batch' }],
      async run(stand) {
        const { answers } = await stand.run('return "x".repeat(600)', {
          input: [1, 2, 3],
          calls: 3,
          limits: { result: 1024 },
        })
        assert.deepEqual(
          answers.map(({ status, error }) => error?.code ?? status),
          ['ok', 'RESULT_TOO_LARGE', 'RESULT_TOO_LARGE'],
        )
      },
    },
  ],
}
