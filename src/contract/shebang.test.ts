import assert from 'node:assert/strict'
import { test } from 'node:test'
import { interpreterOf, languageOfShebang } from './shebang.ts'

const lines = [
  ['#!/bin/bash', 'bash', 'bash'],
  ['#! /usr/local/bin/bash -eu\r\n', 'bash', 'bash'],
  ['#!/usr/bin/env bash\necho', 'bash', 'bash'],
  ['#!/usr/bin/env -S FOO=1 bash -e\necho', 'bash', 'bash'],
  ['#!/bin/sh\n', 'sh', 'sh'],
  ['#!/bin/dash\n', 'dash', 'sh'],
  ['#!/usr/bin/env python3\n', 'python3', 'python'],
  ['#!/usr/bin/python3.12\n', 'python3.12', 'python'],
  ['#!/usr/bin/env node\n', 'node', 'node'],
  ['#!/usr/bin/perl\n', 'perl', undefined],
  ['#!/usr/bin/env\n', undefined, undefined],
  ['#!\nbash', undefined, undefined],
  ['echo #!/bin/bash', undefined, undefined],
  ['\n#!/bin/bash', undefined, undefined],
  [`#!${'/'.repeat(300)}bash`, undefined, undefined],
  ['', undefined, undefined],
] as const

test('The first line of a script determines its interpreter and language', () => {
  for (const [source, interpreter, language] of lines) {
    assert.equal(interpreterOf(source), interpreter, source)
    assert.equal(languageOfShebang(source), language, source)
  }
})

test('Attack: no first line costs the server more than a moment', () => {
  const lines = [83, 165, 250].map(
    (tabs) => `#!${'a'.repeat(252 - tabs)}${'\t'.repeat(tabs)}\u2028`,
  )
  const { user } = process.cpuUsage()
  for (let turn = 0; turn < 200; turn++) for (const line of lines) interpreterOf(line)
  // A millisecond, against two seconds where each of three parts is tried at each place.
  assert.ok(process.cpuUsage().user - user < 100_000)
})
