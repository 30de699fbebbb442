import * as z from 'zod'
import type { LoadedConfig } from '../config/load.ts'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import { layersMax, packageLayer } from '../contract/layer.ts'
import type { Outcome } from '../contract/outcome.ts'
import { openLocalDoor, type LocalDoor, type LocalDoorOptions } from '../gateway/local/door.ts'
import type { LocalCaller } from '../gateway/local/local-client.ts'
import { localFolder } from '../gateway/local/place.ts'
import { serverName } from '../gateway/local/server-name.ts'
import { newJob } from '../job.ts'
import { readStrictJson } from '../lib/strict-json.ts'
import { configDigest } from './config-digest.ts'
import { provesSentinel, localAsker } from './local-asker.ts'
import type { OpenAssembly } from './open-assembly.ts'

/** Maximum nesting of a sent job; any input that a job can use is less deep. */
const DEPTH_MAX = 1000

const sentJob = z.strictObject({
  request: z.unknown(),
  packages: z.array(packageLayer).max(layersMax),
  watch: z.boolean(),
  live: z.boolean(),
})

export interface RunsDoorOptions extends Pick<
  LocalDoorOptions,
  'kind' | 'idleMs' | 'onIdle' | 'onStop'
> {
  /** Configuration that a run without this server would load. */
  readonly loaded: LoadedConfig
}

/** Opens the socket for `mayfly run` of this user; undefined if the state folder allows none. */
export async function openRunsDoor(
  { assembly }: Pick<OpenAssembly, 'assembly'>,
  { loaded, ...options }: RunsDoorOptions,
): Promise<LocalDoor | undefined> {
  const config = configDigest(loaded)
  if (process.platform !== 'linux' || config === undefined) return undefined
  const { state } = loaded.config
  const first = assembly.config
  return openLocalDoor({
    ...options,
    folder: localFolder(state),
    name: serverName({ state, config, env: process.env }),
    state,
    // A configuration changed at run time differs from the one that runs would load.
    isItself: () => assembly.config === first,
    run: (text, caller) => runSent(text, caller, assembly),
  })
}

async function runSent(
  text: string,
  { signal, tap, planned, on }: LocalCaller,
  assembly: OpenAssembly['assembly'],
): Promise<Outcome> {
  const { request, packages, watch, live } = jobIn(text)
  const job = newJob(request as JobRequest, { ...localAsker, packages }, assembly.clock)
  return assembly.run(job, {
    signal,
    ...(live && { tap }),
    planned: (profile) => planned({ profile, hasSentinel: provesSentinel(profile, assembly) }),
    ...(watch && { on }),
  })
}

/** Throws MayflyError SYNTAX or INVALID. */
function jobIn(text: string): z.output<typeof sentJob> {
  try {
    return sentJob.parse(readStrictJson(Buffer.from(text), { depthMax: DEPTH_MAX }).value)
  } catch (cause) {
    throw new MayflyError('SYNTAX', 'Cannot read the job: malformed request', {
      cause,
    })
  }
}
