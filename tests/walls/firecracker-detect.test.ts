import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import {
  detectFirecracker,
  type DetectOptions,
} from '../../src/warden/engines/firecracker/detect.ts'

const skip = process.platform !== 'linux' && 'it needs Linux'
const MS_MAX = 60_000

/** A machine with all parts, whose programs print these texts. */
async function detected(
  texts: { firecracker: string; jailer: string },
  changes: DetectOptions = {},
) {
  const folder = mkdtempSync('/tmp/mayfly-detect-')
  try {
    for (const [name, script] of Object.entries(texts))
      writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    const find = (name: string) => join(folder, name)
    const all = { arch: 'x64', isRoot: true, kvm: '/dev/null', find, msMax: MS_MAX }
    const facts = await detectFirecracker({ ...all, ...changes })
    return facts.kind === 'ready' ? 'ready' : facts.causes
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const release = { firecracker: 'echo Firecracker v1.15.1', jailer: 'echo Jailer v1.15.1' }

suite('Detection of Firecracker', { skip }, () => {
  test('All missing parts are named together, each with a fix', async () => {
    const causes = await detected(release, {
      arch: 's390x',
      isRoot: false,
      kvm: '/nowhere/kvm',
      find: () => undefined,
    })
    assert.ok(causes !== 'ready')
    assert.deepEqual(
      causes.map(({ cause }) => cause),
      [
        'Firecracker has no release for s390x',
        'The jailer needs root with a uid for each wall',
        '"/nowhere/kvm" cannot be opened for reading and writing',
        'The program "firecracker" is missing',
        'The program "jailer" is missing',
      ],
    )
    assert.ok(causes.every(({ fix }) => fix.length > 10))
  })

  test('Another operating system is the only reported reason', async () => {
    const causes = await detected(release, { platform: 'darwin' })
    assert.deepEqual(causes, [
      { cause: 'Firecracker needs Linux, and this is darwin', fix: 'Use a Mayfly on Linux' },
    ])
  })

  test('Both programs of one release without known escapes are accepted', async () => {
    assert.equal(await detected(release), 'ready')
  })

  test('Old, mismatched, silent, hanging and endless programs are unavailable with the cause', async () => {
    const cases: readonly (readonly [
      change: Partial<typeof release>,
      why: RegExp,
      msMax?: number,
    ])[] = [
      [{ firecracker: 'echo Firecracker v1.14.3' }, /CVE-2026-5747/],
      [{ jailer: 'echo Jailer v1.14.3' }, /"jailer": 1\.14\.3 has a vulnerability/],
      [{ jailer: 'echo Jailer v1.14.4' }, /is 1\.14\.4, and that of Firecracker 1\.15\.1/],
      [{ firecracker: 'exit 1' }, /cannot be parsed/],
      [{ firecracker: 'exec sleep 600' }, /is late/, 300],
      [{ firecracker: 'exec yes' }, /is too long/],
    ]
    for (const [change, why, msMax = MS_MAX] of cases) {
      const causes = await detected({ ...release, ...change }, { msMax })
      assert.ok(causes !== 'ready', JSON.stringify(change))
      assert.match(causes[0]!.cause, why)
    }
  })
})
