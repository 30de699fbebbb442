import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finding } from '../contract/verdict.ts'
import { decideRegistration } from './decide.ts'

const finding = (name: Finding['name'], score: number): Finding => ({
  name,
  score,
  severity: 'high',
  line: score,
  column: 2,
  description: name,
  kind: 'need',
  because: '',
  count: 1,
})

const scoring = (threatScore: number, findings: readonly Finding[] = []) => ({
  threatScore,
  findings,
})

test('79 passes, 80 and 81 are blocked (S3-26, S3-30)', () => {
  assert.deepEqual(
    [79, 80, 81].map((score) => decideRegistration(scoring(score)).blocked),
    [false, true, true],
  )
})

test('A custom threshold replaces 80 (S3-26)', () => {
  assert.deepEqual(
    [49, 50, 51].map((score) => decideRegistration(scoring(score), 50).blocked),
    [false, true, true],
  )
  assert.equal(decideRegistration(scoring(100), 101).blocked, false)
})

test('41 is audited, 40 is not (S3-31)', () => {
  assert.deepEqual(
    [39, 40, 41, 100].map((score) => decideRegistration(scoring(score)).audited),
    [false, false, true, true],
  )
})

test('Severity follows the threat score, at its boundaries', () => {
  assert.deepEqual(
    [39, 40, 69, 70, 89, 90].map((score) => decideRegistration(scoring(score)).severity),
    ['low', 'medium', 'medium', 'high', 'high', 'critical'],
  )
})

test('Patterns have name and position, highest score first', () => {
  const { patterns } = decideRegistration(
    scoring(85, [finding('NETWORK', 75), finding('FILESYSTEM', 85)]),
  )
  assert.deepEqual(patterns, [
    { name: 'FILESYSTEM', description: 'FILESYSTEM', severity: 'high', line: 85, column: 2 },
    { name: 'NETWORK', description: 'NETWORK', severity: 'high', line: 75, column: 2 },
  ])
})
