import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import {
  cellOf,
  doorNames,
  hosts,
  jobs,
  openDoor,
  placeOn,
  type Door,
  type Host,
  type HostOutcome,
} from '../fixtures/hosts.ts'

/**
 * Mayfly on six kinds of host and one more, each made by taking the thing away. A job starts and is held, or its outcome says
 * no: no door, language or missing layer makes it fall to less without a word. The table of docs/hosts.md says what runs.
 */
const skip = process.getuid?.() !== 0 && 'it takes root to make another host'
const table = readFileSync(new URL('../../docs/hosts.md', import.meta.url), 'utf8')

/** Layers that a wall of programs must have: at least one of each row. */
const needed = [
  ['seccomp'],
  ['memory watch'],
  ['network namespace', 'keeper'],
  ['pid namespace', 'keeper'],
  ['empty root', 'landlock'],
]

suite('S4-33: A host', { skip }, () => {
  for (const host of hosts)
    for (const name of doorNames)
      test(`with ${host.name} runs each language in a wall that holds, or says no, by ${name}`, async () => {
        const place = placeOn(host)
        try {
          await using door = await openDoor(name, place)
          for (const [language, { code, expected }] of Object.entries(jobs)) {
            const outcome = await door.run({ language, code })
            assertHeldOrRefused(outcome, expected, `${host.name}, ${language}`)
            assertInTable(host, language, outcome)
          }
          await assertNoLess(door, host)
        } finally {
          place.remove()
        }
      })
})

function assertHeldOrRefused(outcome: HostOutcome, expected: string, about: string): void {
  const { status, stdout, enforced, tier } = outcome
  const said = `${about}: ${JSON.stringify(outcome).slice(0, 1500)}`
  if (status !== 'ok') {
    assert.match(status, /^(?:unavailable|blocked)$/, said)
    assert.equal(stdout, '', said)
    return
  }
  assert.equal(stdout, expected, said)
  const layers = enforced?.['layers']?.split(', ') ?? []
  assert.ok(layers.includes('seccomp') && layers.includes('memory watch'), said)
  if (tier === 'process')
    for (const ways of needed)
      assert.ok(
        ways.some((layer) => layers.includes(layer)),
        `${ways.join(' or ')} ${said}`,
      )
}

/** A requested tier, floor or provider is honoured or refused. */
async function assertNoLess(door: Door, { name }: Host): Promise<void> {
  const { code } = jobs['python']!
  for (const asked of [{ tier: 'process' }, { floor: 'gvisor' }, { provider: 'bubblewrap' }]) {
    const outcome = await door.run({ language: 'python', code, ...asked })
    const said = `${name}, ${JSON.stringify(asked)}: ${JSON.stringify(outcome).slice(0, 1500)}`
    if (outcome.status !== 'ok') {
      assert.match(outcome.status, /^(?:unavailable|blocked)$/, said)
      assert.equal(outcome.stdout, '', said)
    } else if (asked.floor) assert.match(outcome.tier!, /^(?:gvisor|userkernel|microvm)$/, said)
    else if (asked.tier) assert.equal(outcome.tier, 'process', said)
    else assert.equal(outcome.provider, 'bubblewrap', said)
  }
}

/** Installed programs decide between two walls that both hold, so only the presence of the row is compared. */
function assertInTable({ name }: Host, language: string, outcome: HostOutcome): void {
  const row = table.split('\n').find((line) => line.startsWith(`| ${name} | ${language} |`))
  assert.ok(
    row?.includes(cellOf(outcome)),
    `docs/hosts.md has "${row}", and here it is "${cellOf(outcome)}": node scripts/hosts.ts`,
  )
}
