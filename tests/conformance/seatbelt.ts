import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Language } from '../../src/contract/job.ts'
import { createSeatbeltProvider } from '../../src/tiers/seatbelt/provider.ts'
import { makeSandboxExec } from '../fixtures/sandbox-exec.ts'
import { inLanguage, makeProgramWalls } from './program-walls.ts'
import type { Made } from './stand.ts'

/** Walls by a played `sandbox-exec`, with a warden in this process and a state folder of its own. */
export async function makeSeatbelt(language: Language): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-seatbelt-'))
  const sandboxExec = makeSandboxExec(folder)
  const { provider, close } = inLanguage(
    makeProgramWalls(createSeatbeltProvider, { sandboxExec }),
    language,
  )
  return {
    provider,
    async close() {
      await close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
