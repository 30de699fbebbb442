import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Provider } from '../../src/contract/provider.ts'
import { strengthOf } from '../../src/contract/tier.ts'
import { reasonToSkip, type Case, type Chapter } from './case.ts'
import { artifacts } from './cases/artifacts.ts'
import { batches } from './cases/batches.ts'
import { capabilities } from './cases/capabilities.ts'
import { controls } from './cases/controls.ts'
import { files } from './cases/files.ts'
import { kill } from './cases/kill.ts'
import { leftovers } from './cases/leftovers.ts'
import { life } from './cases/life.ts'
import { limits } from './cases/limits.ts'
import { results } from './cases/results.ts'
import { sessions } from './cases/sessions.ts'
import { streams } from './cases/streams.ts'
import { tighten } from './cases/tighten.ts'
import type { Guests } from './guests.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { inJs, Stand, type GuestLanguage, type Made } from './stand.ts'

/**
 * The one suite that every provider passes: Mayfly's own, the mock, and yours. Call it in a file that `node --test`
 * runs:
 *
 *     import { conformance, inShell } from 'mayfly/conformance'
 *     conformance('my-wall', createMyWall(), inShell)
 *
 * In place of a provider it takes a function that makes one, which is called once for most cases, and again by cases about
 * a provider's whole life. What a provider does not declare is skipped, with the reason; what it declares has to hold.
 * Guests of the life cycle are there in JavaScript, Node, Python and shell; one for another language brings its own.
 * `takes` draws cases of a suite that runs often.
 */
export function conformance(
  name: string,
  given: Provider | (() => Promise<Made>),
  language: GuestLanguage = inJs,
  takes: (title: string) => boolean = () => true,
): void {
  const make = typeof given === 'function' ? given : () => Promise.resolve(asMade(given))
  suite(`${name} keeps the contract of a provider`, () => {
    let made: Made | undefined
    let unavailable: string | undefined
    before(async () => void (made = await make()))
    after(async () => {
      await made?.provider.close?.()
      await made?.close()
    })

    test('The provider declares its properties, and proves its availability', async () => {
      const { provider } = made!
      assert.match(provider.name, /^[a-z0-9][a-z0-9-]{0,63}$/)
      const proved = await provider.detect()
      unavailable = proved.available ? undefined : proved.reason
      assert.ok(proved.available, unavailable ?? '')
      // Some declare by the proof what they enforce and tighten.
      for (const control of provider.tightens) assert.ok(provider.enforces.includes(control))
      assert.ok(proved.strength <= strengthOf[provider.tier], 'it proved more than its tier has')
    })

    for (const chapter of chapters)
      suite(chapter.name, () => {
        for (const one of chapter.cases.filter(({ title }) => takes(title)))
          test(one.title, async (t) => {
            const { provider } = made!
            const reason = unavailable ?? reasonToSkip(provider, one.needs, language.guests)
            const seen = reason ?? (await one.run(new Stand(provider, make, language)))
            if (seen) t.skip(seen)
          })
      })
  })
}

function asMade(provider: Provider): Made {
  return { provider, close: () => Promise.resolve() }
}

export const chapters: readonly Chapter[] = [
  results,
  batches,
  streams,
  limits,
  controls,
  files,
  artifacts,
  sessions,
  tighten,
  capabilities,
  kill,
  life,
  leftovers,
]

/** Cases for a provider by its declarations: run, or skipped with the reason. */
export function tableFor(
  provider: Provider,
  guests: Guests = inJs.guests,
): readonly {
  readonly chapter: string
  readonly case: Case
  readonly skipped: string | undefined
}[] {
  return chapters.flatMap((chapter) =>
    chapter.cases.map((one) => ({
      chapter: chapter.name,
      case: one,
      skipped: reasonToSkip(provider, one.needs, guests),
    })),
  )
}

export { inJs, inNode, inPython, inShell }
