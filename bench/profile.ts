import { allControls, noFiles, noNetwork } from '../src/contract/controls.ts'
import type { Entry, Language } from '../src/contract/job.ts'
import type { Profile } from '../src/contract/profile.ts'
import type { Provider } from '../src/contract/provider.ts'

const MIB = 2 ** 20
const TIMEOUT_MS = 10_000

/** Default profile, for using a provider without the pipeline. */
export function profileFor(provider: Provider, language: Language, entry: Entry): Profile {
  const controls = {
    ...allControls,
    network: noNetwork,
    files: noFiles,
    cpu: 1,
    memory: 128 * MIB,
    processes: 64,
    capabilities: [],
  }
  return {
    format: 1,
    provider: provider.name,
    tier: provider.tier,
    floor: 1,
    image: 'host',
    language,
    entry,
    tenant: 'bench',
    controls,
    schedule: {
      name: 'bench',
      phases: [{ name: 'full', for: TIMEOUT_MS, controls }],
      onAnomaly: { low: 'record', medium: 'record', high: 'terminate' },
      shorten: 1,
    },
    limits: {
      timeout: TIMEOUT_MS,
      memory: 128 * MIB,
      cpu: 1,
      processes: 64,
      disk: 64 * MIB,
      output: MIB,
      result: 4 * MIB,
      artifacts: 16 * MIB,
    },
    output: { gate: 'stream' },
    capture: false,
    digest: 'bench',
    explain: [],
  }
}
