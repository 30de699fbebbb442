// The library, as `import 'mayfly'` finds it: the sources of a checkout, or what an installed package brings.
import { load } from './entries.js'

export const {
  Box,
  BoxTerminal,
  CapabilityRegistry,
  EffectError,
  Mayfly,
  MayflyError,
  SandboxThreatDetector,
  SecureSandbox,
  VM,
  createCounters,
  createLogSink,
  createMemoryRing,
  createProvider,
  decodeTagged,
  exitCodeOf,
  isWithin,
  meet,
  nullSink,
  outcomeSchema,
  passOutput,
  profileSchema,
} = load('src/index.ts')
