import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  assertOwnState,
  auditFile,
  leaseFolder,
  signerFolder,
  stateFolder,
} from './state-folder.ts'

test('The state folder is the flag, else MAYFLY_STATE, else XDG_STATE_HOME, else a fixed path', () => {
  const env = { MAYFLY_STATE: '/m', XDG_STATE_HOME: '/x', HOME: '/home/a' }
  assert.equal(stateFolder(env, 0, '/f'), '/f')
  assert.equal(stateFolder(env, 0), '/m')
  assert.equal(stateFolder({ ...env, MAYFLY_STATE: '' }, 0), '/x/mayfly')
  assert.equal(stateFolder({ HOME: '/home/a' }, 0), '/var/lib/mayfly')
  assert.equal(stateFolder({ HOME: '/home/a' }, 1000), '/home/a/.local/state/mayfly')
})

test('A relative XDG_STATE_HOME is ignored, as its specification asks', () => {
  assert.equal(stateFolder({ XDG_STATE_HOME: 'x', HOME: '/h' }, 5), '/h/.local/state/mayfly')
})

test('A user without a home must set the state folder', () => {
  assert.throws(() => stateFolder({}, 1000), /set "MAYFLY_STATE"/)
})

test("The log is in the state folder; the warden's files are in its sibling, if that can be created", () => {
  assert.equal(auditFile('/s'), '/s/audit.db')
  const parent = mkdtempSync(join(tmpdir(), 'mayfly-state-'))
  try {
    assert.equal(signerFolder(join(parent, 's')), join(parent, 's-warden', 'keys'))
    assert.equal(leaseFolder(join(parent, 's')), join(parent, 's-warden', 'leases'))
    const closed = join(parent, 'closed')
    mkdirSync(closed, { mode: 0o555 })
    const beside = process.getuid?.() === 0 ? 's-warden' : 's/warden'
    assert.equal(signerFolder(join(closed, 's')), join(closed, beside, 'keys'))
  } finally {
    rmSync(parent, { recursive: true })
  }
})

test("The warden's files have the same path before and after the parent folders are created", () => {
  const parent = mkdtempSync(join(tmpdir(), 'mayfly-state-'))
  try {
    const state = join(parent, 'not', 'yet', 's')
    const before = signerFolder(state)
    mkdirSync(state, { recursive: true })
    assert.equal(signerFolder(state), before)
    assert.equal(before, join(parent, 'not', 'yet', 's-warden', 'keys'))
  } finally {
    rmSync(parent, { recursive: true })
  }
})

test('Attack: a folder or link of another user is no folder of the state', (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can make files of others')
  const parent = mkdtempSync(join(tmpdir(), 'mayfly-state-'))
  try {
    chmodSync(parent, 0o711)
    const state = join(parent, 's')
    mkdirSync(`${state}-warden`)
    assert.equal(leaseFolder(state), join(`${state}-warden`, 'leases'))
    chownSync(`${state}-warden`, 12_346, 12_346)
    assert.throws(() => leaseFolder(state), /s-warden" belongs to uid 12346/)
    mkdirSync(state)
    chownSync(state, 12_346, 12_346)
    // Root, who acts as the owner of both.
    assert.equal(leaseFolder(state), join(`${state}-warden`, 'leases'))
    assertOwnState(state)
    symlinkSync(parent, join(parent, 'l'))
    lchownSync(join(parent, 'l'), 12_346, 12_346)
    process.seteuid!(12_345)
    for (const folder of [state, join(parent, 'l')])
      assert.throws(() => assertOwnState(folder), /belongs to uid 12346/)
    assertOwnState(parent)
  } finally {
    process.seteuid!(0)
    rmSync(parent, { recursive: true })
  }
})
