/** Public API. Everything else may change without notice. */
export { Box, type BoxFiles } from './sdk/box.ts'
export { BoxTerminal } from './sdk/box-terminal.ts'
export { Mayfly, type OpenOptions, type RunOptions, type SessionOptions } from './sdk/mayfly.ts'
export type { ExecutionInfo, MonitorOptions } from './sdk/zone-calls.ts'
export type { RiskAnalysis, TemporalZone, ZoneCode, ZonesMade } from './contract/zones.ts'
export {
  SecureSandbox,
  type EffectOptions,
  type MemoryUsage,
  type SecureSandboxOptions,
} from './sdk/secure-sandbox.ts'
export {
  SandboxThreatDetector,
  type CodeOptions,
  type DetectedPattern,
  type DetectorStatistics,
  type ThreatAnalysis,
  type ThreatDetectorOptions,
} from './sdk/threat-detector.ts'
export {
  CapabilityRegistry,
  type CapabilityCallOptions,
  type CapabilityRegistryOptions,
} from './sdk/capability-registry.ts'
export type {
  ExecutionContext,
  ExecutionMetadata,
  ExecutionResult,
  FileSystemPolicy,
  MicroVMConfig,
  MicroVMProvider,
  NetworkPolicy,
} from './sdk/microvm-contract.ts'
export type { Capability, IsolatedCapability, SafeCapability } from './contract/capability.ts'
export {
  createProvider,
  passOutput,
  type OutputIo,
  type OneCallProvider,
  type RunEnd,
  type RunLife,
} from './sdk/create-provider.ts'
export { VM, type VMOptions } from './sdk/vm.ts'
export { EffectError } from './sdk/effect-error.ts'
export { MayflyError, type ErrorCode } from './contract/error.ts'
export type { JobRequest } from './contract/job.ts'
export { exitCodeOf, type Status } from './contract/exit-codes.ts'
export { outcomeSchema, type Outcome } from './contract/outcome.ts'
export { profileSchema, type Profile } from './contract/profile.ts'
export { type Controls, meet, isWithin } from './contract/controls.ts'
export type { Event, Sink } from './contract/event.ts'
export type { Clock } from './contract/clock.ts'
export type {
  Availability,
  Capture,
  Enforced,
  KillCause,
  Provider,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from './contract/provider.ts'
export type { ComposedProvider, ProviderModule } from './contract/provider-module.ts'
export { createLogSink } from './telemetry/log.ts'
export { createMemoryRing } from './telemetry/memory-ring.ts'
export { createCounters } from './telemetry/counters.ts'
export { nullSink } from './telemetry/null-sink.ts'
export { decodeTagged } from './lib/tagged.ts'
