import { controlNames } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { languages } from '../contract/job.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import { strengthOf } from '../contract/tier.ts'
import { encodeTagged } from '../lib/tagged.ts'
import { customName } from './custom-name.ts'
import { createProvider, type RunEnd } from './create-provider.ts'
import { contextOf } from './microvm-context.ts'
import type { ExecutionContext, ExecutionResult, MicroVMProvider } from './microvm-contract.ts'

const MB = 2 ** 20

/**
 * Adapts a custom provider to the Provider interface as `custom:NAME`; selected only by that name. Throws
 * MayflyError INVALID for a malformed provider.
 */
export function adapt(custom: MicroVMProvider): Provider {
  const own = customName(custom)
  const { tier = 'isolate' } = custom
  let detected: Promise<Availability> | undefined
  let isInitialised = false

  async function detect(): Promise<Availability> {
    try {
      if (!(await custom.isAvailable()))
        return unavailable(own, 'it reports that it is not available')
      await custom.initialize()
      isInitialised = true
      return {
        available: true,
        strength: strengthOf[tier],
        layers: ['unverified: claimed by its author'],
        missing: ['a proof: Mayfly did not make this wall and has not tried it'],
      }
    } catch (thrown) {
      return unavailable(own, messageOf(thrown))
    }
  }

  const made = createProvider({
    name: `custom:${own}`,
    tier,
    languages,
    enforces: controlNames,
    can: ['network', 'folders', 'folder-calls', 'files'],
    isByNameAlone: true,
    held: { memory: 'custom', cpu: 'custom', network: 'custom', files: 'custom' },
    detect: () => (detected ??= detect()),
    run: (task, _io, { profile, signal }) => execute(custom, contextOf(task, profile), signal),
  })
  return {
    ...made,
    async launch(profile, clock) {
      if (isInitialised) return await made.launch(profile, clock)
      throw new MayflyError('UNAVAILABLE', `Cannot use provider "${own}": it was cleaned up`)
    },
    async close() {
      if (!isInitialised) return
      isInitialised = false
      await custom.cleanup()
    },
  }
}

async function execute(
  custom: MicroVMProvider,
  context: ExecutionContext,
  signal: AbortSignal,
): Promise<RunEnd> {
  try {
    return endOf(await custom.execute(context, { signal }))
  } catch (thrown) {
    return { status: 'error', error: { code: 'USER_ERROR', message: messageOf(thrown) } }
  }
}

function endOf({ value, metadata = {} }: ExecutionResult): RunEnd {
  const { text, encoding } = encodeTagged(value)
  const { cpuTime = 0, memoryUsedMb, networkRequests } = metadata
  const used = memoryUsedMb === undefined ? undefined : memoryUsedMb * MB
  return {
    resultText: text,
    encoding,
    cpuTime,
    ...(used !== undefined && { memory: { used, peak: used } }),
    ...(networkRequests && { network: networkRequests }),
  }
}

function unavailable(name: string, why: string): Availability {
  return {
    available: false,
    code: 'CUSTOM_UNAVAILABLE',
    reason: `Cannot use provider "${name}": ${why}`,
    fix: 'Ask the author of the provider',
  }
}
