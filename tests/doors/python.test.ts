import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext } from 'node:test'
import { Mayfly, type JobRequest, type Outcome } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { isMissing, unable } from '../walls/process-stands.ts'
import { bearer, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

/** Python programs: each wall of programs gives the same result as `python3 FILE`. */
const walls = ['bubblewrap', 'embedded'] as const
const place = makePlace()
let library: Mayfly

before(async () => {
  library = await Mayfly.open({ state: join(place.state, 'library') })
})
after(async () => {
  await library.close()
  place.remove()
})

function each(
  title: string,
  job: Partial<JobRequest> & { code: string },
  check: (outcome: Outcome, t: TestContext) => void,
): void {
  for (const provider of walls)
    test(`${provider}: ${title}`, async (t) => {
      if (isMissing(t, { jailKind: provider })) return
      const limits = { timeout: '20s', memory: '512MB', ...job.limits }
      const asked = { name: 'app.py', ...job, language: 'python', provider, limits } as const
      check(await library.run(asked), t)
    })
}

const said = ({ status, stdout, stderr, result }: Outcome) => [status, stdout, stderr, result]
const pathsOf = ({ artifacts }: Outcome) => artifacts.map(({ path }) => path)
const lacks = (name: string) =>
  spawnSync('/usr/bin/python3', ['-c', `import ${name}`]).status === 0
    ? false
    : `Python has no ${name} here`

suite('A Python program', { skip: unable('python') }, () => {
  const once: Readonly<Record<string, string>> = {
    'a guard': 'def main():\n  print("once")\nif __name__ == "__main__":\n  main()',
    'a bare call of main': 'def main():\n  print("once")\nmain()',
    'a call of main with an argument': 'def main(argv):\n  print("once")\nmain(["x"])',
    'asyncio.run(main())':
      'import asyncio\nasync def main():\n  print("once")\nasyncio.run(main())',
    'a top-level script': 'print("once")',
    'a guard whose main takes a parameter':
      'import sys\ndef main(argv):\n  print("once")\nif __name__ == "__main__":\n  main(sys.argv)',
    'a thread that runs main':
      'import threading\ndef main(_=None):\n  print("once")\nthreading.Thread(target=main).start()',
  }
  for (const [what, code] of Object.entries(once))
    each(`runs once where there is ${what}`, { code }, (outcome) =>
      assert.deepEqual(said(outcome), ['ok', 'once\n', '', null]),
    )

  each(
    'defines a main of no parameter and runs as python3 would',
    {
      code: 'def main():\n  print("never")',
    },
    (outcome) => assert.deepEqual(said(outcome), ['ok', '', '', null]),
  )

  each(
    'has main called with the input, where nothing else calls it',
    {
      code: 'async def main(n):\n  return n * 2',
      input: 21,
    },
    ({ result }) => assert.equal(result, 42),
  )

  each(
    'has main called where it is asked for, guard or not',
    {
      code: 'def main(n):\n  return n + 1\nif __name__ == "__main__":\n  raise SystemExit(9)',
      input: 1,
      entry: 'main',
    },
    ({ status, result }) => assert.deepEqual([status, result], ['ok', 2]),
  )

  each(
    'is the module __main__ of its own file',
    {
      code: `
import dataclasses, inspect, multiprocessing, os, pickle, sys, typing

@dataclasses.dataclass
class Point:
    x: int
    next: "Point | None" = None

def square(point):
    return Point(point.x ** 2)

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(square, [Point(2), Point(3)]) == [Point(4), Point(9)]
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
    assert inspect.getsource(square).startswith("def square(point):")
    assert typing.get_type_hints(Point)["x"] is int
    print(__name__, os.path.basename(__file__), sys.argv, os.path.dirname(__file__) == sys.path[0] == os.getcwd())
    print([name for name in sys.modules if name.startswith("mayfly")], len(sys.meta_path) < 8)`,
    },
    ({ stdout, stderr }) => {
      assert.equal(stderr, '')
      assert.equal(stdout, "__main__ app.py ['app.py'] True\n[] True\n")
    },
  )

  each(
    'ends as python3 does: threads, exit handlers, deletions, files left open, its own code',
    {
      code: `
import atexit, sys, threading, time
class Thing:
    def __del__(self): print("deleted", flush=True)
thing = Thing()
atexit.register(print, "exit handler")
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
left = open("left.txt", "w")
left.write("kept")
sys.exit(3)`,
      artifacts: 'inline',
    },
    (outcome) => {
      assert.equal(outcome.stdout, 'thread\nexit handler\ndeleted\n')
      assert.deepEqual([outcome.status, outcome.exitCode], ['error', 3])
      assert.equal(outcome.artifacts[0]?.content, Buffer.from('kept').toString('base64'))
    },
  )

  each(
    'reads its standard input by input()',
    {
      code: 'print("hello", input("name? "))',
      stdin: 'Ada\n',
    },
    ({ stdout }) => assert.equal(stdout, 'name? hello Ada\n'),
  )

  each(
    'has the input as the global input, where it does not call it',
    {
      code: 'result = [input["n"], 1]',
      input: { n: 2 },
    },
    ({ result }) => assert.deepEqual(result, [2, 1]),
  )

  each(
    'has its output kept, line by line, when its time is over',
    {
      code: 'import sys, time\nprint("one")\nprint("two", file=sys.stderr)\nprint("three")\ntime.sleep(60)',
      limits: { timeout: '3s' },
    },
    ({ status, stdout, stderr }) =>
      assert.deepEqual([status, stdout, stderr], ['timeout', 'one\nthree\n', 'two\n']),
  )

  each(
    'has its output kept when it takes more memory than it may',
    {
      code: 'print("before")\nheld = [bytearray(b"x" * 2**20) for _ in range(4096)]',
      limits: { memory: '64MB' },
    },
    ({ status, stdout }) => assert.deepEqual([status, stdout], ['limit', 'before\n']),
  )

  each(
    'has its error told once, in its own lines, with what the name may have meant',
    {
      code: 'total = 1\ndef f():\n  return totl\nf()',
    },
    ({ stderr, error }) => {
      assert.equal(stderr.split('Traceback').length, 2)
      assert.match(stderr, /^Traceback[^]*File "app\.py", line 4, in <module>[^]*line 3, in f/)
      assert.match(stderr, /NameError: name 'totl' is not defined\. Did you mean: 'total'\?\n$/)
      assert.doesNotMatch(stderr, /mayfly|<frozen/)
      assert.equal(error?.stack, stderr)
      assert.deepEqual(error?.details, { file: 'app.py', line: 3 })
    },
  )

  each(
    'finds its own modules, whatever the runner has loaded by their names',
    {
      code: 'import dataclasses, json, traceback\nprint(json.mine, traceback.mine)\nraise ValueError("x")',
      files: ['json', 'traceback', 'linecache'].map((name) => ({
        path: `${name}.py`,
        content: `mine = "${name}"`,
        encoding: 'utf8' as const,
      })),
    },
    ({ stdout, stderr, error }) => {
      assert.equal(stdout, 'json traceback\n', stderr)
      assert.equal(error?.name, 'ValueError')
    },
  )

  each(
    'finds what the machine knows of types, services and itself',
    {
      code: `
import mimetypes, platform, socket
print(mimetypes.guess_type("a.png")[0], socket.getservbyname("https"), platform.freedesktop_os_release()["ID"] != "")`,
    },
    ({ stdout }) => assert.equal(stdout, 'image/png 443 True\n'),
  )
})

suite('The result of a Python program', { skip: unable('python') }, () => {
  each('is the value of its last line', { code: 'n = 20\nn * 2 + 2' }, ({ result, encoding }) =>
    assert.deepEqual([result, encoding], [42, 'json']),
  )
  each('is text where it is no data', { code: 'result = {"a": object}' }, (outcome) =>
    assert.deepEqual(
      [outcome.status, outcome.result, outcome.encoding],
      ['ok', "{'a': <class 'object'>}", 'text'],
    ),
  )
  each('is cut at 64 KB', { code: 'result = [object] * 10_000_000' }, (outcome) => {
    assert.deepEqual([outcome.status, outcome.encoding], ['ok', 'text'])
    assert.ok(String(outcome.result).length <= 65_536)
  })

  const broken: Readonly<Record<string, string>> = {
    'a repr that raises': 'class A:\n  def __repr__(self): raise ValueError("no")\nresult = A()',
    'a repr that exits': 'class A:\n  def __repr__(self): raise SystemExit(3)\nresult = A()',
    'a repr that never ends': 'class A:\n  def __repr__(self):\n    while True: pass\nresult = A()',
    'a repr that prints':
      'class A:\n  def __repr__(self):\n    print("x")\n    return "A"\nresult = A()',
    'a repr that is no text': 'class A:\n  def __repr__(self): return 3\nresult = A()',
    'a class that lies about itself':
      'class A:\n  __class__ = int\n  def __getattr__(self, name): raise RuntimeError(name)\nresult = A()',
    'an answer to every name':
      'class M(type):\n  def __getattr__(cls, name): return lambda *a: "<b>"\nclass A(metaclass=M): pass\nresult = A()',
    'a list that contains itself': 'result = [object]\nresult.append(result)',
    'a dictionary whose iteration raises':
      'class D(dict):\n  def items(self): raise KeyError(1)\nresult = D(a=1)',
    'forms that raise or are none':
      'class A:\n  def _repr_html_(self): raise ValueError\n  def _repr_png_(self): return 3\n  def _repr_svg_(self): return None\nresult = A()',
  }
  for (const [what, code] of Object.entries(broken))
    each(`never fails the job: ${what}`, { code }, ({ status, encoding, error }) => {
      assert.deepEqual([status, error], ['ok', undefined])
      assert.ok(encoding === 'text' || encoding === 'json')
    })

  each(
    'is shown in the forms that its class has',
    {
      code: `
class Rich:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<b>rich</b>"
    def _repr_latex_(self): return "$x$"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_mimebundle_(self): return {"application/vnd.x.v1+json": {"a": 1}, "text/<script>": "no", "text/plain": "p"}
Rich()`,
    },
    (outcome) => {
      assert.deepEqual([outcome.result, outcome.encoding], ['plain', 'text'])
      assert.deepEqual(outcome.display, [
        { type: 'text/html', text: '<b>rich</b>' },
        { type: 'text/latex', text: '$x$' },
        { type: 'image/png', path: 'display-1.png' },
        { type: 'application/vnd.x.v1+json', text: '{"a": 1}' },
      ])
      assert.deepEqual(pathsOf(outcome), ['display-1.png'])
      assert.match(outcome.artifactsLeftOut[0]?.because ?? '', /no MIME type/)
    },
  )

  each(
    'is an artifact where its text is too long for the outcome',
    { code: 'class A:\n  def _repr_html_(self): return "<p>" + "é" * 400_000\nA()' },
    ({ display, artifacts }) => {
      assert.deepEqual(display, [{ type: 'text/html', path: 'display-1.html' }])
      assert.deepEqual(
        artifacts.map(({ path, size }) => [path, size]),
        [['display-1.html', 800_003]],
      )
    },
  )

  each(
    'is left out with its reason where a form is larger than all artifacts may be',
    {
      code: 'class A:\n  def _repr_html_(self): return "x" * 20_000_000\nA()',
    },
    ({ status, display, artifactsLeftOut }) => {
      assert.deepEqual([status, display], ['ok', []])
      assert.match(artifactsLeftOut[0]?.because ?? '', /larger|large|room/)
    },
  )
})

suite('Libraries of this Python', { skip: unable('python') }, () => {
  const numpy = { skip: lacks('numpy') || lacks('pandas') || lacks('matplotlib') || lacks('PIL') }
  suite('as they are installed', numpy, () => {
    each(
      'numbers of numpy are data',
      {
        code: 'import numpy as np\nresult = {"a": np.array([[1, 2.5]]), "n": np.int64(3), "b": np.bool_(True), "f": np.float32(0.5)}',
      },
      ({ result, encoding }) =>
        assert.deepEqual([result, encoding], [{ a: [[1, 2.5]], n: 3, b: true, f: 0.5 }, 'json']),
    )
    each(
      'a data frame is text, and HTML beside it',
      {
        code: 'import pandas as pd\ndf = pd.DataFrame({"a": [1, 2]})\ndf.to_csv("made/a.csv") if False else df.to_csv("a.csv")\ndf',
        limits: { memory: '128MB' },
      },
      (outcome) => {
        assert.deepEqual([outcome.status, outcome.encoding], ['ok', 'text'])
        assert.match(String(outcome.result), /^ {3}a\n0 {2}1/)
        assert.equal(outcome.display[0]?.type, 'text/html')
        assert.deepEqual(pathsOf(outcome), ['a.csv'])
      },
    )
    each(
      'a figure that is shown or saved is an image, and nothing is complained of',
      {
        code: `
import os
import matplotlib.pyplot as plt
os.makedirs("plots")
plt.plot([1, 2, 3], label="é")
plt.legend()
plt.savefig("plots/saved.png")
plt.show()
plt.figure()
plt.show()
plt.show()`,
      },
      (outcome) => {
        assert.deepEqual(said(outcome), ['ok', '', '', null])
        const shown = ['display-1.png', 'display-2.png', 'plots/saved.png']
        assert.deepEqual(pathsOf(outcome), shown)
        assert.deepEqual(
          outcome.display,
          shown.map((path) => ({ type: 'image/png', path })),
        )
      },
    )
    each(
      'an image of pillow is a PNG',
      {
        code: 'from PIL import Image\nimage = Image.new("RGB", (4, 4), "red")\nimage.save("red.gif")\nimage',
      },
      ({ display }) =>
        assert.deepEqual(display, [
          { type: 'image/png', path: 'display-1.png' },
          { type: 'image/gif', path: 'red.gif' },
        ]),
    )
    each(
      'what is shown ten thousand times is shown 64 times',
      {
        code: 'import matplotlib.pyplot as plt\nfig = plt.figure(figsize=(0.2, 0.2))\nfor _ in range(10_000): fig.show()',
        limits: { timeout: '60s' },
      },
      ({ status, display, artifactsLeftOut }) => {
        assert.deepEqual([status, display.length], ['ok', 64])
        assert.match(artifactsLeftOut[0]?.because ?? '', /more than 64/)
      },
    )
  })
})

const CONTROL = `
import json, os, struct
def frame(kind, head, data=b""):
    body = json.dumps(head).encode() + b"\\n" + data
    os.write(5, struct.pack("<IB", len(body) + 1, kind) + body)
`

suite('A program that forges its displays', { skip: unable('python') }, () => {
  each(
    'is refused where it names a file that is no artifact',
    {
      code: `${CONTROL}frame(19, {"type": "image/png", "path": "../../etc/passwd"})`,
    },
    ({ status, error, display }) =>
      assert.deepEqual([status, error?.code, display], ['refused', 'DISPLAY_INVALID', []]),
  )
  each(
    'is refused where a type is none',
    {
      code: `${CONTROL}frame(19, {"type": "text/html; charset=x\\r\\nSet-Cookie: a"}, b"x")`,
    },
    ({ status, error }) => assert.deepEqual([status, error?.code], ['refused', 'DISPLAY_INVALID']),
  )
  each(
    'is ended where it says more than anybody hears',
    {
      code: `${CONTROL}for _ in range(10_000): frame(19, {"type": "text/plain"}, b"x")`,
    },
    ({ status, error }) => assert.deepEqual([status, error?.code], ['error', 'PROTOCOL']),
  )
  each(
    'is ended where a frame is none',
    {
      code: `${CONTROL}frame(19, ["no"])`,
    },
    ({ status, error }) => assert.deepEqual([status, error?.code], ['error', 'PROTOCOL']),
  )
  each(
    'is refused where a text stands for something else',
    {
      code: `${CONTROL}frame(14, {"protocol": 1, "status": "ok", "encoding": "text", "cpuTimeMs": 0, "executionMs": 0}, b'{"a": 1}')\nimport time\ntime.sleep(5)`,
    },
    ({ status, error }) => assert.deepEqual([status, error?.code], ['refused', 'RESULT_FORGED']),
  )
})

suite('Files that a program leaves', { skip: unable('python') }, () => {
  each(
    'come back where they are plain, and else are told of',
    {
      code: `
import os, subprocess, threading
for path in ("deep/er/a.txt", "out/b.txt", ".cache/x", "__pycache__/x", "node_modules/x/y", "out/c.txt"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(path)
open("c.txt", "w").write("twice")
open("same.txt", "w").write("same")
open("changed.txt", "a").write("!")
os.unlink("linked.txt"); os.symlink("/etc/passwd", "linked.txt")
os.symlink("/etc", "folder"); os.mkfifo("pipe"); open("one", "w").close(); os.link("one", "two")
os.makedirs("/".join(["d"] * 40)); open("/".join(["d"] * 40) + "/x", "w").close()
open("grows", "w").write("x" * 100)
def grow():
    with open("grows", "a") as file:
        while True: file.write("y"); file.flush()
threading.Thread(target=grow, daemon=True).start()`,
      files: ['same', 'changed', 'linked', 'left'].map((name) => ({
        path: `${name}.txt`,
        content: name,
        encoding: 'utf8' as const,
      })),
    },
    (outcome) => {
      const { artifactsLeftOut: left } = outcome
      const paths = pathsOf(outcome).filter((path) => path !== 'grows')
      assert.deepEqual(paths, ['b.txt', 'c.txt', 'changed.txt', 'deep/er/a.txt'])
      const because = Object.fromEntries(left.map((one) => [one.path.slice(0, 10), one.because]))
      assert.match(because['c.txt'] ?? '', /another c\.txt/)
      assert.equal(because['linked.txt'], 'it is a link')
      assert.equal(because['folder'], 'it is a link')
      assert.equal(because['pipe'], 'it is no plain file')
      assert.match(`${because['one']} ${because['two']}`, /more than one name.*more than one name/)
      assert.match(because['d/d/d/d/d/'] ?? '', /nested too deep/)
    },
  )

  each(
    'are a thousand at most, and the rest is counted',
    {
      code: 'for n in range(10_000): open(f"{n:05}.txt", "w").close()',
    },
    ({ status, artifacts, artifactsLeftOut: left }) => {
      assert.deepEqual([status, artifacts.length, left.length], ['ok', 1000, 200])
      assert.match(left.at(-1)?.because ?? '', /8800 more are left out/)
    },
  )

  each(
    'are there though the program has no descriptor left',
    {
      code: 'import os\nopen("a.txt", "w").close()\nheld = []\ntry:\n  while True: held.append(os.open("/dev/null", os.O_RDONLY))\nexcept OSError: pass',
    },
    (outcome) => assert.deepEqual(pathsOf(outcome), ['a.txt']),
  )
})

suite('Artifacts over HTTP', { skip: unable('python') }, () => {
  let server: Server
  before(async () => {
    server = await startServer(place, ['--state', join(place.state, 'artifacts')])
    await whenReady(server)
  })
  after(() => server.stop())

  test('An artifact of a job, and of an exec of a session, is returned by its path, and its outcome has no bytes of it', async () => {
    const { href } = new URL('/v1/', server.active)
    const key = bearer(server.apiKey)
    const leaving =
      'import os\nopen(os.environ["MAYFLY_OUT"] + "/a.bin", "wb").write(bytes([0, 255]))'
    const body = { code: leaving, language: 'python', limits: { timeout: '20s' } }
    const opened = await post(`${href}sandboxes`, { language: 'python' }, key)
    for (const [to, asked] of [
      ['executions', body],
      [`sandboxes/${opened.json['id']}/run`, { code: leaving }],
    ] as const) {
      const outcome = (await post(href + to, asked, key)).json as unknown as Outcome
      const [first, ...rest] = outcome.artifacts
      const size = 2
      assert.deepEqual(
        [{ ...first, sha256: '' }, rest],
        [{ path: first?.path, size, sha256: '' }, []],
      )
      const file = await fetch(`${href}executions/${outcome.id}/artifacts/${first?.path}`, {
        headers: key,
      })
      assert.deepEqual(Buffer.from(await file.arrayBuffer()), Buffer.from([0, 255]))
    }
    await fetch(`${href}sandboxes/${opened.json['id']}`, { method: 'DELETE', headers: key })
  })
})

suite('A figure, by every door', { skip: lacks('matplotlib') || unable('python') }, () => {
  const code = 'import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()'
  const isPng = (bytes: Buffer) => assert.equal(bytes.subarray(1, 4).toString(), 'PNG')
  const display = [{ type: 'image/png', path: 'display-1.png' }]
  let server: Server

  before(async () => {
    writeFileSync(join(place.cwd, 'plot.py'), code)
    server = await startServer(place, ['--state', join(place.state, 'server')])
    await whenReady(server)
  })
  after(() => server.stop())

  test('by the command line', async () => {
    const words = ['run', 'plot.py', '--timeout', '20s', '--artifacts', 'made']
    const outcome = documentOf(await mayfly(place, [...words, '--json'])) as Outcome
    assert.deepEqual(outcome.display, display)
    isPng(readFileSync(join(place.cwd, 'made/display-1.png')))
    const told = await mayfly(place, words)
    assert.match(told.stderr, /Shown: display-1\.png \(image\/png\)/)
  })

  test('by HTTP', async () => {
    const url = new URL('/v1/executions', server.active).href
    const limits = { timeout: '20s' }
    const body = { code, language: 'python', artifacts: 'inline', limits } as const
    const outcome = (await post(url, body, bearer(server.apiKey))).json as unknown as Outcome
    assert.deepEqual(outcome.display, display, JSON.stringify(outcome))
    isPng(Buffer.from(outcome.artifacts[0]?.content ?? '', 'base64'))
  })
})
