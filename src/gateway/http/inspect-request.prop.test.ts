import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { segmentsOf } from './inspect-request.ts'

const piece = fc.constantFrom(
  '.',
  '..',
  '/',
  '\\',
  '%2e',
  '%2E',
  '%2f',
  '%5c',
  '%00',
  '%25',
  '%',
  'a',
  'b.js',
  '?',
  '~',
  ' ',
)

test('Path segments of any target stay below the folder and reach no dotfile', () => {
  const target = fc.array(piece, { maxLength: 12 }).map((parts) => `/${parts.join('')}`)
  fc.assert(
    fc.property(
      fc.oneof(
        target,
        fc.string().map((text) => `/${text}`),
      ),
      (text) => {
        const named = segmentsOf(text, true)
        if (named) assert.match(join('/srv/site', ...named), /^\/srv\/site(?:\/|$)/)
        const segments = segmentsOf(text)
        if (!segments) return
        assert.deepEqual(named, segments)
        const path = join('/srv/site', ...segments)
        assert.ok(
          path === '/srv/site' || path === '/srv/site/' || path.startsWith('/srv/site/'),
          path,
        )
        assert.ok(!/\/\.|\0|\\/.test(path), path)
      },
    ),
    { numRuns: 5000 },
  )
})

test('An honest path is read back as it was written', () => {
  const name = fc.stringMatching(/^[\p{L}\d_-][\p{L}\d._ -]{0,8}$/u)
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), (names) => {
      assert.deepEqual(segmentsOf(`/${names.map(encodeURIComponent).join('/')}?q=/../x`), names)
    }),
  )
})
