import type { PatternName, Severity } from '../contract/verdict.ts'

export interface ThreatPattern {
  readonly score: number
  readonly severity: Severity
  readonly description: string
  /** Capability that this finding suggests. */
  readonly capability: string
}

/** Patterns and their scores, equal at every entry point. */
export const patterns = {
  VM_ESCAPE: {
    score: 100,
    severity: 'critical',
    description: 'Constructor escape attempt',
    capability: 'escape',
  },
  CRYPTOMINING: {
    score: 95,
    severity: 'critical',
    description: 'Cryptocurrency mining',
    capability: 'mining',
  },
  CHILD_PROCESS: {
    score: 95,
    severity: 'critical',
    description: 'Process spawning',
    capability: 'child-process',
  },
  PROCESS_ACCESS: {
    score: 90,
    severity: 'critical',
    description: 'Process manipulation attempt',
    capability: 'process',
  },
  FILESYSTEM: {
    score: 85,
    severity: 'critical',
    description: 'File system access',
    capability: 'files',
  },
  PROTOTYPE_POLLUTION: {
    score: 85,
    severity: 'critical',
    description: 'Prototype pollution',
    capability: 'prototypes',
  },
  EVAL: {
    score: 80,
    severity: 'critical',
    description: 'Dynamic code execution',
    capability: 'eval',
  },
  BUFFER_OVERFLOW: {
    score: 80,
    severity: 'high',
    description: 'Large buffer allocation',
    capability: 'memory',
  },
  NETWORK: {
    score: 75,
    severity: 'high',
    description: 'Network access',
    capability: 'network',
  },
  REQUIRE: {
    score: 70,
    severity: 'high',
    description: 'Module loading',
    capability: 'require',
  },
  IMPORT: {
    score: 70,
    severity: 'high',
    description: 'Import statement',
    capability: 'import',
  },
  TIMING_ATTACK: {
    score: 40,
    severity: 'medium',
    description: 'Timing measurement',
    capability: 'clock',
  },
  OBFUSCATION: {
    score: 60,
    severity: 'medium',
    description: 'Packed or encoded code',
    capability: 'obfuscation',
  },
  UNPARSED: {
    score: 90,
    severity: 'critical',
    description: 'Code that could not be analysed',
    capability: 'unparsed',
  },
  UNREAD_DEPENDENCY: {
    score: 60,
    severity: 'medium',
    description: 'Code of a package that analysis cannot clear',
    capability: 'unparsed',
  },
} as const satisfies Record<PatternName, ThreatPattern>
