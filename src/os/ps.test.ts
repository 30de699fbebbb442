import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readingsIn, readProcess, readProcesses } from './ps.ts'

test('Lines of macOS and of Linux are read: kibibytes, and time with hundredths, hours and days', () => {
  const text = [
    '  501  12345   0:01.25 Fri Nov 27 09:05:01 2026    ',
    '   77      8 125:00.10 Fri Nov  6 09:05:01 2026',
    '    1  10068 2-01:00:18 Fri Nov 27 03:28:48 2026',
    'not a line',
    '',
  ].join('\n')
  assert.deepEqual(
    readingsIn(text).map(({ pid, bytes, cpuMs, started }) => [pid, bytes / 1024, cpuMs, started]),
    [
      [501, 12_345, 1_250, 'Fri Nov 27 09:05:01 2026'],
      [77, 8, 7_500_100, 'Fri Nov  6 09:05:01 2026'],
      [1, 10_068, 176_418_000, 'Fri Nov 27 03:28:48 2026'],
    ],
  )
})

test('A process is read, and one that is gone is left out', async () => {
  const own = readProcess(process.pid)
  assert.ok(own && own.bytes > 2 ** 20 && own.started.length > 10)
  const none = 2 ** 22 - 1
  const [found, ...others] = await readProcesses([none, process.pid])
  assert.deepEqual([found?.pid, found?.started, others], [process.pid, own.started, []])
  assert.deepEqual(await readProcesses([none]), [])
  assert.equal(readProcess(none), undefined)
})
