import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { canonicalLanguage } from '../contract/language-words.ts'
import type { SignatureAsked } from '../contract/signature.ts'
import type { Finding, PatternName, Severity } from '../contract/verdict.ts'
import { blockThresholdDefault, decideRegistration } from '../effects/decide.ts'
import { newJob } from '../job.ts'
import { systemClock } from '../contract/clock.ts'
import { createVerifier } from '../threat/verify-job.ts'
import { assertKnownOptions } from './known-options.ts'
import type { Mayfly } from './mayfly.ts'
import { SharedMayfly } from './shared-mayfly.ts'

export interface ThreatDetectorOptions {
  /** Minimum score that is blocked; default 80. 0 blocks everything, 101 nothing. */
  readonly blockThreshold?: number
  /** Verifies signatures. A present signature must then be valid and from a trusted signer. */
  readonly enableCodeSigning?: boolean
  /** Raw Ed25519 public keys in base64. */
  readonly trustedSigners?: readonly string[]
  /** Instance to use instead of the shared one. */
  readonly mayfly?: Mayfly
}

export interface CodeOptions {
  /** Base64 of the raw Ed25519 signature over the code's UTF-8 bytes, with `publicKey`; or an envelope. */
  readonly signature?: SignatureAsked
  readonly publicKey?: string
  readonly language?: Language
}

export type DetectedPattern = Pick<
  Finding,
  'name' | 'score' | 'severity' | 'description' | 'line' | 'column' | 'count'
>

export interface ThreatAnalysis {
  /** Highest pattern score; without a pattern at most 39, from complexity and behaviour. */
  readonly score: number
  /** Highest score first, each with its first position and count. */
  readonly patterns: readonly DetectedPattern[]
  readonly severity: Severity
  /** True if the score reaches the threshold, or for a syntax error or a malformed WebAssembly module. */
  readonly blocked: boolean
  /** Sum of cyclomatic complexity. */
  readonly complexityScore: number
  /** Obfuscation signs, 0 to 100. */
  readonly behaviorScore: number
  readonly signatureValid: boolean
  /** True if the same code was analysed before. */
  readonly cached: boolean
  readonly syntaxError?: {
    readonly message: string
    readonly line: number
    readonly column: number
  }
}

export interface DetectorStatistics {
  readonly analyzed: number
  readonly blocked: number
  /** Refused for their signature, without analysis. */
  readonly refused: number
  readonly cacheHits: number
  /** Occurrences of each pattern over all analyses. */
  readonly occurrences: Readonly<Partial<Record<PatternName, number>>>
}

/**
 * Static threat analysis of code. It is parsed in a jailed process, never in this one.
 *
 * @example
 * const detector = new SandboxThreatDetector({ blockThreshold: 80 })
 * const { score, blocked } = await detector.analyzeCode('process.exit(1)')
 * console.log(score, blocked) // 90 true
 */
export class SandboxThreatDetector {
  readonly #blockThreshold: number
  readonly #enableCodeSigning: boolean
  readonly #trusted: ReadonlySet<string>
  readonly #hold: SharedMayfly
  readonly #occurrences = new Map<PatternName, number>()
  #analyzed = 0
  #blocked = 0
  #refused = 0
  #cacheHits = 0

  /** Throws MayflyError INVALID for an invalid threshold, and for an option that there is not. */
  constructor(options: ThreatDetectorOptions = {}) {
    assertKnownOptions(options, known)
    const { blockThreshold = blockThresholdDefault, enableCodeSigning = false } = options
    if (!(blockThreshold >= 0 && blockThreshold <= 101))
      throw new MayflyError('INVALID', 'Cannot use "blockThreshold": expected 0 to 101')
    this.#blockThreshold = blockThreshold
    this.#enableCodeSigning = enableCodeSigning
    this.#trusted = new Set(options.trustedSigners)
    this.#hold = new SharedMayfly(options.mayfly)
  }

  /**
   * Throws MayflyError SIGNATURE_INVALID or SIGNER_UNKNOWN before parsing; without `enableCodeSigning` INVALID for a
   * signature that would be ignored.
   */
  async analyzeCode(code: string, options: CodeOptions = {}): Promise<ThreatAnalysis> {
    assertKnownOptions(options, knownOfCode)
    const language = canonicalLanguage(options.language ?? '') ?? options.language
    const signatureValid = this.#verify(code, { ...options, ...(language && { language }) })
    const mayfly = await this.#hold.mayfly()
    const analysis = await mayfly.analyze({ code, ...(language && { language }) })
    const { verdict, cached } = analysis
    const decision = decideRegistration(verdict, this.#blockThreshold)
    const isMalformed = analysis.kind === 'syntax-error' || analysis.badModule !== undefined
    const blocked = decision.blocked || isMalformed
    this.#count(verdict.findings, blocked, cached)
    return {
      score: decision.score,
      patterns: verdict.findings.toSorted((a, b) => b.score - a.score).map(patternOf),
      severity: decision.severity,
      blocked,
      complexityScore: verdict.complexityScore,
      behaviorScore: verdict.behaviorScore,
      signatureValid,
      cached,
      ...(analysis.kind === 'syntax-error' && {
        syntaxError: {
          message: analysis.message,
          line: analysis.line,
          column: analysis.column,
        },
      }),
    }
  }

  /** Counts since construction. */
  getStatistics(): DetectorStatistics {
    return {
      analyzed: this.#analyzed,
      blocked: this.#blocked,
      refused: this.#refused,
      cacheHits: this.#cacheHits,
      occurrences: Object.fromEntries(this.#occurrences),
    }
  }

  /** Releases the parser process; the next analysis gets a new one. */
  destroy(): Promise<void> {
    return this.#hold.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  #verify(code: string, { signature, publicKey, language }: CodeOptions): boolean {
    if (signature === undefined && publicKey === undefined) return false
    if (!this.#enableCodeSigning)
      throw new MayflyError('INVALID', 'Cannot verify a signature: "enableCodeSigning" is not set')
    const caller = { tenant: 'default', principal: 'threat-detector', origin: 'library' } as const
    const job = newJob(
      {
        code,
        ...(signature && { signature }),
        ...(publicKey && { publicKey }),
        ...(language && { language }),
      },
      caller,
      systemClock,
    )
    const signed = this.#verifier(job)
    if (signed.kind !== 'refused') return signed.kind === 'valid'
    this.#refused++
    const { code: why, message, details } = signed.error
    throw new MayflyError(why, message, { details })
  }

  readonly #verifier = createVerifier({
    config: () => ({ signing: { required: false, signers: 1 }, tenants: [] }),
    signers: { trusts: (key) => this.#trusted.has(key) },
    date: () => systemClock.date(),
  })

  #count(findings: readonly Finding[], blocked: boolean, cached: boolean): void {
    this.#analyzed++
    if (blocked) this.#blocked++
    if (cached) this.#cacheHits++
    for (const { name, count } of findings)
      this.#occurrences.set(name, (this.#occurrences.get(name) ?? 0) + count)
  }
}

const known = {
  blockThreshold: true,
  enableCodeSigning: true,
  trustedSigners: true,
  mayfly: true,
} as const
const knownOfCode = { signature: true, publicKey: true, language: true } as const

function patternOf(finding: Finding): DetectedPattern {
  const { name, score, severity, description, line, column, count } = finding
  return { name, score, severity, description, line, column, count }
}
