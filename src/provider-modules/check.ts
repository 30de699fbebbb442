import * as z from 'zod'
import { controlNames } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { entries, languages } from '../contract/job.ts'
import type { Availability, Sandbox } from '../contract/provider.ts'
import type { ComposedProvider, ProviderModule } from '../contract/provider-module.ts'
import { tierNames, type TierName } from '../contract/tier.ts'

/**
 * Schemas of a module's exports and answers. A module is trusted code but written by hand, so a mistake in it is
 * reported here and not where the value is used.
 */
const call = z.custom<(...given: never[]) => unknown>(
  (value) => typeof value === 'function',
  'expected a function',
)
const name = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,63}$/,
    'expected 1 to 64 lower-case letters, digits, ".", "_" or "-"',
  )
const tier = z.enum(tierNames.filter((one) => one !== 'mock') as [TierName, ...TierName[]])
const language = z.enum(languages)
const controls = z.array(z.enum(controlNames as [string, ...string[]])).readonly()
const abilities = z
  .array(z.string().regex(/^[a-z-]{1,32}$/, 'expected the name of an ability'))
  .readonly()

const declared = {
  name,
  tier,
  languages: z.array(language).min(1).readonly(),
  enforces: controls,
  tightens: controls,
  can: abilities,
  isByNameAlone: z.boolean().optional(),
}

const providerShape = z.object({
  ...declared,
  detect: call,
  launch: call,
  close: call.optional(),
})

const composedShape = z.strictObject({
  name,
  on: z.string().min(1).max(64),
  tier: tier.optional(),
  languages: z.array(language).min(1).optional(),
  can: abilities.optional(),
  isByNameAlone: z.boolean().optional(),
  probe: z
    .strictObject({
      language,
      entry: z.enum(entries.filter((one) => one !== 'auto') as ['body', ...string[]]),
      code: z.string().min(1),
      input: z.unknown().optional(),
      expect: z.unknown(),
    })
    .optional(),
})

const available = z.object({
  available: z.literal(true),
  strength: z.int().min(0).max(5),
  layers: z.array(z.string().max(200)).max(100).readonly(),
  missing: z.array(z.string().max(500)).max(100).readonly(),
  features: z.array(z.string().max(100)).max(100).readonly().optional(),
  cost: z
    .object({ spareMiB: z.number().min(0), refillMs: z.number().min(0) })
    .readonly()
    .optional(),
})
const notAvailable = z.object({
  available: z.literal(false),
  code: z.string().max(64),
  reason: z.string().max(2000),
  fix: z.string().max(2000),
})
const availabilityShape = z.discriminatedUnion('available', [available, notAvailable])

const sandboxShape = z.object({
  id: z.string(),
  image: z.string(),
  pool: z.enum(['hit', 'miss', 'none']),
  held: z.record(z.string(), z.string()).optional(),
  tightens: controls.optional(),
  run: call,
  tighten: call,
  freeze: call,
  thaw: call,
  watch: call,
  capture: call,
  kill: call,
  [Symbol.asyncDispose]: call,
})

export function isComposed(made: ProviderModule): made is ComposedProvider {
  return 'on' in made
}

/** Validates the default export of a module. Throws MayflyError PROVIDER_BROKEN, which names the first wrong member. */
export function checkModule(exported: unknown): ProviderModule {
  if (typeof exported !== 'object' || exported === null)
    throw wrong('it exports no provider as its default')
  const shape = 'on' in exported ? composedShape : providerShape
  const read = shape.safeParse(membersOf(exported, shape))
  if (read.success) return exported as ProviderModule
  throw wrong(`its default export is wrong: ${firstIssue(read.error)}`)
}

/** Validates the answer of a probe. Throws MayflyError PROVIDER_BROKEN. */
export function checkAvailability(answered: unknown): Availability {
  const read = availabilityShape.safeParse(answered)
  if (read.success) return read.data as Availability
  throw wrong(`its probe answered wrongly: ${firstIssue(read.error)}`)
}

/** Validates a launched sandbox. Throws Error. */
export function checkSandbox(made: Sandbox): Sandbox {
  const read = sandboxShape.safeParse(made)
  if (read.success) return made
  throw new Error(`its sandbox is wrong: ${firstIssue(read.error)}`)
}

/** Reads getters and inherited members too, since a provider may be an instance of a class. */
function membersOf(exported: object, shape: typeof composedShape | typeof providerShape): object {
  const names = [...Object.keys(shape.shape), ...Object.keys(exported)]
  const members = names.map((key) => [key, (exported as Record<string, unknown>)[key]] as const)
  return Object.fromEntries(members.filter(([, value]) => value !== undefined))
}

function firstIssue({ issues }: z.ZodError): string {
  const [{ path, message }] = issues as [z.core.$ZodIssue]
  return path.length > 0 ? `${path.map(String).join('.')}: ${message}` : message
}

function wrong(reason: string): MayflyError {
  return new MayflyError('PROVIDER_BROKEN', reason, {
    hint: 'docs/how-to/add-a-wall.md shows what a module exports',
  })
}
