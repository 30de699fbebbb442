import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium, type Browser, type Page } from 'playwright-core'
import { examples } from '../../src/web/page/examples.js'
import { snippetsOf } from '../../src/web/page/snippets.js'
import { chromiumFlags, chromiumPath, withoutName } from '../fixtures/chromium.ts'
import { test } from '../fixtures/drawn.ts'
import { seedScript } from '../fixtures/page-of-a-site.ts'
import { bin, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

/** The built-in page, in the system's Chromium. */
const waitMsMax = 20_000
const commandMsMax = 60_000

/** Properties of HTMLImageElement, which needs the DOM types. */
interface Image {
  readonly naturalWidth: number
  readonly src: string
  readonly alt: string
  decode(): Promise<void>
}

/** Properties of HTMLTextAreaElement, which needs the DOM types. */
interface Area {
  readonly value: string
  readonly selectionStart: number
}

if (!chromiumPath && process.env['CI'])
  test('The page works in a browser', () => assert.fail('Chromium is missing'))

suite('The page in a browser', { skip: !chromiumPath && 'Chromium is missing' }, () => {
  const place = makePlace()
  let server: Server
  let browser: Browser
  let page: Page
  const complaints: string[] = []
  /** URLs that the page requested from other hosts. */
  const elsewhere: string[] = []

  before(async () => {
    server = await startServer(place)
    await whenReady(server)
    browser = await chromium.launch({ executablePath: chromiumPath!, args: chromiumFlags })
    page = await visit()
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
    place.remove()
  })

  async function visit(
    size = { width: 1280, height: 800 },
    said: string[] = complaints,
  ): Promise<Page> {
    const made = await browser.newPage({ viewport: size })
    made.setDefaultTimeout(waitMsMax)
    made.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) said.push(message.text())
    })
    made.on('pageerror', (error) => said.push(String(error)))
    made.on('dialog', (dialog) => {
      said.push(`dialog ${dialog.message()}`)
      void dialog.dismiss()
    })
    made.on('request', (request) => {
      const url = request.url()
      if (!url.startsWith(server.static) && !/^(?:data|blob):/.test(url)) elsewhere.push(url)
    })
    await made.goto(server.static)
    return made
  }

  const ended = (on = page) => on.locator('#headline .badge:not(.live)')

  /** Types code, runs it, and waits until the status is shown. */
  async function run(code: string, { input = '', language = 'js', on = page } = {}) {
    await begin(code, { input, language, on })
    await ended(on).waitFor()
    await on.locator('#outcome[aria-busy="false"]').waitFor()
    return ended(on).innerText()
  }

  async function begin(code: string, { input = '', language = 'js', on = page } = {}) {
    await on.locator('#example').selectOption({ index: 0 })
    await on.locator(`#languages input[value="${language}"]`).check({ force: true })
    await on.locator('#code').fill(code)
    await fillInput(input, on)
    await on.locator('#run').click()
  }

  /** A closed part of the page takes no text. */
  async function fillInput(input: string, on = page) {
    await on.locator('#input-part').evaluate((part) => part.setAttribute('open', ''))
    await on.locator('#input').fill(input)
  }

  const text = (id: string, on = page) => on.locator(`#${id}`).innerText()
  const lifeOf = async (on = page) => (await on.locator('#life img.life').getAttribute('alt')) ?? ''

  test('Typed code runs, and its result and output are shown', async () => {
    const code = 'console.log("heard"); return input.a + 1'
    assert.equal(await run(code, { input: '{"a":41}' }), 'ok')
    assert.match(await text('returned'), /Result[^]*42/)
    assert.match(await text('output'), /heard/)
    assert.match(await text('detail'), /isolate, by isolated-vm/)
  })

  test('Ctrl-Enter runs the code too', async () => {
    await page.locator('#code').fill('return "by keyboard"')
    await fillInput('')
    await page.locator('#code').press('Control+Enter')
    await page.locator('#returned').getByText('by keyboard').first().waitFor()
    await page.locator('#outcome[aria-busy="false"]').waitFor()
  })

  test('Each language has a tab with an example of its own, also by keyboard', async () => {
    const first = page.locator('#languages input').first()
    await page.locator('#example').selectOption({ index: 0 })
    await first.focus()
    const seen = [await page.locator('#code').inputValue()]
    for (let n = 1; n < (await page.locator('#languages input').count()); n++) {
      await page.keyboard.press('ArrowRight')
      seen.push(await page.locator('#code').inputValue())
    }
    assert.equal(new Set(seen).size, 5)
    assert.match(seen.at(-1)!, /^set -euo pipefail/)
  })

  test('Code of the visitor stays when another language is chosen', async () => {
    await page.locator('#code').fill('# mine')
    await page.locator('#languages input[value="python"]').check({ force: true })
    assert.equal(await page.locator('#code').inputValue(), '# mine')
  })

  test('Each example ends as its description says', async () => {
    const names: readonly string[] = examples.map(({ name }) => name)
    assert.deepEqual(
      Object.keys(ends).filter((name) => !names.includes(name)),
      [],
    )
    for (const [index, { name }] of examples.entries()) {
      const end = ends[name]
      if (end === undefined) continue
      await page.locator('#example').selectOption(String(index))
      await page.locator('#run').click()
      await ended().waitFor()
      await page.locator('#outcome[aria-busy="false"]').waitFor()
      assert.equal(await ended().innerText(), end, `${name}: ${await text('outcome')}`)
      for (const words of lived[name] ?? []) assert.match(await lifeOf(), words, name)
      for (const words of printed[name] ?? []) assert.match(await text('output'), words, name)
    }
  })

  test('Output and timeline are shown while a job runs, and the previous outcome is removed', async () => {
    assert.equal(await run('console.log("before"); return "the one before"'), 'ok')
    assert.match(await text('returned'), /the one before/)
    assert.match(await text('detail'), /isolate, by isolated-vm/)
    assert.match(await text('output'), /before/)
    await begin('console.log("early"); for (;;) await new Promise((done) => setTimeout(done, 20))')
    await page.locator('#output').getByText('early').waitFor()
    assert.equal(await page.locator('#headline .badge.live').innerText(), 'running')
    assert.equal(await text('returned'), '')
    assert.equal(await text('detail'), '')
    assert.doesNotMatch(await text('output'), /before/)
    const running = page.locator('#life img[alt*="running"]')
    await running.waitFor()
    await running.evaluate((image: Image) => image.decode())
    await page.locator('#stop').click()
    await page.locator('#headline').getByText('You stopped it').waitFor()
    assert.match(await text('output'), /early/)
    assert.match(await lifeOf(), /^A life, cancelled/)
    assert.equal(await page.locator('#run').isEnabled(), true)
  })

  test('A stopped run ends on the server', async () => {
    await begin('console.log("there"); for (;;) {}')
    await page.locator('#output').getByText('there').waitFor()
    const [running, ...others] = (await asked('/v1/sandboxes')).items
    assert.deepEqual(others, [])
    await page.locator('#stop').click()
    for (let naps = 0; (await asked('/v1/sandboxes')).items.length > 0; naps++) {
      assert.ok(naps < 1_200, 'the job still runs')
      await sleep(50)
    }
    // Without the stop its timeout ends it, with another status.
    const { stdout } = await mayfly(place, ['audit', 'list', '--limit', '20', '--json'])
    const lines = (JSON.parse(stdout) as unknown[]).map((line) => JSON.stringify(line))
    const own = lines.filter((line) => line.includes(running!.id))
    assert.ok(
      own.some((line) => line.includes('"cancelled"')),
      own.join('\n'),
    )
  })

  async function asked(path: string) {
    const headers = { authorization: `Bearer ${server.apiKey}` }
    const response = await fetch(new URL(path, server.active), { headers })
    return (await response.json()) as { items: readonly { id: string }[] }
  }

  test('Output of the code is shown as text, never as markup of the page', async () => {
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>'
    const code = `console.log(input); console.error(input); throw new Error(input)`
    assert.equal(await run(code, { input: JSON.stringify(markup) }), 'error')
    assert.match(await text('output'), /<img src=x/)
    assert.match(await text('returned'), /<img src=x/)
    assert.equal(await page.locator('#outcome img:not(.life), #outcome b').count(), 0)
    assert.equal(await page.title(), 'Mayfly')
  })

  test('The name of a file is shown as text, and a download is no navigation', async () => {
    const name = 'fdp.\u202e"><img src=x onerror=alert(1)>javascript:alert(2).html'
    const code = `import os\nos.makedirs("out", exist_ok=True)\nopen("out/" + ${JSON.stringify(name)}, "w").write("<script>alert(3)</script>")\n`
    assert.equal(await run(code, { language: 'python' }), 'ok', await text('outcome'))
    const link = page.locator('#returned .files a')
    assert.ok((await link.innerText()).endsWith(name.replace('\u202e', '\\u202e')))
    const [download] = await Promise.all([page.waitForEvent('download'), link.click()])
    assert.equal(new URL(page.url()).origin, new URL(server.static).origin)
    assert.match(download.url(), /^blob:/)
    assert.equal(await page.locator('#outcome img:not(.life)').count(), 0)
  })

  test('A figure is shown as an image, beside the file to save', async () => {
    assert.equal(await run(figure, { language: 'python' }), 'ok', await text('outcome'))
    const image = page.locator('#returned img.figure')
    const shown = await image.first().evaluate(async (element: Image) => {
      await element.decode()
      return { width: element.naturalWidth, source: element.src }
    })
    assert.equal(shown.width, 30)
    assert.match(shown.source, /^data:image\/png;base64,/)
    assert.match(await text('returned'), /figure\.png/)
  })

  test('HTML is shown as text and tables, without scripts, requests or links', async () => {
    const said: string[] = []
    const visitor = await visit(undefined, said)
    const html =
      '<style>body{display:none}</style><table border="1" onclick="alert(1)"><tr><th colspan="2">a<td>1</tr></table>' +
      '<script>alert(2)</script><img src="http://evil.example/x" onerror="alert(3)"><iframe srcdoc="<script>alert(4)</script>"></iframe>' +
      '<a href="javascript:alert(5)">words</a><form action="http://evil.example/"><button>send</button></form>' +
      '<svg><a href="javascript:alert(6)"><text>x</text></a></svg><link rel="dns-prefetch" href="//evil.example">' +
      '<meta http-equiv="refresh" content="0;url=http://evil.example/"><base href="http://evil.example/">' +
      '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(7)&gt;">'
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(8)</script><image href="http://evil.example/y"/></svg>'
    await answerWith(visitor, {
      display: [
        { type: 'text/html', text: html },
        { type: 'image/svg+xml', text: svg },
        { type: 'text/markdown', text: '# <script>alert(9)</script>' },
        { type: 'image/png', path: 'nothing.png' },
      ],
    })
    await visitor.locator('#run').click()
    await visitor.locator('#returned .rich').waitFor()
    assert.deepEqual(
      await visitor
        .locator('#returned .rich *')
        .evaluateAll((all) =>
          all.flatMap((one) => [...one.attributes].map(({ name }) => `${one.localName} ${name}`)),
        ),
      ['th colspan'],
    )
    assert.match(await text('returned', visitor), /words/)
    assert.match(await text('returned', visitor), /# <script>alert\(9\)<\/script>/)
    const inside = 'script, style, iframe, form, button, a, link, meta, base, svg, math, object'
    assert.equal(await visitor.locator('.rich').locator(inside).count(), 0)
    const image = visitor.locator('#returned img.figure')
    assert.equal(await image.count(), 1)
    await image.evaluate((element: Image) => element.decode())
    assert.equal(await visitor.title(), 'Mayfly')
    // The browser reports blocked scripts of the parsed copy, in which nothing runs anyway.
    assert.deepEqual(
      said.filter((one) => !one.includes('The action has been blocked')),
      [],
    )
    await visitor.close()
  })

  test('A table as HTML and a figure that is saved where the script runs are shown', async () => {
    const code = `${figure.replaceAll('out/', '').replace('os.makedirs("out", exist_ok=True)', '')}
class Table:
    def _repr_html_(self):
        return "<table><tr><th>kind</th></tr><tr><td>lamp</td></tr></table>"
Table()
`
    assert.equal(await run(code, { language: 'python' }), 'ok', await text('outcome'))
    assert.equal(await page.locator('#returned .rich td').innerText(), 'lamp')
    assert.equal(await page.locator('#returned img.figure').count(), 1)
    assert.equal(await page.locator('#returned .files a').innerText(), 'figure.png')
  })

  test('Output of a terminated program is shown, line by line', async () => {
    await begin('import time\nfor n in range(100):\n    print("line", n)\n    time.sleep(0.1)\n', {
      language: 'python',
    })
    await page.locator('#output').getByText('line 2').waitFor()
    assert.equal(await page.locator('#headline .badge.live').count(), 1)
    await ended().waitFor()
    assert.equal(await ended().innerText(), 'timeout')
    await page.locator('#outcome[aria-busy="false"]').waitFor()
    assert.match(await text('output'), /^line 0\nline 1\nline 2\n/)
  })

  /** Response of the server with more fields in its outcome, as a guest may cause. */
  async function answerWith(visitor: Page, more: object): Promise<void> {
    await visitor.route('**/active-content', async (route) => {
      const response = await route.fetch()
      const body = (await response.text()).replace(/(?<=event: outcome\ndata: ).*/, (json) =>
        JSON.stringify({ ...(JSON.parse(json) as object), ...more }),
      )
      await route.fulfill({ response, body })
    })
  }

  test('The timeline is shown as an image from a data URL, at the width of its column', async () => {
    await run('const until = Date.now() + 30; while (Date.now() < until); return 1')
    const image = page.locator('#life img.life')
    const shown = await image.evaluate(async (element: Image) => {
      await element.decode()
      return { width: element.naturalWidth, source: element.src, text: element.alt }
    })
    const room = await page.locator('#life').evaluate((element) => element.clientWidth)
    assert.equal(shown.width, room)
    assert.match(shown.source, /^data:image\/svg\+xml,/)
    assert.match(shown.text, /^A life, ok after .*Zone main\. Phase full/)
  })

  test('A finding leads to its position in the editor, and a need adds no risk', async () => {
    await run('const a = 1\nreturn eval("a + 1")')
    assert.match(await text('detail'), /no: its sandbox restricts that/)
    await page.locator('#detail button.place').first().click()
    const selected = await page
      .locator('#code')
      .evaluate((area: Area) => area.value.slice(0, area.selectionStart))
    assert.equal(selected.split('\n').length, 2)
  })

  test('A blocked job tells its author what to change, and where', async () => {
    const code = 'const a = 1\nreturn this.constructor.constructor("return 1")()'
    assert.equal(await run(code), 'blocked')
    assert.match(
      await text('returned'),
      /Change line 2, column 8: call functions by their own names/,
    )
  })

  test('Invalid JSON input is marked beside its field, and no request is sent', async () => {
    await fillInput('{a')
    await page.locator('#run').click()
    assert.match(await page.locator('#input-error').innerText(), /not JSON/)
  })

  for (const size of [
    { width: 1280, height: 800 },
    { width: 390, height: 844 },
  ])
    test(`At ${size.width} × ${size.height} output and result are seen without scrolling, and nothing is wider`, async () => {
      const visitor = await visit(size)
      await assertNoWider(visitor)
      const long =
        'console.log("x".repeat(4000)); console.log("y\\n".repeat(300)); return ["z".repeat(900)]'
      assert.equal(await run(long, { on: visitor }), 'ok')
      for (const id of ['headline', 'output', 'returned']) {
        const box = await visitor.locator(`#${id}`).boundingBox()
        assert.ok(
          box && box.y >= 0 && box.y + box.height <= size.height,
          `${id} ${JSON.stringify(box)}`,
        )
      }
      await visitor.locator('#same summary').click()
      await assertNoWider(visitor)
      await visitor.goto(`${server.static}/docs`)
      await assertNoWider(visitor)
      await visitor.close()
    })

  test('On a phone the outcome is as high as what it shows, before a run and after it', async () => {
    const visitor = await visit({ width: 390, height: 844 })
    const box = async (selector: string) => (await visitor.locator(selector).boundingBox())!
    const bottom = ({ y, height }: { y: number; height: number }) => y + height
    const rest = async (last: string) => bottom(await box('#outcome')) - bottom(await box(last))
    assert.ok((await rest('#headline')) < 40, `${await rest('#headline')} below the hint`)
    assert.equal(await run('return 1 +', { on: visitor }), 'error')
    assert.ok((await rest('#detail')) < 40, `${await rest('#detail')} below the outcome`)
    await visitor.close()
  })

  async function assertNoWider(visitor: Page): Promise<void> {
    const [whole, room] = await visitor
      .locator('html')
      .evaluate((element) => [element.scrollWidth, element.clientWidth])
    assert.ok(whole! <= room!, `${whole} in ${room}`)
  }

  test('Each control of the page has an accessible name', async () => {
    const nameless = await withoutName(
      page.locator('select, button, textarea, input, summary, a, pre[tabindex]'),
    )
    assert.deepEqual(nameless, [])
  })

  test('The snippets for command line, curl and TypeScript end as the example that they show', async () => {
    const folder = folderFor(place.cwd)
    const env = { ...process.env, ...place.env, MAYFLY_API_KEY: server.apiKey }
    const visitor = await visit()
    await visitor.locator('#same summary').click()
    for (const name of ['TypeScript', 'Node', 'Shell', 'A planted credential']) {
      await visitor.locator('#example').selectOption({ label: name })
      const [line = '', curl = '', script = ''] = await visitor
        .locator('#snippets pre')
        .allInnerTexts()
      const end = ends[name]!
      const shown = await bash(line, { folder, env })
      assert.match(shown, new RegExp(`^${end} · `, 'm'), line)
      assert.match(await bash(curl, { folder, env }), new RegExp(`"status":"${end}"`), curl)
      writeFileSync(join(folder, 'same.ts'), script)
      assert.match(
        await bash(`"${process.execPath}" same.ts`, { folder, env }),
        new RegExp(`^${end} `),
      )
    }
    await visitor.close()
  })

  test('Snippets to copy describe the same job, for any content', async () => {
    const folder = folderFor(place.cwd)
    const env = { ...process.env, ...place.env, MAYFLY_API_KEY: server.apiKey }
    const code = 'return [input, `${1}\\`\\\\\'"`, "END"]\nEND\n//\'`${x}\\'.replace(
      '\nEND\n',
      '\n/*\nEND\n*/\n',
    )
    const input = { "it's": '"$HOME" `id` \\ ü' }
    const [line = '', curl = '', script = ''] = snippetsOf(
      { code, input, language: 'js' },
      server.active.replace(/\/$/, ''),
    ).map((one) => one.text)
    const expected = [input, '1`\\\'"', 'END']
    const said = await bash(line.replace(/\n$/, ' --json\n'), { folder, env })
    const [document = ''] = said.slice(said.indexOf('{')).split('\n')
    assert.deepEqual((JSON.parse(document) as { result: unknown }).result, expected, said)
    assert.deepEqual(
      (JSON.parse(await bash(curl, { folder, env })) as { result: unknown }).result,
      expected,
    )
    const shown = script.replace(
      /console\.log\(.*\)/,
      'console.log(JSON.stringify(outcome.result))',
    )
    writeFileSync(join(folder, 'same.ts'), shown)
    assert.deepEqual(
      JSON.parse(await bash(`"${process.execPath}" same.ts`, { folder, env })),
      expected,
    )
  })

  always('The browser logged no error or warning, and sent no request to another origin', () => {
    // A blocked job is 403, which the browser console reports.
    assert.deepEqual(
      complaints.filter((said) => !said.includes('status of 403')),
      [],
    )
    assert.deepEqual(elsewhere, [])
  })

  test('S0-19: the published client-side code, pasted into a page of a site, gets its results', async () => {
    const page = `<!doctype html><title>A site</title>${seedScript}`
    await onSite(page, async (visitor, at) => {
      const said = visitor.waitForEvent('console', {
        predicate: (message) => message.text().startsWith('Active content results:'),
        timeout: waitMsMax,
      })
      await visitor.goto(at)
      const [, outcome] = await Promise.all((await said).args().map((arg) => arg.jsonValue()))
      assert.deepEqual([outcome.status, outcome.result], ['ok', [1, 4, 9]])
    })
  })

  test('A second page of a site runs active content as the first does, and a missing one links back', async () => {
    const link = '<!doctype html><a href="/below/two.html">Two</a> <a href="/none">None</a>'
    await onSite(link, async (visitor, at) => {
      for (const [path, answer] of [
        ['/', 1],
        ['/below/two.html', 2],
      ] as const) {
        if (path === '/') await visitor.goto(at)
        else await visitor.getByText('Two').click()
        await visitor.waitForURL(at + path)
        const outcome = await visitor.evaluate(
          `runActiveContent('return ${answer}').then(({ status, result }) => [status, result])`,
        )
        assert.deepEqual(outcome, ['ok', answer])
        await visitor.goto(at)
      }
      await visitor.getByText('None').click()
      await visitor.getByText('To the first page').click()
      await visitor.waitForURL(`${at}/`)
    })
  })

  test('S0-7: one script tag runs active content in Chromium, with live output', async () => {
    await onSite('<!doctype html><script src="/mayfly.js"></script>', async (visitor, at) => {
      await visitor.goto(at)
      const outcome = await visitor.evaluate(
        `runActiveContent('console.log("heard"); return input + 1', {
          input: 41, on: (event, data) => event === 'stdout' && (globalThis.said = data.text) })
          .then(({ status, result }) => [status, result, said.trim()])`,
      )
      assert.deepEqual(outcome, ['ok', 42, 'heard'])
    })
  })

  /** Visits a site with this page and a script, on a server of its own. */
  async function onSite(
    page: string,
    visit: (visitor: Page, at: string) => Promise<void>,
  ): Promise<void> {
    const site = mkdtempSync(join(tmpdir(), 'mayfly-site-'))
    chmodSync(site, 0o755)
    writeFileSync(join(site, 'index.html'), page)
    mkdirSync(join(site, 'below'))
    writeFileSync(join(site, 'below', 'two.html'), '<!doctype html><title>Two</title>')
    writeFileSync(join(site, 'active.js'), 'return [1, 2, 3].map((n) => n * n)')
    const other = makePlace()
    try {
      await using own = await startServer(other, [site])
      await whenReady(own)
      const visitor = await browser.newPage()
      await visit(visitor, own.static)
      await visitor.close()
      await own.stop()
    } finally {
      other.remove()
      rmSync(site, { recursive: true, force: true })
    }
  }
})

