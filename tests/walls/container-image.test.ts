import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeContainerContext } from '../../scripts/container-context.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { asPlainDocker, openPodman, withoutPodman, type Podman } from '../fixtures/podman.ts'

/** The image of examples/docker, built and run by rootless Podman as plain Docker runs it: no privilege, no option. */
const skip = withoutPodman()
const imageName = 'localhost/mayfly'

suite('A plain container', { skip }, () => {
  let podman: Podman
  before(() => {
    podman = openPodman()
    const made = join(podman.folder, 'context')
    makeContainerContext(made)
    const options = [
      '--layers=false',
      '--isolation',
      'chroot',
      '--build-arg',
      `BASE=${podman.base()}`,
    ]
    const file = join(made, 'Containerfile')
    const { status, stderr } = podman.run(['build', ...options, '-t', imageName, '-f', file, made])
    assert.equal(status, 0, stderr)
  })
  after(() => podman?.[Symbol.asyncDispose]())

  const run = (words: readonly string[], input = '') =>
    podman.run(['run', '-i', '--rm', '--network', 'none', ...asPlainDocker, imageName, ...words], {
      input,
    })

  test('S4-33: providers lists its walls: programs have one of strength 3, by a keeper and own uids', () => {
    const { stdout, stderr } = run(['providers', '--json'])
    const providers = JSON.parse(stdout || stderr) as {
      name: string
      available: boolean
      strength: number
      layers: string[]
    }[]
    const of = (name: string) => providers.find((one) => one.name === name)
    assert.deepEqual([of('embedded')?.available, of('embedded')?.strength], [true, 3], stderr)
    for (const layer of ['keeper', 'own uid', 'landlock', 'seccomp', 'memory watch'])
      assert.ok(of('embedded')?.layers.includes(layer), layer)
    assert.equal(of('isolated-vm')?.available, true)
    assert.equal(of('bubblewrap')?.available, false)
  })

  test('S4-33: runs JavaScript, Python with children, Node and a shell in them, and refuses a job that needs more', () => {
    const jobs = [
      ['js', 'return 6 * 7', [], '42'],
      [
        'python',
        'import subprocess\nprint(subprocess.run(["sh", "-c", "echo child"], capture_output=True).stdout)',
        [],
        "b'child\\n'",
      ],
      [
        'node',
        'console.log(require("node:child_process").execSync("echo child") + "")',
        [],
        'child',
      ],
      ['sh', 'echo $(echo child)', [], 'child'],
    ] as const
    for (const [language, code, more, expected] of jobs) {
      const { stdout, stderr } = run(['run', '-', '--language', language, ...more], code)
      assert.ok(stdout.includes(expected), `${language}: ${stdout} ${stderr}`)
    }
    for (const asked of [
      ['--tier', 'gvisor'],
      ['--provider', 'bubblewrap'],
    ]) {
      const ran = run(['run', '-', '--language', 'python', ...asked], 'print("ran")')
      assert.equal(ran.status, 7, ran.stderr)
      assert.match(ran.stderr, /^unavailable/m)
      assert.doesNotMatch(ran.stdout, /ran/)
    }
  })

  test('S4-33: serves, answers a job over HTTP, exits with 0 at SIGTERM, and has dropped root', async () => {
    const started = podman.run([
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      'served',
      ...asPlainDocker,
      imageName,
    ])
    assert.equal(started.status, 0, started.stderr)
    const inside = (code: string) => podman.run(['exec', 'served', 'node', '-e', code])
    const ask = `fetch('http://127.0.0.1:7421/readyz').then(async (one) => console.log(one.status, await one.text()))`
    let answer = inside(ask)
    for (let tries = 0; !answer.stdout.startsWith('200') && tries < 300; tries++) {
      await sleep(100)
      answer = inside(ask)
    }
    assert.match(answer.stdout, /^200/, answer.stderr + podman.run(['logs', 'served']).stderr)
    const job = {
      language: 'python',
      code: 'import os, subprocess; subprocess.run(["echo", str(os.getuid())])',
    }
    const key = podman.run([
      'exec',
      'served',
      'mayfly',
      'access',
      'create',
      '--tenant',
      'one',
      '--scope',
      'run',
      '--json',
    ])
    const { key: token } = JSON.parse(key.stdout) as { key: string }
    const posted = inside(
      `fetch('http://127.0.0.1:7421/v1/executions', { method: 'POST', body: ${JSON.stringify(JSON.stringify(job))}, headers: { 'content-type': 'application/json', authorization: 'Bearer ${token}' } }).then(async (one) => console.log(await one.text()))`,
    )
    const outcome = JSON.parse(posted.stdout) as { status: string; stdout: string }
    assert.equal(outcome.status, 'ok', posted.stdout)
    // A uid of the range of walls, whose predecessor is the server's.
    assert.match(outcome.stdout, /^52(?!000)\d{3}\n$/)
    const users = podman.run([
      'exec',
      'served',
      'sh',
      '-c',
      'for p in /proc/[0-9]*; do grep -h "^Uid" $p/status; done',
    ])
    const logs = podman.run(['logs', 'served']).stderr
    assert.match(users.stdout, /^Uid:\s52000/m, `${users.stdout}${users.stderr}${logs}`)
    const sockets = podman.run(['exec', 'served', 'cat', '/proc/net/tcp'])
    // The server listens (0A) at port 7421 as that uid.
    assert.match(sockets.stdout, /:1CFD \S+ 0A \S+ \S+ \S+ +52000 /, sockets.stderr)
    const stopped = podman.run(['stop', '--time', '15', 'served'])
    assert.equal(stopped.status, 0, stopped.stderr)
    const state = podman.run(['inspect', '--format', '{{.State.ExitCode}}', 'served'])
    assert.equal(state.stdout.trim(), '0')
  })
})
