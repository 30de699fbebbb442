import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { after, before, suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { JobFile, Language } from '../../src/contract/job.ts'
import { Mayfly } from '../../src/index.ts'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'

/**
 * Common libraries, unmodified, in a wall: standard modules that write files, start threads and processes, or connect
 * to themselves; a wheel and packages that a job brings.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))
const PYTHON = '/usr/bin/python3'

interface Library {
  readonly title: string
  readonly language: Language
  readonly code: string
  readonly expect: unknown
}

const inPython: readonly Library[] = [
  {
    title: 'sqlite3 in memory and in a file',
    code: `
import sqlite3
def main(_):
    seen = []
    for place in (":memory:", "work.db"):
        with sqlite3.connect(place) as db:
            db.execute("create table t (id integer primary key, word text)")
            db.executemany("insert into t (word) values (?)", [("a",), ("b",), ("é",)])
            db.commit()
            seen.append(db.execute("select group_concat(word, '') from t").fetchone()[0])
    return seen`,
    expect: ['abé', 'abé'],
  },
  {
    title: 'json, hashlib, decimal, csv, re',
    code: `
import csv, decimal, hashlib, io, json, re
rows = list(csv.DictReader(io.StringIO("name,sum\\nada,1.10\\nbob,2.20\\n")))
total = sum(decimal.Decimal(row["sum"]) for row in rows)
result = [str(total), hashlib.sha256(b"abc").hexdigest()[:8], json.loads('{"a": [1]}')["a"], re.findall(r"\\w+", "a b")]`,
    expect: ['3.30', 'ba7816bf', [1], ['a', 'b']],
  },
  {
    title: 'ssl: a context with the system CAs',
    code: `
import ssl
context = ssl.create_default_context()
result = [context.verify_mode == ssl.CERT_REQUIRED, ssl.OPENSSL_VERSION.split()[0]]`,
    expect: [true, 'OpenSSL'],
  },
  {
    title: 'threads: a queue and a thread pool',
    code: `
import queue, threading
from concurrent.futures import ThreadPoolExecutor
q = queue.Queue()
workers = [threading.Thread(target=lambda n=n: q.put(n * n)) for n in range(8)]
for worker in workers: worker.start()
for worker in workers: worker.join()
with ThreadPoolExecutor(4) as pool: doubled = list(pool.map(lambda n: n * 2, range(4)))
result = [sorted(q.queue), doubled]`,
    expect: [
      [0, 1, 4, 9, 16, 25, 36, 49],
      [0, 2, 4, 6],
    ],
  },
  {
    title: 'asyncio: a server and its client',
    code: `
import asyncio
async def talk():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    said = await reader.read()
    server.close()
    slept = await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3)))
    return [said.decode(), slept]
result = asyncio.run(talk())`,
    expect: ['HELLO\n', [0, 1, 2]],
  },
  {
    title: 'subprocess and multiprocessing within the process limit',
    code: `
import multiprocessing, subprocess, sys
def square(n): return n * n
def main(_):
    said = subprocess.run(["sh", "-c", "echo $0; exit 3", "child"], capture_output=True, text=True)
    again = subprocess.check_output([sys.executable, "-c", "print(6 * 7)"], text=True)
    with multiprocessing.get_context("fork").Pool(2) as pool: squares = pool.map(square, range(4))
    return [said.stdout, said.returncode, again, squares]`,
    expect: ['child\n', 3, '42\n', [0, 1, 4, 9]],
  },
  {
    title: 'zoneinfo and datetime',
    code: `
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
there = datetime(2026, 7, 1, 12, tzinfo=timezone.utc).astimezone(ZoneInfo("Europe/Berlin"))
result = [there.isoformat(), datetime.now().astimezone().tzname()]`,
    expect: ['2026-07-01T14:00:00+02:00', 'UTC'],
  },
  {
    title: 'tempfile, zipfile, shutil and pathlib',
    code: `
import pathlib, shutil, tempfile, zipfile
with tempfile.TemporaryDirectory() as folder:
    here = pathlib.Path(folder)
    (here / "a.txt").write_text("é" * 1000)
    with zipfile.ZipFile(here / "a.zip", "w", zipfile.ZIP_DEFLATED) as z: z.write(here / "a.txt", "a.txt")
    shutil.unpack_archive(here / "a.zip", here / "out")
    result = [len((here / "out/a.txt").read_text()), folder.startswith("/tmp/"), (here / "a.zip").stat().st_size < 500]`,
    expect: [1000, true, true],
  },
].map((one) => ({ ...one, language: 'python' }))

const inNode: readonly Library[] = [
  {
    title: 'node:fs: folders, streams and watches',
    code: `
import fs from 'node:fs/promises'
import { createReadStream } from 'node:fs'
export default async () => {
  await fs.mkdir('deep/er', { recursive: true })
  await fs.writeFile('deep/er/a.txt', 'é'.repeat(100_000))
  let bytes = 0
  for await (const chunk of createReadStream('deep/er/a.txt')) bytes += chunk.length
  await fs.rename('deep/er/a.txt', 'deep/b.txt')
  return [bytes, await fs.readdir('deep'), (await fs.stat('deep/b.txt')).size]
}`,
    expect: [200_000, ['b.txt', 'er'], 200_000],
  },
  {
    title: 'worker_threads with shared memory',
    code: `
import { Worker } from 'node:worker_threads'
export default async () => {
  const shared = new Int32Array(new SharedArrayBuffer(4))
  const code = 'const { workerData, parentPort } = require("node:worker_threads"); Atomics.add(workerData, 0, 5); parentPort.postMessage("done")'
  const said = await Promise.all([1, 2].map(() => new Promise((resolve, reject) => {
    new Worker(code, { eval: true, workerData: shared }).on('message', resolve).on('error', reject)
  })))
  return [said, shared[0]]
}`,
    expect: [['done', 'done'], 10],
  },
  {
    title: 'zlib and streams',
    code: `
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip, gunzipSync, brotliCompressSync, brotliDecompressSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
export default async () => {
  const chunks = []
  const loud = new Transform({ transform: (chunk, _, done) => done(null, String(chunk).toUpperCase()) })
  await pipeline(Readable.from(['a', 'b']), loud, createGzip(), async (source) => { for await (const c of source) chunks.push(c) })
  const text = Buffer.from('x'.repeat(1000))
  return [gunzipSync(Buffer.concat(chunks)).toString(), brotliDecompressSync(brotliCompressSync(text)).length, zstdDecompressSync(zstdCompressSync(text)).length]
}`,
    expect: ['AB', 1000, 1000],
  },
  {
    title: 'crypto: hashes, keys, random numbers and Web Crypto',
    code: `
import { createHmac, generateKeyPairSync, randomBytes, sign, verify, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
export default async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const signature = sign(null, Buffer.from('text'), privateKey)
  const key = await promisify(scrypt)('secret', 'salt', 16)
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('abc'))
  return [verify(null, Buffer.from('text'), publicKey, signature), randomBytes(8).length, key.length,
    createHmac('sha256', 'k').update('abc').digest('hex').slice(0, 8), Buffer.from(digest).toString('hex').slice(0, 8)]
}`,
    expect: [true, 8, 16, '342e519c', 'ba7816bf'],
  },
  {
    title: 'child_process: a shell, another Node, a signal',
    code: `
import { execFileSync, spawn, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
export default async () => {
  const said = execFileSync('sh', ['-c', 'echo $((6 * 7))']).toString()
  const again = execFileSync(process.execPath, ['-p', '1 + 1']).toString()
  const child = spawn('sleep', ['60'])
  child.kill('SIGTERM')
  const [, signal] = await once(child, 'exit')
  writeFileSync('echo.js', 'process.on("message", (m) => process.send(m * 2, () => process.exit()))')
  const other = fork('./echo.js')
  other.send(21)
  const [doubled] = await once(other, 'message')
  return [said, again, signal, doubled]
}`,
    expect: ['42\n', '2\n', 'SIGTERM', 42],
  },
  {
    title: 'http: a server and its client inside one wall',
    code: `
import { createServer } from 'node:http'
import { once } from 'node:events'
export default async () => {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    response.setHeader('x-seen', request.method).end(body.toUpperCase())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const answer = await fetch('http://127.0.0.1:' + server.address().port, { method: 'POST', body: 'hello' })
  const said = [answer.status, answer.headers.get('x-seen'), await answer.text()]
  server.close()
  server.closeAllConnections()
  return said
}`,
    expect: [200, 'POST', 'HELLO'],
  },
  {
    title: 'sqlite and test of Node itself, timers, events, URL and Intl',
    code: `
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
export default async () => {
  const db = new DatabaseSync('work.db')
  db.exec('create table t (n integer); insert into t values (1), (2)')
  await sleep(5)
  return [db.prepare('select sum(n) as sum from t').get().sum, new Intl.NumberFormat('de-DE').format(1234.5), new URL('/b', 'http://a').href]
}`,
    expect: [3, '1.234,5', 'http://a/b'],
  },
].map((one) => ({ ...one, language: 'node' }))

const folder = await mkdtemp(join(tmpdir(), 'mayfly-libraries-'))
let library: Mayfly
before(async () => {
  library = await Mayfly.open({ state: join(folder, 'state') })
})
after(async () => {
  await library.close()
  rmSync(folder, { recursive: true, force: true })
})

async function valueOf(
  jailKind: JailKind,
  job: Pick<Library, 'language' | 'code'>,
  files: JobFile[] = [],
) {
  const { language, code } = job
  const limits = { timeout: '30s', memory: '512MB', processes: 64 }
  const outcome = await library.run({ language, code, files, provider: jailKind, limits })
  assert.equal(outcome.status, 'ok', `${JSON.stringify(outcome.error)} ${outcome.stderr}`)
  assert.equal(outcome.provider, jailKind)
  return outcome.result
}

for (const jailKind of jailKinds)
  suite(`By "${jailKind}"`, { skip: unable() }, () => {
    for (const one of [...inPython, ...inNode])
      test(`${one.language}: ${one.title}`, async (t) => {
        if (isMissing(t, { jailKind }) || (one.language === 'python' && isWithoutPython(t))) return
        assert.deepEqual(await valueOf(jailKind, one), one.expect)
      })

    test('python: a wheel of the job', async (t) => {
      if (isMissing(t, { jailKind }) || isWithoutPython(t)) return
      const files: JobFile[] = [
        { path: 'greet-1.0-py3-none-any.whl', content: wheel(), encoding: 'base64' },
      ]
      const code = `
import glob, sys
sys.path[:0] = glob.glob("*.whl")
import greet, greet.deep
from importlib.metadata import version
result = [greet.hello("Ada"), greet.deep.two(), version("greet"), greet.__file__]`
      const [hello, two, version, file] = (await valueOf(
        jailKind,
        { language: 'python', code },
        files,
      )) as string[]
      assert.deepEqual([hello, two, version], ['Hello, Ada', 2, '1.0'])
      assert.match(file ?? '', /^(\/work\/)?greet-1\.0-py3-none-any\.whl\/greet/)
    })

    test('node: a package of the job, by require and by import', async (t) => {
      if (isMissing(t, { jailKind })) return
      const files: JobFile[] = Object.entries({
        'package.json': '{"type": "module", "imports": {"#own": "./own.js"}}',
        'own.js': 'export const own = "own"',
        'node_modules/greet/package.json': JSON.stringify({
          name: 'greet',
          exports: { '.': { import: './main.mjs', require: './main.cjs' }, './deep': './deep.cjs' },
        }),
        'node_modules/greet/main.mjs': 'export default (name) => `Hello, ${name}`',
        'node_modules/greet/main.cjs': 'module.exports = (name) => `Hi, ${name}`',
        'node_modules/greet/deep.cjs': 'module.exports = require("@scope/other").two',
        'node_modules/@scope/other/package.json':
          '{"name": "@scope/other", "main": "lib/index.js"}',
        'node_modules/@scope/other/lib/index.js': 'exports.two = 2',
      }).map(([path, content]) => ({ path, content, encoding: 'utf8' }))
      const code = `
import greet from 'greet'
import two from 'greet/deep'
import { own } from '#own'
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
export default () => [greet('Ada'), require('greet')('Ada'), two, own]`
      const said = await valueOf(jailKind, { language: 'node', code }, files)
      assert.deepEqual(said, ['Hello, Ada', 'Hi, Ada', 2, 'own'])
    })

    test('node: a published package', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import { marked } from 'marked'
export default () => marked.parse('# Title\\n\\n*soft*')`
      const said = await valueOf(jailKind, { language: 'node', code }, packageFiles('marked'))
      assert.equal(said, '<h1>Title</h1>\n<p><em>soft</em></p>\n')
    })
  })

function isWithoutPython(t: { skip(why: string): void }): boolean {
  const why = unable('python')
  if (why) t.skip(why)
  return why !== false
}

/** A pure wheel, packed as its format says. */
function wheel(): string {
  const file = join(folder, 'greet.whl')
  const script = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("greet/__init__.py", "def hello(name): return f'Hello, {name}'\\n")
    z.writestr("greet/deep.py", "def two(): return 2\\n")
    z.writestr("greet-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: greet\\nVersion: 1.0\\n")
    z.writestr("greet-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr("greet-1.0.dist-info/RECORD", "")`
  execFileSync(PYTHON, ['-c', script, file])
  return readFileSync(file, 'base64')
}

/** Files needed to import a package: its manifest and its code. */
function packageFiles(name: string): JobFile[] {
  const own = join(root, 'node_modules', name)
  const files = readdirSync(own, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(json|[cm]?js)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !/bin|man/.test(relative(own, file)))
  return files.map((file) => ({
    path: join('node_modules', name, relative(own, file)),
    content: readFileSync(file, 'utf8'),
    encoding: 'utf8',
  }))
}
