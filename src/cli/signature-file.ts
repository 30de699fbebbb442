import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import { envelopeSchema, publicKeyAsked } from '../contract/signature.ts'
import { readBytes } from './source.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Output of `mayfly keys sign`, either kind. */
const rawSchema = z.strictObject({ signature: z.string().max(200), publicKey: publicKeyAsked })

export type SignatureFields = Pick<JobRequest, 'signature' | 'publicKey'>

/** Reads the signatures of a job from files: envelopes, or one raw signature. Throws MayflyError USAGE. */
export async function readSignatures(files: readonly string[]): Promise<SignatureFields> {
  const all = (await Promise.all(files.map(readOne))).flat()
  const [first] = all
  if (all.length === 1 && first && 'publicKey' in first) return first
  const envelopes = all.filter((one) => 'format' in one)
  if (envelopes.length === all.length) return { signature: envelopes }
  throw new MayflyError('USAGE', 'Cannot combine a raw signature with others')
}

async function readOne(file: string) {
  try {
    const value: unknown = parseJson((await readBytes(file)).toString())
    const one = z.union([envelopeSchema, rawSchema])
    return z.union([one, z.array(one).min(1)]).parse(value)
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    throw new MayflyError('USAGE', `Cannot read the signature "${file}"`, {
      hint: 'Expected the JSON that "mayfly keys sign" prints',
      cause,
    })
  }
}