/** How each example ends here; one that needs what this machine may lack is left out. */
const ends: Readonly<Record<string, string>> = {
  JavaScript: 'ok',
  TypeScript: 'ok',
  Node: 'ok',
  Python: 'ok',
  Shell: 'ok',
  'A late beacon': 'timeout',
  'A planted credential': 'terminated',
  'A shrinking life': 'timeout',
  'A loop without an end': 'timeout',
  'A memory bomb': 'limit',
  'A way out': 'blocked',
}

/** Texts expected in the picture of a life, by example. */
const lived: Readonly<Record<string, readonly RegExp[]>> = {
  'A late beacon': [/cut off by an anomaly: It asked "collector\.example/, /network: .*closed/],
  'A planted credential': [/cut off by an anomaly: (?:It opened|The planted secret)/],
  'A shrinking life': [/Phase full.*Phase no-network.*Phase half-a-core/, /cpu: 1 core, then 0\.5/],
}

const printed: Readonly<Record<string, readonly RegExp[]>> = {
  'A late beacon': [/order 5 checked[^]*call home 1[^]*this run has no network/],
  'A planted credential': [/^report 1: /, /^(?![^]*nobody saw me)/],
  'A shrinking life': [/network granted[^]*network closed/],
}

/** A PNG of 30 by 10 points, made without a library. */
const figure = `import os, struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
os.makedirs("out", exist_ok=True)
rows = b"".join(b"\\0" + bytes([200, 80, 20]) * 30 for _ in range(10))
head = struct.pack(">IIBBBBB", 30, 10, 8, 2, 0, 0, 0)
with open("out/figure.png", "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
`

/** Makes a folder in which the command and the client of this checkout resolve as if installed. */
function folderFor(parent: string): string {
  const folder = mkdtempSync(join(parent, 'same-'))
  for (const made of [folder, join(folder, 'made')]) {
    mkdirSync(made, { recursive: true })
    chmodSync(made, 0o777)
  }
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(join(bin, '../..'), join(folder, 'node_modules/mayfly'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  return folder
}

/** Stdout and stderr of a script; `npx mayfly` is replaced by the command of this checkout, as npx takes a second. */
function bash(
  script: string,
  { folder, env }: { readonly folder: string; readonly env: NodeJS.ProcessEnv },
): Promise<string> {
  const npx = `npx() { shift; "${process.execPath}" "${bin}" "$@"; }\n`
  const { promise, resolve } = Promise.withResolvers<string>()
  const options = { cwd: folder, env, timeout: commandMsMax }
  execFile('bash', ['-c', npx + script], options, (_, stdout, stderr) => resolve(stdout + stderr))
  return promise
}
