import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, realpathSync } from 'node:fs'
import { test } from 'node:test'
import { ExecScan } from './exec-scan.ts'

const skip = !existsSync('/proc/self/exe') && 'no /proc'

test(
  'A program is reported once, when it begins; a fork of the wall’s own program never',
  { skip },
  async () => {
    const scan = new ExecScan(process.pid, [])
    const child = spawn('sleep', ['30'])
    const over = once(child, 'exit')
    await once(child, 'spawn')
    const pids = [process.pid, child.pid!]
    assert.deepEqual(
      scan.since(pids).map(({ pid }) => pid),
      [child.pid],
    )
    assert.deepEqual(scan.since(pids), [])
    assert.deepEqual(new ExecScan(process.pid, pids).since(pids), [])
    assert.deepEqual(new ExecScan(child.pid!, []).since(pids), [
      { pid: process.pid, file: realpathSync(process.execPath) },
    ])
    child.kill('SIGKILL')
    await over
    assert.deepEqual(scan.since([child.pid!]), [])
  },
)
