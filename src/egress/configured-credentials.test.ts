import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MayflyError } from '../contract/error.ts'
import { credentialsFrom } from './configured-credentials.ts'

const named = { name: 'api', env: 'API_TOKEN', header: 'authorization', hosts: ['api.example.com'] }

test('The value of a credential comes from the environment', () => {
  const [held] = credentialsFrom([named], { API_TOKEN: 'Bearer x' })
  assert.equal(held?.value, 'Bearer x')
})

test('A credential without a value is an error of the configuration that names the variable', () => {
  const find = () => credentialsFrom([named], {})
  assert.throws(find, { code: 'CONFIG', hint: /"API_TOKEN"/ })
})

test('A value that no header can have is an error of the configuration without the value', () => {
  for (const value of ['two\nlines', ' padded ', 'naïve'])
    assert.throws(
      () => credentialsFrom([named], { API_TOKEN: value }),
      (thrown: MayflyError) =>
        thrown.code === 'CONFIG' && !`${thrown.message}${thrown.hint}`.includes(value),
    )
})
