import { MayflyError } from '../contract/error.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { ComposedProbe, ComposedProvider } from '../contract/provider-module.ts'
import { assertAnswers } from '../walls/proof.ts'

/** A built-in provider with the result of its probe. */
export interface BaseProvider {
  readonly provider: Provider
  readonly availability: Availability
}

/**
 * A provider composed of a built-in one. Its sandboxes are those of the built-in provider, unchanged, so the proof of
 * that provider applies. Only languages and abilities can be removed; both are checked before a job is assigned to it.
 * Throws MayflyError PROVIDER_BROKEN if it claims more than the built-in provider has.
 */
export function compose(spec: ComposedProvider, base: BaseProvider): Provider {
  const { provider, availability } = base
  const { languages = provider.languages, can = provider.can } = spec
  assertAllOf('languages', languages, provider)
  assertAllOf('can', can, provider)
  const composed: Provider = {
    name: spec.name,
    tier: spec.tier ?? provider.tier,
    languages,
    enforces: provider.enforces,
    tightens: provider.tightens,
    can,
    ...(spec.isByNameAlone && { isByNameAlone: true }),
    async detect() {
      if (availability.available && spec.probe) await answersAs(composed, spec.probe)
      return availability
    },
    launch: (profile, clock, hints) =>
      provider.launch({ ...profile, provider: provider.name, tier: provider.tier }, clock, hints),
  }
  return composed
}

async function answersAs(provider: Provider, probe: ComposedProbe): Promise<void> {
  const { language, entry, code, input = null, expect } = probe
  await assertAnswers(provider, {
    language,
    entry,
    code,
    inputText: JSON.stringify(input),
    expect: JSON.stringify(expect),
  })
}

function assertAllOf(member: 'languages' | 'can', given: readonly string[], base: Provider): void {
  const has: readonly string[] = base[member]
  const beyond = given.find((one) => !has.includes(one))
  if (beyond === undefined) return
  throw new MayflyError('PROVIDER_BROKEN', `${member}: "${base.name}" has no "${beyond}"`, {
    hint: `Leave it out; "mayfly providers --json" lists what "${base.name}" has`,
  })
}
