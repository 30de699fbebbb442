import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createArtifactCap } from './artifact-cap.ts'
import type { GuestLife } from './guest-life.ts'
import { ProgramSession, type SessionOutput } from './program-session.ts'

test(
  'A session is closed although the reader of an exec does not take its output',
  { timeout: 60_000 },
  async () => {
    const finished: string[] = []
    const life = {
      isEnded: false,
      wall: 'w',
      parts: {
        wall: { wall: { idleBytes: 0 } },
        warden: { release: () => Promise.resolve({ cpuMs: 5, peakBytes: 0 }) },
      },
      finish: ({ status }: { status: string }) => void finished.push(status),
    }
    const output: SessionOutput = {
      flooded: () => undefined,
      isCut: false,
      renew: () => undefined,
      drained: () => new Promise<void>(() => undefined),
    }
    const parts = { output, cap: createArtifactCap(1000) }
    const session = new ProgramSession(life as unknown as GuestLife, parts)
    await session.close()
    assert.deepEqual(finished, ['ok'])
  },
)
