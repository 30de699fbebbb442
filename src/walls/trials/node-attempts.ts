import { ownVariables } from './own-variables.ts'
import type { Attempts } from './program-trials.ts'

/** If /proc cannot be listed, tries the doctor's own pid. */
const processesWith = (word: string) => `let pids = [input.pid]
  try { pids = pids.concat(fs.readdirSync('/proc').filter((name) => Number(name) > 0)) } catch {}
  for (const pid of pids) {
    try { if (fs.readFileSync('/proc/' + pid + '/cmdline', 'utf8').includes('${word}')) found.push('process ' + pid) } catch {}
  }`

/** Attack attempts in Node. */
export const inNode: Attempts = {
  network: `import net from 'node:net'
import dgram from 'node:dgram'
export default async (input) => {
  const found = []
  const reached = (name, connect) => new Promise((done) => {
    const socket = connect()
    socket.once('connect', () => { found.push(name); socket.destroy(); done() })
    socket.once('error', done)
    setTimeout(done, 300)
  })
  await reached('tcp', () => net.connect(input.port, '127.0.0.1'))
  await reached('tcp6', () => net.connect(input.port, '::ffff:127.0.0.1'))
  await reached('abstract', () => net.connect('\\0/tmp/.X11-unix/X0'))
  await reached('docker', () => net.connect('/var/run/docker.sock'))
  try { await fetch('http://127.0.0.1:' + input.port, { signal: AbortSignal.timeout(300) }); found.push('fetch') } catch {}
  return found
}`,
  files: `import fs from 'node:fs'
export default (input) => {
  const found = []
  const attempt = (name, run) => { try { run(); found.push(name) } catch {} }
  for (const path of [input.canary, '/etc/shadow', '/root/.ssh', '/proc/1/root' + input.canary, '/proc/kcore', '/dev/mem'])
    attempt('read ' + path, () => fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.closeSync(fs.openSync(path, 'r')))
  attempt('write', () => fs.writeFileSync(input.mark, ''))
  for (const path of ['/usr/mayfly-doctor', '/etc/mayfly-doctor', '/opt/mayfly/mayfly-doctor'])
    attempt('write ' + path, () => { fs.writeFileSync(path, ''); fs.unlinkSync(path) })
  return found
}`,
  memory: `const held = []
export default () => { for (let n = 0; n < 1024; n++) held.push(Buffer.alloc(1 << 20, 1)); return held.length }`,
  // Several sessions: beside other load (autogroup shares by session) a single loop may get less than half a core
  // without any limit. Each loop is bounded, in case it outlives this process.
  cpu: `import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
const loop = 'i=0; while [ $i -lt 2000000 ]; do i=$((i+1)); done'
const ticksOf = (pid) => {
  try { return readFileSync('/proc/' + pid + '/stat', 'latin1').replace(/^.*\\)/s, ')').split(' ').slice(12, 14).reduce((sum, ticks) => sum + Number(ticks), 0) } catch { return 0 }
}
export default () => {
  const began = performance.now(), before = process.cpuUsage()
  const others = []
  // A wall without namespaces refuses children: the loop below is all there is then.
  for (let n = 0; n < 4; n++) try { others.push(spawn('/bin/sh', ['-c', loop], { stdio: 'ignore', detached: true }).on('error', () => {})) } catch {}
  while (performance.now() - began < 600);
  const { user, system } = process.cpuUsage(before)
  const ms = (user + system) / 1000 + 10 * others.reduce((sum, { pid }) => sum + ticksOf(pid), 0)
  for (const other of others) other.kill('SIGKILL')
  return [ms]
}`,
  // A watch, in place of a limit of the kernel, looks at intervals, and later on a busy machine.
  processes: `import { spawn } from 'node:child_process'
export default async () => {
  const children = []
  for (let n = 0; n < 40; n++) try { children.push(spawn('/bin/sleep', ['3'], { stdio: 'ignore' }).on('error', () => {})) } catch {}
  await new Promise((done) => setTimeout(done, 50))
  const started = children.filter((one) => one.pid !== undefined && one.exitCode === null)
  if (started.length === 40) await new Promise((done) => setTimeout(done, 2000))
  for (const one of started) one.kill('SIGKILL')
  return started.length
}`,
  time: `import { spawn } from 'node:child_process'
export default async () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {})
  try { spawn('/bin/sh', ['-c', 'trap "" TERM INT HUP; sleep 3'], { detached: true, stdio: 'ignore' }).on('error', () => {}) } catch {}
  await new Promise((done) => setTimeout(done, 3000))
}`,
  kernel: `import { spawnSync } from 'node:child_process'
import os from 'node:os'
export default () => {
  const found = [os.release()]
  for (const [program, ...args] of [
    ['unshare', '--user', '--map-root-user', 'true'], ['unshare', '--net', 'true'], ['chroot', '/', 'true'],
    ['unshare', '--user', '--map-root-user', '--mount', 'mount', '-t', 'tmpfs', 'none', '/tmp'],
    ['nsenter', '--target', '1', '--mount', 'true'], ['setpriv', '--reuid', '0', 'true'], ['dmesg'],
  ]) if (spawnSync(program, args, { stdio: 'ignore', timeout: 1000 }).status === 0) found.push([program, ...args].join(' '))
  return found
}`,
  artifacts: `import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
export default (input) => {
  const attempt = (run) => { try { run() } catch {} }
  const out = process.env.MAYFLY_OUT
  fs.writeFileSync(out + '/plain', 'plain')
  attempt(() => fs.symlinkSync(input.canary, out + '/link'))
  attempt(() => fs.symlinkSync('/etc', out + '/folder'))
  attempt(() => fs.linkSync('/etc/passwd', out + '/hard'))
  attempt(() => spawnSync('mkfifo', [out + '/pipe'], { timeout: 1000 }))
}`,
  secrets: `import fs from 'node:fs'
export default (input) => {
  const own = ${JSON.stringify(ownVariables)}
  const found = Object.keys(process.env).filter((name) => input.names.includes(name) && !own.includes(name) && !name.startsWith('NODE_'))
  ${processesWith('doctor')}
  return found
}`,
  leaves: `import fs from 'node:fs'
import { spawn } from 'node:child_process'
export default () => {
  for (const folder of ['/work', '/tmp', '/dev/shm', '/var/tmp']) try { fs.writeFileSync(folder + '/mayfly-left', 'left') } catch {}
  try { spawn('/bin/sleep', ['7.25'], { detached: true, stdio: 'ignore' }).on('error', () => {}).unref() } catch {}
}`,
  looks: `import fs from 'node:fs'
export default (input) => {
  const found = []
  for (const folder of ['/work', '/tmp', '/dev/shm', '/var/tmp']) try { fs.unlinkSync(folder + '/mayfly-left'); found.push(folder) } catch {}
  ${processesWith('7.25')}
  return found
}`,
}
