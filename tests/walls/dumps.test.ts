import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type { ProgramName } from '../../src/contract/warden.ts'
import { isMissing } from './process-stands.ts'

/** Workers that hold code, input and results: one that crashes leaves none of it to a disk, or to a program of the host. */
const workers: readonly ProgramName[] = ['isolated-vm', 'wasi', 'analyst']

suite('A crashed worker', () => {
  for (const jailKind of jailKinds)
    for (const worker of workers)
      test(`${worker} by ${jailKind}: leaves no core dump, in a file or through the pipe of core_pattern`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const folder = mkdtempSync(join(tmpdir(), 'mayfly-dumps-'))
        const warden = holdWarden({ stateFolder: join(folder, 'state'), prefer: jailKind })
        try {
          const { wall, socket } = await warden.start(worker, {
            spares: 1,
            spareMiB: 8,
            mechanism: jailKind,
          })
          const limits = readFileSync(`/proc/${wall.pid}/limits`, 'utf8')
          assert.match(limits, /^Max core file size +1 +1 /m, limits)
          socket.destroy()
        } finally {
          await warden.close()
          rmSync(folder, { recursive: true, force: true })
        }
      })
})
