import type { Config } from '../contract/config.ts'
import { type ErrorCode, MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import { remedyText, type Remedy } from '../contract/remedy.ts'
import type { Envelope, Signed } from '../contract/signature.ts'
import { verifyRaw, whyInvalid } from './signature.ts'
import type { Signers } from './signers.ts'

const files: Remedy = { field: 'files' }
const signature: Remedy = { field: 'signature' }

export interface VerifierParts {
  readonly config: () => Pick<Config, 'signing' | 'tenants'>
  readonly signers: Pick<Signers, 'trusts'> & Partial<Pick<Signers, 'list'>>
  /** Milliseconds since 1970, compared with expiries. */
  readonly date: () => number
}

/**
 * Verifies a job's signatures before the analysis. A present signature must be valid, whether required or not;
 * otherwise the code is not parsed. Never throws.
 */
export function createVerifier(parts: VerifierParts): (job: Job) => Signed {
  return (job) => {
    try {
      const found = signaturesOf(job, parts.date())
      if (found.kind === 'valid') for (const key of found.keys) assertTrusted(key, job, parts)
      const required = requiredOf(parts.config(), job.tenant)
      assertEnough(found, required)
      if (required > 0) assertCovered(job)
      return found
    } catch (thrown) {
      return { kind: 'refused', error: errorOf(thrown) }
    }
  }
}

function signaturesOf({ asked }: Job, now: number): Signed {
  const { signature, publicKey, code, files, language } = asked
  if (signature === undefined && publicKey === undefined) return { kind: 'unsigned' }
  if (typeof signature === 'string' && publicKey !== undefined) {
    if (files.length > 0)
      throw invalid('a raw signature covers no files; an envelope of "mayfly keys sign" does')
    if (!verifyRaw(code, signature, publicKey)) throw invalid('its key did not sign this code')
    return { kind: 'valid', keys: [publicKey] }
  }
  if (typeof signature !== 'object' || publicKey !== undefined)
    throw invalid('a raw signature comes with its publicKey, an envelope has its own')
  const envelopes = Array.isArray(signature) ? signature : [signature]
  for (const envelope of envelopes) {
    const why = whyInvalid(envelope, { code, files, language }, now)
    if (why !== undefined) throw invalid(why)
  }
  return {
    kind: 'valid',
    keys: [...new Set(envelopes.map(({ key }) => key))].sort(),
    capabilities: inAll(envelopes),
  }
}

function inAll([first, ...rest]: readonly Envelope[]): readonly string[] {
  const all = first?.capabilities ?? []
  return all.filter((name) => rest.every(({ capabilities }) => capabilities.includes(name)))
}

function assertTrusted(key: string, job: Job, { signers }: VerifierParts): void {
  if (signers.trusts(key, job.tenant)) return
  const known = signers.list?.().filter((one) => one.key === key) ?? []
  const isOwn = ({ tenant }: { tenant: string | null }) => tenant === null || tenant === job.tenant
  if (known.some((one) => one.revokedAt !== null && isOwn(one)))
    throw new MayflyError(
      'SIGNER_UNKNOWN',
      'Cannot run this code: the key of its signer was revoked',
      {
        details: { key, hint: 'Sign it with another key, which is trusted' },
      },
    )
  throw new MayflyError('SIGNER_UNKNOWN', `Cannot run this code: its signer is not trusted`, {
    details: { key, hint: 'The operator trusts a key with "mayfly keys trust"' },
  })
}

function assertEnough(found: Signed, required: number): void {
  const given = found.kind === 'valid' ? found.keys.length : 0
  if (given >= required) return
  const what = required === 1 ? 'a signature of a trusted signer' : `${required} trusted signers`
  throw new MayflyError('SIGNATURE_REQUIRED', `Cannot run this code: it needs ${what}`, {
    details: {
      required,
      given,
      hint: `Signatures come from ${remedyText(signature)}`,
      remedies: [signature],
    },
  })
}

/** Code of packages runs with the job's own, some of it before, and no signature says which it is. */
function assertCovered({ packages = [] }: Job): void {
  if (packages.length === 0) return
  throw new MayflyError(
    'SIGNATURE_REQUIRED',
    'Cannot run this code: it needs signatures, and none covers its packages',
    {
      details: {
        packages: packages.map(({ kind }) => kind),
        hint: `Bundle them into the code, or bring them as files, with ${remedyText(files)}, and sign those`,
        remedies: [files],
      },
    },
  )
}

/** Signers required for this tenant; the global requirement is the minimum. */
function requiredOf(
  { signing, tenants }: ReturnType<VerifierParts['config']>,
  name: string,
): number {
  const tenant = tenants.find((one) => one.name === name) ?? tenants[0]
  return Math.max(...[signing, tenant?.signing].map((one) => (one?.required ? one.signers : 0)))
}

function invalid(why: string): MayflyError {
  return new MayflyError('SIGNATURE_INVALID', `Cannot accept the signature: ${why}`)
}

/** Every unexpected failure refuses the job. */
function errorOf(thrown: unknown): { code: ErrorCode; message: string; details?: unknown } {
  if (!(thrown instanceof MayflyError))
    return { code: 'SIGNATURE_INVALID', message: 'Cannot accept the signature: it cannot be read' }
  const { code, message, details, hint } = thrown
  return { code, message, ...((details ?? hint) !== undefined && { details: details ?? { hint } }) }
}
