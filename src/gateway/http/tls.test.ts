import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { followRenewals } from './tls.ts'

test('A key that came from a pipe is not read again, which would block the server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-tls-'))
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    writeFileSync(cert, '')
    const followed = () => {
      const server = new EventEmitter()
      const tls = { cert: '', key: '', isLasting: true, files: { cert, key } }
      followRenewals(server as never, tls, 1000, { emit: () => undefined })
      return server.listenerCount('connection')
    }
    writeFileSync(key, '')
    assert.equal(followed(), 1)
    rmSync(key)
    assert.equal(spawnSync('mkfifo', [key]).status, 0)
    assert.equal(followed(), 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('A certificate that is replaced by a folder, a FIFO or a link to an endless device is reported, and the one in use stays', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-tls-'))
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    for (const file of [cert, key]) writeFileSync(file, '')
    const told: unknown[] = []
    const server = new EventEmitter()
    const tls = { cert: '', key: '', isLasting: true, files: { cert, key } }
    followRenewals(server as never, tls, 1000, { emit: (_, fields) => void told.push(fields) })
    const makes: readonly ((at: string) => void)[] = [
      (at) => mkdirSync(at),
      (at) => assert.equal(spawnSync('mkfifo', [at]).status, 0),
      (at) => symlinkSync('/dev/zero', at),
    ]
    for (const [index, make] of makes.entries()) {
      rmSync(cert, { recursive: true })
      make(cert)
      for (let n = 0; n < 2; n++) server.emit('connection')
      assert.deepEqual(told.slice(index), [{ renewed: false, because: 'it is no plain file' }])
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
