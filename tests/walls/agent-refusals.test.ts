import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { refusalClasses } from '../../src/agent-wire/numbers.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { sampledRuns } from '../fixtures/drawn.ts'
import { fuzzLives } from '../fuzz/lives.ts'
import { mutated, type Seeded } from '../fuzz/seeded.ts'

/** Records of refusals, as the agent of a guest reads them, under its compiler's sanitizers. */
const root = join(import.meta.dirname, '../..')
const units = [
  join(root, 'tests/fixtures/read-refusals.c'),
  join(root, 'guest/agent/refusal.c'),
] as const
const skip = process.platform !== 'linux' ? 'it needs Linux' : noCompiler
const lives = process.env['MAYFLY_LONG'] ? 500 : sampledRuns(10, import.meta.filename)
const recordsInOne = 500

/** Audit records of Debian's kernel, with another name of the profile. */
const head = 'audit(1795538962.292:8): apparmor="DENIED" operation='
const rest = 'pid=137 comm="python3"'
const records: readonly (readonly [record: string, read: string])[] = [
  [
    `${head}"exec" class="file" profile="mayfly-job" name="/usr/bin/busybox" ${rest} requested_mask="x" denied_mask="x" fsuid=1000 ouid=0`,
    '137 exec exec /usr/bin/busybox',
  ],
  [
    `${head}"open" class="file" profile="mayfly-job" name="/etc/" ${rest} requested_mask="r" denied_mask="r" fsuid=1000 ouid=0`,
    '137 outside open /etc/',
  ],
  [
    `${head}"mknod" class="file" profile="mayfly-job" name=2F776F726B2F6120226222 ${rest} requested_mask="c" denied_mask="c" fsuid=1000 ouid=1000`,
    '137 write mknod /work/a "b"',
  ],
  [
    `${head}"create" class="net" profile="mayfly-job" ${rest} family="inet" sock_type="stream" protocol=0 requested_mask="create" denied_mask="create"`,
    '137 network create inet',
  ],
  [
    `${head}"create" class="net" profile="mayfly-job" ${rest} family="packet" sock_type="raw" protocol=3 requested_mask="create" denied_mask="create"`,
    '137 raw-socket create raw',
  ],
  [
    `${head}"mount" class="mount" info="failed perms check" error=-13 profile="mayfly-job" name="/tmp/" ${rest} fstype="tmpfs" srcname="none"`,
    '137 mount mount ',
  ],
  [
    `${head}"capable" class="cap" profile="mayfly-job" ${rest} capability=16  capname="sys_module"`,
    '137 module capable sys_module',
  ],
  [`${head}"open" class="file" profile="unconfined" name="/etc/" ${rest}`, 'none'],
  [
    `audit(1.1:2): apparmor="STATUS" operation="profile_replace" profile="mayfly-job" ${rest}`,
    'none',
  ],
]

test(
  'Each record of a refusal becomes its process, class, operation and subject, and no other record does',
  { skip },
  (t) =>
    fuzzLives(t, {
      units,
      lives: 1,
      live: async (file) => {
        const told = readBy(
          file,
          records.map(([record]) => record),
        )
        assert.deepEqual(
          told,
          records.map(([, read]) => read),
        )
        const long = `${head}"open" class="file" profile="mayfly-job" name=${'41'.repeat(8000)} pid=7 denied_mask="r"`
        assert.equal(readBy(file, [long])[0]?.length, '7 outside open '.length + 4199)
      },
    }),
)

test('Any record is parsed without reading out of bounds', { skip }, (t) =>
  fuzzLives(t, {
    units,
    lives,
    live: async (file, random) => {
      const bytes = Array.from({ length: recordsInOne }, () => recordOf(random))
      assert.equal(readBy(file, bytes).length, bytes.length)
    },
  }),
)

/** Without NUL, which ends the kernel's text. */
function recordOf(random: Seeded): string {
  const from = records.map(([record]) => Buffer.from(record))
  return mutated(random, from).toString('latin1').replaceAll('\0', '?') || '?'
}

function readBy(file: string, all: readonly string[]): readonly string[] {
  const input = Buffer.concat(all.map((one) => Buffer.from(`${one}\0`, 'latin1')))
  const { status, stdout, stderr } = spawnSync(file, { input, maxBuffer: 2 ** 26 })
  assert.equal(stderr.toString(), '')
  assert.equal(status, 0)
  const lines = stdout.toString('latin1').split('\n').slice(0, -1)
  return lines.map((line) => {
    if (line === 'none') return line
    const [, pid, number, operation, subject] = /^(\d+) (\d+) (.*) ([0-9a-f]*)$/s.exec(line) ?? []
    assert.ok(operation !== undefined && operation.length < 64, line.slice(0, 200))
    const name = refusalClasses[Number(number)]
    assert.ok(name, line.slice(0, 200))
    return `${pid} ${name} ${operation} ${Buffer.from(subject!, 'hex').toString('latin1')}`
  })
}
