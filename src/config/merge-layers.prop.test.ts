import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { type ConfigLayer, mergeLayers } from './merge-layers.ts'
import type { KeyPath } from './positions.ts'

const scalar = fc.oneof(fc.integer(), fc.boolean(), fc.array(fc.integer(), { maxLength: 2 }))
const name = fc.constantFrom('a', 'b', 'network', 'constructor', '__proto__')
const { table } = fc.letrec((tie) => ({
  table: fc.dictionary(name, fc.oneof({ maxDepth: 3 }, scalar, tie('table')), { maxKeys: 3 }),
}))
const layers = fc
  .array(table, { minLength: 1, maxLength: 4 })
  .map((values) => values.map((value, index) => layerOf(value, `layer ${index}`)))

function layerOf(values: Record<string, unknown>, label: string): ConfigLayer {
  return { values, origin: () => ({ label }) }
}

test('every effective scalar is the value at its path in the layer its origin names', () => {
  fc.assert(
    fc.property(layers, (all) => {
      const merged = mergeLayers(all)
      for (const { path, value } of scalars(merged.values)) {
        const { label } = merged.originOf(path)
        const layer = all[Number(label.split(' ')[1])]
        assert.deepEqual(at(layer?.values, path), value)
      }
    }),
  )
})

test('merging a layer with itself, or with an empty one, changes nothing', () => {
  fc.assert(
    fc.property(layers, (all) => {
      const once = JSON.stringify(mergeLayers(all).values)
      assert.equal(JSON.stringify(mergeLayers([layerOf({}, 'x'), ...all]).values), once)
      assert.equal(JSON.stringify(mergeLayers([...all, all.at(-1)!]).values), once)
    }),
  )
})

test('the last layer wins: all its values are in force', () => {
  fc.assert(
    fc.property(layers, (all) => {
      const { values } = mergeLayers(all)
      for (const { path, value } of scalars(all.at(-1)!.values))
        assert.deepEqual(at(values, path), value)
    }),
  )
})

test('A schedule and a zone named as a table that is replaced as a whole are merged as any other', () => {
  const valuesOf = (...all: readonly object[]) =>
    JSON.parse(JSON.stringify(mergeLayers(all.map((one) => layerOf({ ...one }, 'x'))).values))
  for (const name of ['network', 'a'])
    assert.deepEqual(
      valuesOf(
        { schedules: { [name]: { phases: [1], zones: { [name]: { phases: [2] } } } } },
        { schedules: { [name]: { shorten: 1, zones: { [name]: { program: 'x' } } } } },
      ).schedules[name],
      { phases: [1], shorten: 1, zones: { [name]: { phases: [2], program: 'x' } } },
    )
})

test('merging touches no layer and no prototype', () => {
  fc.assert(
    fc.property(layers, (all) => {
      const before = JSON.stringify(all.map(({ values }) => values))
      mergeLayers(all)
      assert.equal(JSON.stringify(all.map(({ values }) => values)), before)
      assert.deepEqual(Object.keys(Object.prototype), [])
    }),
  )
})

function scalars(value: unknown, path: KeyPath = []): { path: KeyPath; value: unknown }[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [{ path, value }]
  return Object.entries(value).flatMap(([key, inner]) => scalars(inner, [...path, key]))
}

function at(value: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (inner, key) => Object.getOwnPropertyDescriptor(Object(inner), key)?.value,
    value,
  )
}
