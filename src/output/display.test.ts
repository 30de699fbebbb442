import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskEnd } from '../contract/provider.ts'
import { describeDisplay, displayMax, displayProblem } from './display.ts'

const artifacts = [{ path: 'a.png', bytes: new Uint8Array(3) }]
const problem = (display: NonNullable<TaskEnd['display']>) =>
  displayProblem({ display, artifacts })?.code
const text = (units: number) => ({ type: 'text/html', text: 'x'.repeat(units) })

test('Rich forms leave with a MIME type and a text, or the path of an artifact', () => {
  assert.equal(displayProblem({ artifacts }), undefined)
  const display = [
    { type: 'image/png', path: 'a.png' },
    { type: 'application/vnd.vega.v5+json', text: '{}' },
  ]
  assert.equal(problem(display), undefined)
  assert.deepEqual(describeDisplay({ display }), display)
})

test('Half a surrogate pair of a shown text becomes U+FFFD', () => {
  const display = [{ type: 'text/plain', text: 'a\ud800' }]
  assert.deepEqual(describeDisplay({ display }), [{ type: 'text/plain', text: 'a\ufffd' }])
})

test('A shown type that is no MIME type is refused', () => {
  for (const type of ['', 'png', 'image/', '/png', 'Image/PNG', 'a/b;c=d', 'a/b\n', 'a/b c', 'a/<'])
    assert.equal(problem([{ type, text: '' }]), 'DISPLAY_INVALID', type)
})

test('A shown path without an artifact is refused', () => {
  for (const path of ['b.png', '', '/etc/passwd', '../a.png', 'A.png', '__proto__'])
    assert.equal(problem([{ type: 'image/png', path }]), 'DISPLAY_INVALID', path)
})

test('Rich output beyond the limits on items and text is refused', () => {
  const { items, textUnits, allUnits } = displayMax
  assert.equal(problem(Array.from({ length: items }, () => text(1))), undefined)
  assert.equal(problem(Array.from({ length: items + 1 }, () => text(1))), 'DISPLAY_TOO_LARGE')
  assert.equal(problem([text(textUnits)]), undefined)
  assert.equal(problem([text(textUnits + 1)]), 'DISPLAY_TOO_LARGE')
  const full = Array.from({ length: allUnits / textUnits }, () => text(textUnits))
  assert.equal(problem(full), undefined)
  assert.equal(problem([...full, text(1)]), 'DISPLAY_TOO_LARGE')
})
