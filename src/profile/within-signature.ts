import { grantsNetwork } from '../contract/controls.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { Signed } from '../contract/signature.ts'

/** Applies the signature: the plan is unchanged or blocked, never silently reduced. */
export function withinSignature(plan: Plan, signed: Signed): Plan {
  const { profile } = plan
  if (signed.kind === 'refused') return { kind: 'blocked', profile, error: signed.error }
  if (plan.kind !== 'run' || signed.kind !== 'valid' || !signed.capabilities) return plan
  const beyond = grantsOf(plan).filter((name) => !signed.capabilities?.includes(name))
  if (beyond.length === 0) return plan
  const message = `Cannot run this code: it was not signed for "${beyond[0]}"`
  return {
    kind: 'blocked',
    profile,
    error: { code: 'SIGNATURE_INVALID', message, details: { beyond, signed: signed.capabilities } },
  }
}

/** Grants of a plan, in the words of the signature envelope. */
function grantsOf({ profile: { controls } }: Plan): readonly string[] {
  const { network, capabilities } = controls
  const named = capabilities === 'any' ? ['any'] : capabilities
  return [...(grantsNetwork(network) ? ['network'] : []), ...named]
}
