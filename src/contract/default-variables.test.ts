import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unlimited } from './controls.ts'
import { threadVariables, unattendedVariables, unlessGiven } from './default-variables.ts'

test('Thread pools have as many threads as the job has cores, one at least, and their own size without a limit', () => {
  for (const [cores, threads] of [
    [0.1, '1'],
    [1, '1'],
    [1.5, '2'],
    [8, '8'],
  ] as const)
    assert.deepEqual(new Set(Object.values(threadVariables(cores))), new Set([threads]))
  assert.deepEqual(threadVariables(unlimited), {})
})

test('Git fails where it would open an editor, unless another editor was given', () => {
  assert.equal(unattendedVariables({})['GIT_EDITOR'], 'false')
  for (const name of ['EDITOR', 'VISUAL'])
    assert.equal(unattendedVariables({ [name]: 'ed' })['GIT_EDITOR'], undefined)
})

test('A default gives way to a given variable of the same name, in any case', () => {
  const defaults = { npm_config_fetch_retries: '0', PIP_RETRIES: '1' }
  assert.deepEqual(unlessGiven(defaults, { NPM_CONFIG_FETCH_RETRIES: '2' }), { PIP_RETRIES: '1' })
})
