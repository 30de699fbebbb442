import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, type TestContext } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { proposals } from '../../src/cli/policy-propose.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import type { JobRequest, Language } from '../../src/contract/job.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { openOwnProgram } from '../../src/jail/own-programs.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { runsToLearn } from '../../src/watch/baseline.ts'
import { test } from '../fixtures/drawn.ts'

suite('Detectors watch runs behind real walls', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-anomalies-'))
  const object = {
    state: join(folder, 'state'),
    anomalies: {
      honeytokens: true,
      thresholds: { 'cpu-shape.idleMs': 400, 'cpu-shape.pinnedMs': 400 },
    },
    schedules: {
      zoned: {
        phases: [{ name: 'full', for: '20s' }],
        zones: { compute: { phases: [{ name: 'work', for: '15s' }] } },
      },
      worked: { phases: [{ name: 'full', for: '20s', terminate_if: 'life.cpu > 300.0' }] },
      watchful: {
        phases: [{ name: 'full', for: '20s' }],
        on_anomaly: { low: 'record', medium: 'advance', high: 'terminate' },
      },
      starting: { phases: [{ name: 'full', for: '20s', terminate_if: 'events["seen/exec"] > 3' }] },
    },
  } as const
  const { config } = loadConfig({ object, env: {}, cwd: folder })
  const events: Event[] = []
  let assembly: Assembly

  before(async () => {
    const warden = await startWarden({ stateFolder: config.state })
    const sinks = [(event: Event) => void events.push(event)]
    assembly = assemble({ config, warden, kind: 'library', sinks })
  })
  after(async () => {
    await assembly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (asked: JobRequest): Promise<Outcome> => {
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const { signal } = new AbortController()
    return assembly.run(newJob(asked, who, systemClock), { signal })
  }
  const anomalies = ({ timeline }: Outcome) =>
    timeline.flatMap(({ event, fields }) => (event === 'anomaly' ? [fields?.['name']] : []))

  test('S2-16: An isolate that tries many hosts in sequence is terminated', async () => {
    const code = `let refused = 0
      for (let n = 0; n < 1000; n++) {
        try { await fetch('https://h' + n + '.example.org/') } catch { refused++ }
      }
      return refused`
    const allowed = { allow: ['api.example.com'] }
    // On a busy machine the default of five seconds ends before the burst is complete.
    const outcome = await run({ code, network: allowed, limits: { timeout: 60_000 } })
    assert.deepEqual([outcome.status, outcome.result], ['terminated', null])
    assert.equal(outcome.tier, 'isolate')
    assert.deepEqual(anomalies(outcome), ['denied-burst', 'denied-burst'])
    assert.equal(outcome.timeline.at(-1)?.event, 'terminated')
    // A terminated life has the network ledger in its metrics too.
    const { network } = outcome.metrics
    assert.ok(network.length >= 100 && network.every(({ verdict }) => verdict === 'denied'))
  })

  test('A condition on CPU time counts the CPU time of an isolate, and not the time that it waits', async () => {
    const wait = await run({
      code: 'await new Promise((done) => setTimeout(done, 800)); return 1',
      schedule: 'worked',
    })
    assert.equal(wait.status, 'ok')
    const wallMs = 20_000
    const code = 'for (;;) {}'
    const spin = await run({ code, schedule: 'worked', limits: { timeout: wallMs } })
    assert.equal(spin.status, 'terminated')
    assert.ok(spin.metrics.executionTime < wallMs / 2, `${spin.metrics.executionTime}`)
  })

  test('A condition counts events of a process wall: a program that starts too many programs is terminated', async (t) => {
    if (await isMissing('sh', t)) return
    const code = 'for i in 1 2 3 4 5 6 7 8; do /bin/true; done; sleep 15; echo late'
    const asked = {
      code,
      language: 'sh',
      schedule: 'starting',
      limits: { timeout: '20s' },
    } as const
    const outcome = await run(asked)
    const seen = events.some(({ run, point }) => run === outcome.id && point === 'seen/exec')
    if (!seen && process.env['CI'] !== 'true') return t.skip('its wall has no sentinel')
    assert.deepEqual([outcome.status, outcome.stdout], ['terminated', ''])
    assert.match(outcome.timeline.at(-1)?.reason ?? '', /terminate_if events/)
  })

  const copied =
    'import os, shutil, subprocess, time\nshutil.copy("/bin/ls", "x"); os.chmod("x", 0o755)\n'
  const rest = '\ntime.sleep(5)'
  // A name that takes long to be looked up is told; by then another stands there, which is opened.
  const swapped = `
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
open("plain", "w").close(); os.mkdir("d")
for n in range(38): os.symlink("/work/" + "d/../" * 780 + ("l%d" % (n - 1) if n else "plain"), "l%d" % n)
name, read = ctypes.create_string_buffer(b"/work/l37", 4096), b""
def swap(): time.sleep(0.001); name.value = b"/work/.aws/credentials"
for n in range(200):
    if b"aws" in read: break
    name.value = b"/work/l37"
    other = threading.Thread(target=swap); other.start()
    fd = libc.open(name, 0)
    other.join()
    if fd >= 0: read = os.read(fd, 99); os.close(fd)
`
  const hidden: Readonly<Record<string, readonly [name: string, code: string]>> = {
    'a folder that it goes to': [
      'sensitive-data',
      'import os, time\nos.chdir(".aws"); open("credentials").read()' + rest,
    ],
    'an open folder': [
      'sensitive-data',
      'import os, time\nos.open("credentials", 0, dir_fd=os.open(".aws", 0))' + rest,
    ],
    'a link': [
      'sensitive-data',
      'import os, time\nos.symlink(".aws", "a"); open("a/credentials").read()' + rest,
    ],
    'a dot': ['sensitive-data', 'import time\nopen("/work/.aws/./credentials").read()' + rest],
    'links of the kernel': [
      'sensitive-data',
      'import os, time\nos.symlink("/proc/self", "p"); open("/work/p/cwd/.aws/credentials").read()' +
        rest,
    ],
    'the root by another name': [
      'sensitive-data',
      'import time\nopen("/proc/./thread-self/root/work/.aws/credentials").read()' + rest,
    ],
    // Deduplication of reported paths must not use a predictable hash: this name collides with the credential in FNV-1a.
    'another name for its folder': [
      'sensitive-data',
      `import os, time\nos.rename(".aws", "x"); open("x/credentials").read()${rest}`,
    ],
    'a second name, and no read of it': [
      'sensitive-data',
      `import mmap, os, time\nos.link(".aws/credentials", "x"); fd = os.open("x", 0); kept = mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:]${rest}`,
    ],
    'a name that another thread changes': ['sensitive-data', `${swapped}${rest}`],
    'that it might have written': [
      'sensitive-data',
      `import os, time\nos.read(os.open(".aws/credentials", os.O_RDWR), 99)${rest}`,
    ],
    'that it might have made': [
      'sensitive-data',
      `import os, time\nos.read(os.open(".aws/credentials", os.O_RDONLY | os.O_CREAT), 99)${rest}`,
    ],
    'a name that hashes to the same': [
      'sensitive-data',
      `import os, time\ntry: os.open(bytes.fromhex("6e3739353436302d231110f53b050f060f1d042d0b0d6c1d"), 0)\nexcept OSError: pass\nopen(".aws/credentials").read()${rest}`,
    ],
    'thousands of other files': [
      'sensitive-data',
      'import os, time\nfor n in range(5000):\n  try: os.open("/work/n%d" % n, 0)\n  except OSError: pass\nopen(".aws/credentials").read()' +
        rest,
    ],
    'hundreds of names that are nearly secret': [
      'sensitive-data',
      'import os, time\nfor n in range(600):\n  for name in (".env", ".aws/credentials", ".ssh"):\n    try: os.open("/work/%s%d" % (name, n), 0)\n    except OSError: pass\nopen(".aws/credentials").read()' +
        rest,
    ],
    'another name for what it runs': [
      'exec-of-written',
      `${copied}os.rename("x", "y"); os.utime("y", (1, 1)); subprocess.run(["/work/y"])${rest}`,
    ],
    'a file that was there before, and its times': [
      'exec-of-written',
      `import os, shutil, subprocess, sys, time\nwith open("/bin/ls", "rb") as a, open(__file__, "wb") as b: shutil.copyfileobj(a, b)\nos.chmod(__file__, 0o755); os.utime(__file__, (1, 1)); subprocess.run([__file__])${rest}`,
    ],
    'a file without a name': [
      'exec-of-written',
      `import os, time\nfd = os.open("/work", os.O_TMPFILE | os.O_RDWR, 0o700); os.write(fd, open("/bin/ls", "rb").read()); run = os.open("/proc/self/fd/%d" % fd, os.O_RDONLY); os.close(fd)\nif os.fork() == 0: os.execve(run, ["ls"], {})\nos.wait()${rest}`,
    ],
    'its number': [
      'exec-of-written',
      `import os, time\nfd = os.open("x", os.O_CREAT | os.O_RDWR, 0o700); os.write(fd, open("/bin/ls", "rb").read()); run = os.open("x", os.O_RDONLY); os.close(fd); os.unlink("x")\nif os.fork() == 0: os.execv("/proc/self/fd/%d" % run, ["ls"])\nos.wait()${rest}`,
    ],
    'a second name for what it runs': [
      'exec-of-written',
      `${copied}os.link("x", "z"); subprocess.run(["./z"])${rest}`,
    ],
    'thousands of files before what it runs': [
      'exec-of-written',
      `import os, shutil, subprocess, time\nfor n in range(3000): open("n%d" % n, "w").close()\nshutil.copy("/bin/ls", "x"); os.chmod("x", 0o755); subprocess.run(["/work/x"])${rest}`,
    ],
  }
  for (const [by, [name, code]] of Object.entries(hidden))
    test(`S2-13: ${name} is not hidden by ${by}`, async (t) => {
      if (await isMissing('python', t)) return
      const asked = { code, schedule: 'watchful', limits: { timeout: '20s' } } as const
      const outcome = await run({ ...asked, language: 'python' })
      const isSeen = events.some(({ run, point }) => run === outcome.id && point === 'seen/open')
      const mayMiss = !isSeen && process.env['CI'] !== 'true'
      if (mayMiss && 'missing' in (await openOwnProgram('sentinel')))
        return t.skip('its wall has no sentinel')
      assert.equal(outcome.tier, 'process')
      assert.ok(
        anomalies(outcome).includes(name),
        JSON.stringify([outcome.stderr, outcome.timeline]),
      )
    })

  test('S2-13: overwriting a planted credential raises no anomaly of theft', async (t) => {
    if (await isMissing('python', t)) return
    const code = 'import time\nopen(".aws/credentials", "w").write("mine"); time.sleep(0.2)'
    const outcome = await run({ code, language: 'python', schedule: 'watchful' })
    assert.equal(outcome.status, 'ok')
    assert.ok(!anomalies(outcome).includes('sensitive-data'), JSON.stringify(outcome.timeline))
  })

  test('S2-12: CPU use of a zone is reported for that zone, and counts for the run', async () => {
    const code = `function count(n) { let sum = 0; for (let at = 0; at < n * 1e8; at++) sum = (sum + at) % 97; return sum }
      return await count(input)`
    const outcome = await run({ code, input: 2, schedule: 'zoned', limits: { timeout: '20s' } })
    assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
    const cpu = events.filter(({ run, point }) => run === outcome.id && point === 'seen/cpu')
    const most = (of: string) =>
      Math.max(
        0,
        ...cpu.flatMap(({ zone, fields }) => (zone === of ? [Number(fields['used'])] : [])),
      )
    const [own, main] = [most('count'), most('main')]
    assert.ok(own > 100 && own > 2 * main, JSON.stringify([own, main]))
    assert.ok(outcome.metrics.cpuTime > 100)
  })

  test('S2-13: An isolate that rests and then uses a whole core raises an anomaly', async () => {
    const code = `await new Promise((done) => setTimeout(done, 900))
      for (const until = Date.now() + 1500; Date.now() < until; );
      return 1`
    const outcome = await run({ code, limits: { timeout: '20s' } })
    assert.ok(anomalies(outcome).includes('cpu-shape'), JSON.stringify(outcome.timeline))
  })

  test('S2-27: A program that behaves at first and then prints an encoded credential is terminated without a signature', async (t) => {
    if (await isMissing('python', t)) return
    // A sentinel reports the opening of a file; a planted variable is noticed only in printed output.
    const sources = [
      'open(os.path.expanduser("~/.aws/credentials"), "rb").read()',
      'os.environ["AWS_SECRET_ACCESS_KEY"].encode()',
    ]
    for (const source of sources) {
      const code = [
        'import base64, os, time',
        'print("calm", flush=True)',
        'time.sleep(0.5)',
        `data = ${source}`,
        'print(base64.b64encode(data).decode(), flush=True)',
        'time.sleep(30)',
      ].join('\n')
      const outcome = await run({ code, language: 'python', limits: { timeout: '20s' } })
      assert.deepEqual([outcome.status, outcome.stdout], ['terminated', 'calm\n'], source)
      assert.equal(outcome.tier, 'process')
      assert.deepEqual(anomalies(outcome), ['sensitive-data'], source)
    }
  })

  const thieves: readonly (readonly [Language, string, RegExp])[] = [
    [
      'python',
      'import os, time\nprint("calm", flush=True)\ntime.sleep(0.4)\nprint(os.environ["GITHUB_TOKEN"][::-1], flush=True)\ntime.sleep(20)',
      /^calm\n$/,
    ],
    ['node', 'export default () => Buffer.from(JSON.stringify(process.env)).toString("hex")', /^$/],
    ['sh', 'env > "$MAYFLY_OUT/all"; echo done', /^done\n$/],
    ['sh', 'touch "$MAYFLY_OUT/$GITHUB_TOKEN"', /^$/],
    ['node', 'throw new Error(process.env.GITHUB_TOKEN)', /^$/],
    ['node', 'throw Object.assign(new Error(), { name: process.env.GITHUB_TOKEN })', /^$/],
    [
      'python',
      'import os\ndef main(input):\n    raise ValueError(os.environ["GITHUB_TOKEN"])',
      /^$/,
    ],
    [
      'sh',
      `printf '"' >&3; printf %s "$GITHUB_TOKEN" | od -An -v -tx1 | tr -d '\\n' | sed 's/ /\\\\u00/g' >&3; printf '"' >&3`,
      /^$/,
    ],
  ]
  /** Plain, reversed, in hexadecimal, and escaped for JSON. */
  const tokenForms = /ghp_\w{36}|\w{36}_phg|6768705f|\\u0067/i
  for (const [place, [language, code, printed]] of thieves.entries())
    test(`S2-14: A false credential in the environment of ${language} is found in output and withheld: ${place + 1}`, async (t) => {
      if (await isMissing(language, t)) return
      const outcome = await run({ code, language, limits: { timeout: '20s' } })
      assert.deepEqual([outcome.status, outcome.result], ['terminated', null])
      assert.equal(outcome.tier, 'process')
      assert.match(outcome.stdout, printed)
      assert.deepEqual(outcome.artifacts, [])
      assert.doesNotMatch(JSON.stringify(outcome), tokenForms)
      const found = events.filter(
        ({ run, point }) => run === outcome.id && point === 'anomaly/found',
      )
      assert.ok(found.length > 0)
      for (const { fields } of found)
        assert.deepEqual([fields['name'], fields['severity']], ['sensitive-data', 'high'])
    })

  test('An honest program with false credentials around it ends as it does without them', async (t) => {
    if (await isMissing('python', t)) return
    const code = 'import os\nprint(sorted(os.listdir()))\nresult = 42'
    const outcome = await run({ code, language: 'python' })
    assert.deepEqual([outcome.status, outcome.result, anomalies(outcome)], ['ok', 42, []])
  })

  test('S2-19: Behaviour of an effect is learned from its first runs, and becomes a policy no looser than the one in force', async () => {
    // Half as much again as it holds is more than its limit.
    const code = 'const held = new Uint8Array(100 * 2 ** 20).fill(1); return input * 2 * held[0]'
    const effect = { effectId: 'double', code, input: 21 }
    for (let time = 0; time < runsToLearn; time++) assert.equal((await run(effect)).result, 42)
    const [proposed] = proposals(config, { effect: 'double' })
    assert.equal(proposed?.subject, 'effect:double')
    assert.deepEqual(proposed.controls.network, { allow: [], deny: [] })
    assert.equal(proposed.controls.memory, config.limits.memory)
    assert.match(proposed.toml, /\[schedules\."double-used"\]/)
  })

  /** Skips with a reason if no wall here runs the language; fails in CI, where all walls must be available. */
  async function isMissing(language: Language, t: TestContext): Promise<boolean> {
    const all = await assembly.providers()
    const isThere = all.some(
      ({ provider, availability }) =>
        availability.available && provider.name !== 'mock' && provider.languages.includes(language),
    )
    if (isThere) return false
    assert.notEqual(process.env['CI'], 'true', `no wall runs ${language} in CI`)
    t.skip(`no wall here runs ${language}`)
    return true
  }
})
