/** Forty and two uses of Node's modules, each a program whose output is the same wherever it runs. */
export const nodeExercises: Readonly<Record<string, string>> = {
  assert: `import assert from 'node:assert'
try { assert.deepStrictEqual({ a: [1] }, { a: [2] }) } catch ({ code }) { console.log(code) }`,
  async_hooks: `import { AsyncLocalStorage } from 'node:async_hooks'
const held = new AsyncLocalStorage()
await held.run(7, async () => { await new Promise(setImmediate); console.log(held.getStore()) })`,
  buffer: `const b = Buffer.from('é€', 'utf8'); console.log(b.toString('hex'), b.toString('base64url'), b.readUInt16BE(0), Buffer.concat([b, b]).length)`,
  'child_process: exec': `import { execFileSync, execSync } from 'node:child_process'
console.log(execFileSync('/bin/echo', ['a b']).toString(), execSync('printf x | wc -c').toString().trim())`,
  'child_process: fork': `import { fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
writeFileSync('child.mjs', 'process.on("message", (n) => { process.send(n * 2); process.disconnect() })')
const child = fork('./child.mjs'); child.on('message', (n) => console.log(n)); child.on('exit', (code) => console.log(code)); child.send(21)`,
  'child_process: streams and signals': `import { spawn } from 'node:child_process'
const cat = spawn('cat'); cat.stdout.on('data', (d) => console.log(String(d))); cat.stdin.end('through')
cat.on('close', () => { const s = spawn('sleep', ['60']); s.on('exit', (code, signal) => console.log(code, signal)); s.kill() })`,
  cluster: `import cluster from 'node:cluster'
if (cluster.isPrimary) { const w = cluster.fork(); w.on('message', (m) => { console.log(m); w.kill() }); w.on('exit', (_, signal) => console.log(signal)) }
else { process.send('from a worker'); setInterval(() => {}, 1000) }`,
  console: `console.table([{ a: 1, b: 'x' }]); console.group('g'); console.log('%s %d %j', 'a', 1, { x: 1 }); console.groupEnd(); console.count()`,
  'crypto: digests': `import { createHash, createHmac, pbkdf2Sync, scryptSync, hkdfSync } from 'node:crypto'
console.log(createHash('sha512').update('a').digest('hex').slice(0, 16), createHmac('sha256', 'k').update('a').digest('hex').slice(0, 16))
console.log(pbkdf2Sync('p', 's', 1000, 16, 'sha256').toString('hex'), scryptSync('p', 's', 16).toString('hex'), Buffer.from(hkdfSync('sha256', 'k', 's', 'i', 8)).toString('hex'))`,
  'crypto: keys and ciphers': `import { generateKeyPairSync, sign, verify, createCipheriv, createDecipheriv, randomBytes, createECDH } from 'node:crypto'
for (const kind of ['ed25519', 'rsa', 'ec']) { const { privateKey, publicKey } = generateKeyPairSync(kind, { modulusLength: 2048, namedCurve: 'P-256' }); console.log(kind, verify(kind === 'ed25519' ? null : 'sha256', 'x', publicKey, sign(kind === 'ed25519' ? null : 'sha256', 'x', privateKey))) }
const [k, iv] = [randomBytes(32), randomBytes(12)], c = createCipheriv('aes-256-gcm', k, iv), e = Buffer.concat([c.update('text'), c.final()]), d = createDecipheriv('aes-256-gcm', k, iv).setAuthTag(c.getAuthTag())
console.log(d.update(e) + d.final(), createECDH('secp256k1').generateKeys().length)`,
  'crypto: Web Crypto': `const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt', 'decrypt']); const iv = crypto.getRandomValues(new Uint8Array(12))
console.log(Buffer.from(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, Buffer.from('web')))).toString(), crypto.randomUUID().length)`,
  dgram: `import { createSocket } from 'node:dgram'
const server = createSocket('udp4'); server.on('message', (m, { address }) => { console.log(String(m), address); server.close() })
server.bind(0, '127.0.0.1', () => { const client = createSocket('udp4'); client.send('datagram', server.address().port, '127.0.0.1', () => client.close()) })`,
  diagnostics_channel: `import { channel } from 'node:diagnostics_channel'
const c = channel('c'); c.subscribe((m) => console.log(m)); c.publish({ a: 1 })`,
  dns: `import { lookup, promises } from 'node:dns'
console.log((await promises.lookup('localhost', { family: 4 })).address)
lookup('127.0.0.1', (_, address, family) => console.log(address, family))`,
  events: `import { EventEmitter, once, on } from 'node:events'
const e = new EventEmitter(); setImmediate(() => e.emit('x', 1, 2)); console.log(await once(e, 'x'), e.listenerCount('x'))`,
  'fs: files and folders': `import fs from 'node:fs'
fs.mkdirSync('a/b', { recursive: true }); fs.writeFileSync('a/b/c', 'text'); fs.appendFileSync('a/b/c', ' more'); fs.copyFileSync('a/b/c', 'a/d'); fs.renameSync('a/d', 'a/e'); fs.symlinkSync('e', 'a/l'); fs.linkSync('a/e', 'a/h')
console.log(fs.readFileSync('a/l', 'utf8'), fs.statSync('a/h').nlink, fs.readlinkSync('a/l'), fs.readdirSync('a').sort().join(), fs.realpathSync('a/l').endsWith('a/e'))
fs.chmodSync('a/e', 0o600); fs.utimesSync('a/e', 1, 2); console.log(fs.statSync('a/e').mode & 0o777, fs.statSync('a/e').mtimeMs); fs.truncateSync('a/e', 2); fs.cpSync('a', 'z', { recursive: true }); console.log(fs.readFileSync('z/e', 'utf8')); fs.rmSync('a', { recursive: true }); console.log(fs.existsSync('a'))`,
  'fs: descriptors': `import fs from 'node:fs'
const fd = fs.openSync('f', 'w+'); fs.writeSync(fd, 'abcdef'); fs.fsyncSync(fd); fs.fdatasyncSync(fd); fs.ftruncateSync(fd, 4); const b = Buffer.alloc(9); console.log(fs.readSync(fd, b, 0, 9, 1), b.toString('utf8', 0, 3), fs.fstatSync(fd).size); fs.futimesSync(fd, 1, 1); fs.fchmodSync(fd, 0o644); fs.closeSync(fd)
for (const act of [() => fs.closeSync(fd), () => fs.fsyncSync(fd), () => fs.fstatSync(fd)]) try { act() } catch ({ code }) { console.log(code) }`,
  'fs: promises': `import { mkdtemp, open, opendir, readFile, writeFile, access, glob } from 'node:fs/promises'
const d = await mkdtemp('t-'); await writeFile(d + '/x.txt', 'x'); const h = await open(d + '/x.txt', 'a+'); await h.write('y'); await h.sync(); await h.close(); console.log(await readFile(d + '/x.txt', 'utf8'))
for await (const e of await opendir(d)) console.log(e.name, e.isFile()); console.log((await Array.fromAsync(glob(d + '/*.txt'))).length); await access(d + '/no').catch(({ code }) => console.log(code))`,
  'fs: watch': `import fs from 'node:fs'
fs.mkdirSync('w'); const w = fs.watch('w', (event, name) => { console.log(event, name); w.close() }); setTimeout(() => fs.writeFileSync('w/made', ''), 50)
const polled = () => { fs.unwatchFile('w/other'); console.log('polled') }; fs.writeFileSync('w/other', 'a'); fs.watchFile('w/other', { interval: 50 }, polled); setTimeout(() => fs.writeFileSync('w/other', 'abc'), 300)`,
  'fs: streams': `import fs from 'node:fs'
import { pipeline } from 'node:stream/promises'
fs.writeFileSync('in', 'x'.repeat(200_000)); await pipeline(fs.createReadStream('in', { start: 10 }), fs.createWriteStream('out.bin')); console.log(fs.statSync('out.bin').size)`,
  http: `import http from 'node:http'
const server = http.createServer((q, s) => { s.setHeader('x-a', '1'); q.pipe(s) }).listen(0, '127.0.0.1', () => { const q = http.request({ port: server.address().port, host: '127.0.0.1', method: 'POST' }, (r) => { console.log(r.statusCode, r.headers['x-a']); r.on('data', (d) => console.log(String(d))); r.on('end', () => server.close()) }); q.end('echo') })`,
  http2: `import http2 from 'node:http2'
const server = http2.createServer(); server.on('stream', (s, h) => { s.respond({ ':status': 200 }); s.end(h[':path']) }); server.listen(0, '127.0.0.1', () => { const c = http2.connect('http://127.0.0.1:' + server.address().port), q = c.request({ ':path': '/p' }); q.on('data', (d) => console.log(String(d))); q.on('end', () => { c.close(); server.close() }) })`,
  'fetch and URL': `import http from 'node:http'
const server = http.createServer((q, s) => s.end(q.url)).listen(0, '127.0.0.1', async () => { const r = await fetch('http://127.0.0.1:' + server.address().port + '/a?b=1'); console.log(r.status, await r.text(), new URL('../x', 'http://h/a/b').href, new URLSearchParams({ q: 'é' }).toString()); server.close() })`,
  module: `import { createRequire, builtinModules, isBuiltin } from 'node:module'
import { writeFileSync } from 'node:fs'
writeFileSync('m.cjs', 'module.exports = { n: 1 }'); const require = createRequire(import.meta.url); console.log(require('./m.cjs').n, isBuiltin('fs'), builtinModules.includes('http'))`,
  net: `import net from 'node:net'
const server = net.createServer((s) => s.end('bye')).listen(0, '127.0.0.1', () => { const c = net.connect(server.address().port, '127.0.0.1'); c.on('data', (d) => console.log(String(d))); c.on('close', () => server.close()) })
const local = net.createServer((s) => s.pipe(s)).listen('./sock', () => { const c = net.connect('./sock'); c.end('local'); c.on('data', (d) => console.log(String(d))); c.on('close', () => local.close()) })`,
  os: `import os from 'node:os'
console.log(os.platform(), os.arch(), os.EOL === '\\n', os.availableParallelism() > 0, os.totalmem() > 0, os.uptime() > 0, os.loadavg().length, os.cpus().length > 0, os.networkInterfaces().lo[0].address, os.constants.signals.SIGTERM, os.endianness(), os.hostname().length > 0)`,
  'os: priority': `import os from 'node:os'
console.log(os.getPriority())`,
  path: `import path from 'node:path'
console.log(path.join('a', '..', 'b'), path.relative('/a/b', '/a/c'), path.parse('/x/y.z').ext, path.win32.join('a', 'b'), path.matchesGlob('a/b.js', '**/*.js'))`,
  perf_hooks: `import { performance, PerformanceObserver, monitorEventLoopDelay, createHistogram } from 'node:perf_hooks'
performance.mark('a'); performance.measure('m', 'a'); console.log(performance.getEntriesByName('m').length, performance.timeOrigin > 0); const h = createHistogram(); h.record(5); console.log(h.max); const d = monitorEventLoopDelay(); d.enable(); d.disable(); console.log(d.count >= 0)`,
  process: `console.log(process.pid > 0, process.ppid > 0, process.argv.length, process.version.length > 2, process.memoryUsage().rss > 0, process.cpuUsage().user > 0, process.hrtime.bigint() > 0n, process.umask().toString(8), process.resourceUsage().maxRSS > 0, process.getuid() > 0, process.stdout.isTTY)
process.on('SIGUSR2', () => console.log('signal')); process.kill(process.pid, 'SIGUSR2'); setTimeout(() => { process.exitCode = 0 }, 50)`,
  readline: `import readline from 'node:readline'
import { Readable } from 'node:stream'
for await (const line of readline.createInterface({ input: Readable.from(['a\\nb', '\\nc']) })) console.log(line)`,
  sqlite: `import { DatabaseSync } from 'node:sqlite'
for (const at of [':memory:', 'x.db']) { const db = new DatabaseSync(at); db.exec('pragma journal_mode = wal; create table t (a); insert into t values (1), (2)'); console.log(db.prepare('select sum(a) as s from t').get().s); db.close() }`,
  stream: `import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
const seen = []; await pipeline(Readable.from([1, 2, 3]), new Transform({ objectMode: true, transform(n, _, done) { done(null, n * 2) } }), async (all) => { for await (const n of all) seen.push(n) }); console.log(seen)
console.log(await new Response(new Blob(['gz']).stream().pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'))).text())`,
  'string_decoder and querystring': `import { StringDecoder } from 'node:string_decoder'
import qs from 'node:querystring'
const d = new StringDecoder('utf8'); console.log(d.write(Buffer.from([0xe2, 0x82])) + d.write(Buffer.from([0xac])), qs.stringify({ a: [1, 2] }), qs.parse('a=1&a=2').a)`,
  test: `import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
writeFileSync('t.test.mjs', 'import test from "node:test"; test("one", () => {}); test("two", { skip: true }, () => {})'); console.log(/# pass 1/.test(execFileSync(process.execPath, ['--test', '--test-reporter=tap', 't.test.mjs'], { env: { PATH: process.env.PATH } }).toString()))`,
  timers: `import { setTimeout as sleep, setInterval } from 'node:timers/promises'
const t = performance.now(); await sleep(50); console.log(performance.now() - t > 45); let n = 0; for await (const _ of setInterval(5)) if (++n === 3) break; console.log(n); queueMicrotask(() => console.log('micro')); setImmediate(() => console.log('immediate')); process.nextTick(() => console.log('tick'))`,
  'tls and https': `import https from 'node:https'
import tls from 'node:tls'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
execFileSync('openssl', 'req -x509 -nodes -newkey rsa:2048 -keyout k -out c -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost'.split(' '), { stdio: 'ignore' })
const [key, cert] = [readFileSync('k'), readFileSync('c')]
const server = https.createServer({ key, cert }, (_, s) => s.end('secret')).listen(0, '127.0.0.1', () => https.get({ port: server.address().port, host: '127.0.0.1', servername: 'localhost', ca: cert }, (r) => { console.log(r.socket.getProtocol(), r.socket.authorized); r.on('data', (d) => console.log(String(d))); r.on('end', () => server.close()) }))
console.log(tls.rootCertificates.length > 100)`,
  'util and v8': `import util from 'node:util'
import v8 from 'node:v8'
console.log(util.inspect({ a: { b: { c: {} } }, m: new Map([[1, 2]]) }, { depth: 1 }), util.styleText('red', 'x').length, util.parseArgs({ args: ['-f', '--bar', 'b'], options: { f: { type: 'boolean', short: 'f' }, bar: { type: 'string' } } }).values.bar, await util.promisify(setImmediate)(1))
console.log(v8.deserialize(v8.serialize({ d: new Date(0), s: new Set([1]) })), v8.getHeapStatistics().heap_size_limit > 0)`,
  vm: `import vm from 'node:vm'
console.log(vm.runInNewContext('a + 1', { a: 1 }), new vm.Script('1 + 1').runInThisContext()); try { vm.runInNewContext('for (;;) {}', {}, { timeout: 20 }) } catch ({ code }) { console.log(code) }`,
  'wasm and wasi': `import { WASI } from 'node:wasi'
const bytes = Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex'); const { instance } = await WebAssembly.instantiate(bytes); console.log(instance.exports.add(2, 3), typeof new WASI({ version: 'preview1' }).wasiImport.fd_write)`,
  worker_threads: `import { Worker, MessageChannel } from 'node:worker_threads'
const shared = new Int32Array(new SharedArrayBuffer(4)); const work = (n) => new Promise((done) => new Worker('const { workerData, parentPort } = require("worker_threads"); for (let i = 0; i < 1000; i++) Atomics.add(workerData, 0, 1); parentPort.postMessage("done")', { eval: true, workerData: shared }).on('exit', done)); await Promise.all([work(), work(), work(), work()]); console.log(shared[0])
const { port1, port2 } = new MessageChannel(); port2.once('message', (m) => { console.log(m); port1.close() }); port1.postMessage({ a: 1 })`,
  zlib: `import zlib from 'node:zlib'
const text = 'abc'.repeat(1000); for (const [pack, unpack] of [['gzipSync', 'gunzipSync'], ['deflateSync', 'inflateSync'], ['brotliCompressSync', 'brotliDecompressSync'], ['zstdCompressSync', 'zstdDecompressSync']]) console.log(pack, String(zlib[unpack](zlib[pack](text))) === text); console.log(zlib.crc32('a'))`,
}
