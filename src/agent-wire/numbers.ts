/** Constants of the protocol with a guest agent; guest/agent/wire.h has the same ones, and describes every frame. */
export const agentWireVersion = 1

export const hostKinds = {
  claim: 1,
  run: 2,
  input: 3,
  close: 4,
  credit: 5,
  signal: 6,
  kill: 7,
  phase: 8,
  list: 9,
  status: 10,
  renew: 11,
  hold: 12,
  look: 13,
  read: 14,
  watch: 15,
  rule: 16,
  bound: 17,
  finish: 18,
} as const

export const agentKinds = {
  hello: 65,
  claimed: 66,
  started: 67,
  output: 68,
  ended: 69,
  credit: 70,
  exited: 71,
  killed: 72,
  phased: 73,
  listed: 74,
  statused: 75,
  refused: 76,
  lost: 77,
  renewed: 78,
  held: 79,
  chunk: 80,
  seen: 81,
  zoned: 82,
  zone: 83,
} as const

/** Codes of `lost`, and exit codes of the agent. */
export const lostCodes = {
  0: 'channel ended',
  10: 'bad length',
  11: 'unknown kind',
  12: 'unknown version',
  13: 'bad payload',
  14: 'more than the credit',
  15: 'bad start',
  16: 'not process 1',
  17: 'broken channel',
  18: 'broken agent',
  20: 'boot: first mounts',
  21: 'boot: channel',
  22: 'boot: modules',
  23: 'boot: settings',
  24: 'boot: image',
  25: 'boot: overlay',
  26: 'boot: devices',
  27: 'boot: root',
} as const

/** Steps of a claim, by number minus one. */
export const claimSteps = [
  'entropy',
  'reseed',
  'clock',
  'hostname',
  'machine-id',
  'labels',
  'memory',
  'processes',
  'open-files',
  'file-bytes',
  'core-bytes',
] as const
export type ClaimStep = (typeof claimSteps)[number]

/** Stages of a start that can fail, by number. */
export const runStages = [
  'check',
  'fork',
  'descriptor',
  'limits',
  'user',
  'folder',
  'exec',
] as const

/** Limits, in the order of the protocol. */
export const agentLimits = ['processes', 'openFiles', 'fileBytes', 'coreBytes'] as const
export type AgentLimit = (typeof agentLimits)[number]

/** Folders by number: those that programs write to, and /proc. */
export const agentFolders = ['overlay', 'tmp', 'shm', 'run', 'result', 'proc'] as const
export type AgentFolder = (typeof agentFolders)[number]

/** Classes of calls, by the bits of a profile: those of `src/contract/calls.ts`. */
export const agentCalls = ['exec', 'process', 'network', 'write', 'outside'] as const
export type AgentCall = (typeof agentCalls)[number]

/** Classes of refusals, by number: those of a profile, and others. */
export const refusalClasses = [
  ...agentCalls,
  'debug',
  'mount',
  'namespace',
  'module',
  'raw-socket',
  'signal',
  'capability',
  'other',
] as const

/** Abilities of a guest over its programs, by the bits of its `hello`. */
export const agentAbilities = [
  'limits-memory',
  'counts-tasks',
  'confines',
  'watches',
  'zones',
] as const
export type AgentAbility = (typeof agentAbilities)[number]

export const pathBytesMax = 4095
export const nameBytesMax = 255
export const idBytesMax = 64
export const seedBytesMin = 32
export const seedBytesMax = 256
export const labelsMax = 16
export const labelBytesMax = 256
export const streamBytesMax = 16_384
export const creditMax = 2 ** 30
export const wordsMax = 256
export const descriptorsMax = 8
export const descriptorNameBytesMax = 32
export const listedEntriesMax = 256
export const statusMax = 512
export const skipMax = 65_536
/** Bytes of a file in one answer. */
export const chunkBytesMax = 65_536
export const policyBytesMax = 32_768
/** Longest text of an observation, and maximum credit of observations. */
export const seenTextBytesMax = 255
export const seenCreditMax = 4_096
/** Zones at a time, over the life of a guest, and reports of refused ones. */
export const guestZonesMax = 16
export const zonesMadeMax = 250
export const zoneRefusalsMax = 50
export const zoneRulesMax = 32
export const zoneNamesMax = 16
export const zoneNameBytesMax = 1024
/** Maximum payload of `run`, the longest frame of the host. */
export const runBytesMax = 65_536
/** Maximum payload of a list, the agent's longest frame. */
export const answerBytesMax = 98_304
