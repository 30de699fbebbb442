import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import { chromiumFlags, chromiumPath, withoutName } from '../fixtures/chromium.ts'
import { test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import { makePlace, startServer, whenReady, type Server } from './program.ts'

const waitMsMax = 30_000
/** A short first phase, and then half a core less; cells may run for longer than a test. */
const config = `
[limits]
timeout = "60s"

[schedules.default]
phases = [{ name = "full", for = "10m" }]

[schedules.brief]
for_origins = ["page"]
phases = [{ name = "full", for = "2s" }, { name = "half", for = "10m", cpu = 0.5 }]
`

if (!chromiumPath && process.env['CI'])
  test('The notebook is tried in a browser', () => assert.fail('Chromium is missing'))

const missing = !chromiumPath && 'Chromium is missing'

suite('The notebook in a browser', { skip: missing || unable('python') }, () => {
  const place = makePlace()
  let server: Server
  let browser: Browser
  const complaints: string[] = []
  const elsewhere: string[] = []

  before(async () => {
    const file = join(place.cwd, 'notebook.toml')
    writeFileSync(file, config)
    server = await startServer(place, ['--config', file])
    await whenReady(server)
    browser = await chromium.launch({ executablePath: chromiumPath!, args: chromiumFlags })
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
    place.remove()
  })

  /** A notebook of one empty cell; closing it ends its session. */
  async function notebook(language = 'python', width = 1280) {
    const context = await browser.newContext({ viewport: { width, height: 800 } })
    const page = await context.newPage()
    page.setDefaultTimeout(waitMsMax)
    page.on('console', (message) => {
      // The browser console reports 410 and 422, which the page expects, and markup blocked by the content policy.
      const isExpected = /status of 4(?:10|22)|The action has been blocked/.test(message.text())
      if (message.type() === 'error' && !isExpected) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('request', (request) => {
      const url = request.url()
      if (!url.startsWith(server.static) && !/^(?:data|blob):/.test(url)) elsewhere.push(url)
    })
    await page.goto(server.static)
    await page.locator('#views a', { hasText: 'Notebook' }).click()
    await page.locator('#nb-run-all:enabled').waitFor()
    await page.locator('#nb-language').selectOption(language)
    while ((await page.locator('.cell').count()) > 1)
      await page.locator('.cell [data-does="delete"]').first().click()
    await page.locator('.cell textarea').fill('')
    return Object.assign(page, {
      async [Symbol.asyncDispose]() {
        if (await page.locator('#nb-end').isEnabled()) await page.locator('#nb-end').click()
        await page.locator('#nb-state').getByText('no session').waitFor()
        await context.close()
      },
    })
  }

  const cell = (page: Page, n: number) => page.locator('.cell').nth(n)
  const outputOf = (page: Page, n: number) => cell(page, n).locator('.cell-output').innerText()
  const ready = (page: Page) => page.locator('#nb-state').getByText('ready').waitFor()

  /** Types code into a cell and runs it by its key. */
  async function run(page: Page, n: number, code: string, key = 'Control+Enter') {
    await cell(page, n).locator('textarea').fill(code)
    await cell(page, n).locator('textarea').press(key)
  }

  const pictured = (page: Page, words: string) =>
    page.locator(`#nb-picture img[alt*="${words}"]`).waitFor()

  for (const [language, first, second] of [
    ['python', 'x = 41', 'x + 1'],
    ['javascript', 'let x = 41', 'await null; x + 1'],
  ] as const)
    test(`Cells of ${language} share a session: Shift and Enter runs and moves on`, async () => {
      await using page = await notebook(language)
      await run(page, 0, first, 'Shift+Enter')
      await cell(page, 1).waitFor()
      await page.keyboard.insertText(second)
      await page.keyboard.press('Control+Enter')
      await cell(page, 1).locator('.result').waitFor()
      assert.match(await outputOf(page, 1), /^42/)
      assert.equal(await cell(page, 1).locator('.count').innerText(), '[2]')
      assert.equal(await page.locator('.cell').count(), 2)
      await pictured(page, 'execs 2')
    })

  test('A loop without an end is interrupted by the button, and variables stay', async () => {
    await using page = await notebook()
    await run(page, 0, 'x = 7\nprint("there", flush=True)\nwhile True: pass', 'Shift+Enter')
    await cell(page, 0).locator('.printed').getByText('there').waitFor()
    assert.match(await page.locator('#nb-state').innerText(), /busy/)
    await page.locator('#nb-interrupt').click()
    await cell(page, 0).getByText('Interrupted. Variables are kept.').waitFor()
    await run(page, 1, 'x')
    await cell(page, 1).locator('.result').waitFor()
    assert.match(await outputOf(page, 1), /^7/)
  })

  test('S2-29: the timeline of a session is drawn while it runs, and its rights shrink', async () => {
    await using page = await notebook()
    await run(page, 0, '1')
    await pictured(page, 'cpu: 1 core, then 0.5 cores')
    const rights = page.locator('#nb-rights')
    await rights.getByText('Phase half: cpu 0.5 cores').waitFor()
    await page.locator('#nb-phase').getByText('Phase half: cpu 0.5 cores').waitFor()
    assert.match(await page.locator('#nb-deadline').innerText(), /^It ends in 4 min \d+ s unless/)
    const [width, room] = await page.locator('#nb-picture').evaluate(async (part) => {
      const { clientWidth } = part.firstElementChild!
      await (part.firstElementChild as unknown as { decode(): Promise<void> }).decode()
      return [clientWidth, part.clientWidth]
    })
    assert.equal(width, room)
  })

  test('An error marks its line, queued cells do not run, and the session continues', async () => {
    await using page = await notebook()
    await run(page, 0, 'def f():\n    return 1 / 0\n\nf()', 'Alt+Enter')
    await cell(page, 1).locator('textarea').fill('"never"')
    await cell(page, 0).locator('.wrong').waitFor()
    await ready(page)
    assert.equal(await cell(page, 0).locator('.wrong-line').innerText(), '2')
    await page.locator('#nb-run-all').click()
    await cell(page, 0).locator('.count').getByText('[2]').waitFor()
    await ready(page)
    assert.equal(await cell(page, 1).locator('.count').innerText(), '[ ]')
    await run(page, 0, '"on"')
    await cell(page, 0).locator('.result').waitFor()
  })

  test('HTML of a cell shows as words and tables, and no script of it runs', async () => {
    await using page = await notebook()
    const html =
      '<table onclick="alert(1)"><tr><td>lamp</td></tr></table><script>document.title=1</script><img src=x onerror="document.title=2"><iframe srcdoc="x"></iframe>'
    const code = `class Table:\n    def _repr_html_(self): return ${JSON.stringify(html)}\nprint("<b>bold</b>")\nTable()`
    await run(page, 0, code)
    assert.equal(await cell(page, 0).locator('.rich table td').innerText(), 'lamp')
    assert.equal(await cell(page, 0).locator('.rich').textContent(), 'lamp')
    assert.equal(await page.locator('.cell-output').locator('script, img, iframe, b').count(), 0)
    assert.equal(await cell(page, 0).locator('.rich table[onclick]').count(), 0)
    assert.match(await outputOf(page, 0), /<b>bold<\/b>/)
    assert.equal(await page.title(), 'Mayfly')
  })

  test('Background output is shown apart, and files of the session can be saved', async () => {
    await using page = await notebook()
    const code = `import threading, time
def work():
    while True:
        print("from behind", flush=True)
        time.sleep(0.05)
threading.Thread(target=work, daemon=True).start()
open("rows.csv", "w").write("a,b\\n")`
    await run(page, 0, code, 'Shift+Enter')
    const file = page.locator('#nb-file-list button')
    await file.waitFor()
    const [download] = await Promise.all([page.waitForEvent('download'), file.click()])
    assert.equal(download.suggestedFilename(), 'rows.csv')
    for (let n = 2; (await cell(page, 1).locator('.between pre').count()) === 0; n++) {
      assert.ok(n < 50, 'no output between two runs')
      await run(page, 1, 'len(open("rows.csv").read())')
      await cell(page, 1).locator('.count').getByText(`[${n}]`).waitFor()
    }
    assert.match(await cell(page, 1).locator('.between').innerText(), /from behind/)
  })

  test('A session that is ended from outside is reported, its text is kept, and another can be opened', async () => {
    await using page = await notebook()
    await run(page, 0, 'x = 1')
    await ready(page)
    const headers = { authorization: `Bearer ${server.apiKey}` }
    const sandboxes = new URL('/v1/sandboxes', server.active)
    const { items } = (await (await fetch(sandboxes, { headers })).json()) as {
      items: { id: string }[]
    }
    const [{ id }] = items as [{ id: string }]
    await fetch(new URL(`/v1/sandboxes/${id}`, server.active), { method: 'DELETE', headers })
    await page.locator('#nb-why').getByText('The session has ended.').waitFor()
    assert.match(await page.locator('#nb-why').innerText(), /operator/)
    assert.equal(await cell(page, 0).locator('textarea').inputValue(), 'x = 1')
    await page.locator('#nb-again').click()
    await ready(page)
    await run(page, 0, '"x" in globals()')
    await cell(page, 0).locator('.result').waitFor()
    assert.match(await outputOf(page, 0), /^false/)
    assert.equal(await page.locator('#nb-notice').isVisible(), false)
  })

  test('Cells are moved, deleted and restored by keyboard, and their text survives a reload', async () => {
    await using page = await notebook()
    await cell(page, 0).locator('textarea').fill('first')
    await page.locator('#nb-add').press('Enter')
    await page.keyboard.insertText('second')
    await page.keyboard.press('Alt+Shift+ArrowUp')
    const texts = () =>
      page
        .locator('.cell textarea')
        .evaluateAll((all) => all.map((one) => (one as unknown as { value: string }).value))
    assert.deepEqual(await texts(), ['second', 'first'])
    await cell(page, 0).locator('[data-does="delete"]').press('Enter')
    assert.deepEqual(await texts(), ['first'])
    await page.locator('#nb-undo').press('Enter')
    assert.deepEqual(await texts(), ['second', 'first'])
    await page.reload()
    await cell(page, 1).waitFor()
    assert.deepEqual(await texts(), ['second', 'first'])
    const nameless = await withoutName(
      page.locator('#notebook-view').locator('select, button, textarea, pre[tabindex]'),
    )
    assert.deepEqual(nameless, [])
  })

  test('A new line of a cell gets the indentation of the previous line', async () => {
    await using page = await notebook()
    await cell(page, 0).locator('textarea').focus()
    for (const text of ['def f(a):', 'return a', '1']) {
      await page.keyboard.type(text)
      await page.keyboard.press('Enter')
    }
    const area = cell(page, 0).locator('textarea')
    assert.equal(await area.inputValue(), 'def f(a):\n    return a\n    1\n    ')
  })

  test('At 400 pixels nothing is wider than the page', async () => {
    await using page = await notebook('python', 400)
    await run(page, 0, `print("x" * 2000)\n["z" * 900, ${'1 + '.repeat(200)}1]`)
    await cell(page, 0).locator('.result').waitFor()
    await page.locator('#nb-picture img').waitFor()
    const [whole, room] = await page
      .locator('html')
      .evaluate((element) => [element.scrollWidth, element.clientWidth])
    assert.ok(whole! <= room!, `${whole} in ${room}`)
  })

  always('The browser logged no error in a notebook, and sent no request elsewhere', () => {
    assert.deepEqual(complaints, [])
    assert.deepEqual(elsewhere, [])
  })
})
