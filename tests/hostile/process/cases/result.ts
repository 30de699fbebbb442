import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('result')
const text = String.raw

/** Malformed results. */
export const result: readonly ProcessCase[] = [
  sh('not-json', 'no JSON at all', `printf 'this is {not json' >&3; exit 0`),
  sh('two-values', 'more than one', `printf '1\n2\n' >&3; exit 0`),
  sh('deep', 'a hundred thousand brackets', `head -c 100000 /dev/zero | tr '\\0' '[' >&3; exit 0`),
  sh('huge', 'far more than a result may be', `head -c 60000000 /dev/zero >&3; exit 0`),
  sh(
    'huge-valid',
    'the same, but JSON',
    `{ printf '"'; head -c 30000000 /dev/zero | tr '\\0' a; printf '"'; } >&3; exit 0`,
  ),
  sh(
    'prototype',
    'keys that mean something to JavaScript',
    text`printf '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}' >&3; exit 0`,
  ),
  sh(
    'forged-tags',
    'tags that stand for values',
    text`printf '{"$type":"bytes","value":"%s"}' '////' >&3; exit 0`,
  ),
  sh(
    'numbers',
    'numbers that JavaScript does not have',
    text`printf '[1e999, -1e999, 123456789012345678901234567890, 0.1e-400]' >&3; exit 0`,
  ),
  sh('bytes', 'what is no UTF-8', text`printf '"\377\376\355\240\200"' >&3; exit 0`),
  sh(
    'replaced-by-link',
    'its file becomes a link',
    text`rm -f "$MAYFLY_RESULT"; ln -s "$ROOT_FILE" "$MAYFLY_RESULT"; exit 0`,
  ),
  sh(
    'replaced-by-fifo',
    'its file becomes one that holds whoever opens it',
    text`rm -f "$MAYFLY_RESULT"; mkfifo "$MAYFLY_RESULT"; exit 0`,
    { quick: true },
  ),
  sh(
    'replaced-by-folder',
    'its file becomes a folder',
    text`rm -f "$MAYFLY_RESULT"; mkdir "$MAYFLY_RESULT"; exit 0`,
  ),
  sh(
    'replaced-by-device',
    'its file becomes one without an end',
    text`rm -f "$MAYFLY_RESULT"; ln -s /dev/zero "$MAYFLY_RESULT"; exit 0`,
    { quick: true },
  ),
  sh(
    'sparse',
    'ten gigabytes of nothing',
    text`truncate -s 10G "$MAYFLY_RESULT" 2>/dev/null; exit 0`,
    { quick: true },
  ),
  python(
    'written-after-the-end',
    'a child goes on writing it',
    text`
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); end = time.time() + 2
    while time.time() < end:
        try: os.pwrite(3, b'"late"', 0)
        except OSError: break
    os._exit(0)
os.pwrite(3, b'"early"', 0); os._exit(0)`,
    { quick: true },
  ),
  python(
    'circular',
    'a value that holds itself',
    text`
a = []; a.append(a)
def main(input): return a
tried(lambda: os.write(3, json.dumps(a).encode()))`,
  ),
  python(
    'objects-that-lie',
    'text that is not what it was when it was measured',
    text`
class S(str):
    def encode(self, *a): return b'"' + b'x' * 50000000 + b'"'
    def __len__(self): return 3
tried(lambda: os.write(3, S('abc').encode()))`,
  ),
  node(
    'accessors',
    'a getter that never ends, and one that throws',
    text`
const o = { get a() { throw new Error('no') }, toJSON() { return 'x'.repeat(5e7) } }
tried(() => fs.writeSync(3, JSON.stringify(o)), () => fs.writeSync(3, JSON.stringify({ get b() { return o.a } })))`,
  ),
  node(
    'write-streams',
    'without end and without waiting',
    text`
const w = fs.createWriteStream(null, { fd: 3 }); w.on('error', () => {})
for (let i = 0; i < 300; i++) w.write(Buffer.alloc(65536, 97))`,
  ),
]
