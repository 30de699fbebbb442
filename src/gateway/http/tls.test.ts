import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
