import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import { makePlace, startServer, whenReady, type Server } from './program.ts'

/** The page as a visitor meets it, in the system's Chromium. */
const program = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) => existsSync(path))
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const waitMsMax = 15_000

/** Of an image, whose own type is a browser's too. */
interface Image {
  readonly naturalWidth: number
  readonly src: string
  readonly alt: string
  decode(): Promise<void>
}

/** Of a text area, whose own type is a browser's. */
interface Area {
  readonly value: string
  readonly selectionStart: number
}

if (!program && process.env['CI'])
  test('The page is tried in a browser', () => assert.fail('Chromium is missing'))

suite('The page in a browser', { skip: !program && 'Chromium is missing' }, () => {
  const place = makePlace()
  let server: Server
  let browser: Browser
  let page: Page
  const complaints: string[] = []

  before(async () => {
    server = await startServer(place)
    await whenReady(server)
    browser = await chromium.launch({ executablePath: program!, args: flags })
    page = await browser.newPage()
    page.setDefaultTimeout(waitMsMax)
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(server.static)
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
    place.remove()
  })

  /** Types code, runs it, and waits for the word that says how it ended. */
  async function run(code: string, input = 'null'): Promise<string> {
    await page.locator('#code').fill(code)
    await page.locator('#input').fill(input)
    await page.locator('#headline').evaluate((element) => element.replaceChildren())
    await page.locator('#run').click()
    const badge = page.locator('#headline .badge')
    await badge.waitFor()
    return badge.innerText()
  }

  const detail = () => page.locator('#detail').innerText()

  test('Code that is typed runs, and what it returned and printed is shown', async () => {
    assert.equal(await run('console.log("heard"); return input.a + 1', '{"a":41}'), 'ok')
    const shown = await detail()
    assert.match(shown, /Result[^]*42/)
    assert.match(shown, /Output[^]*heard/)
    assert.match(shown, /isolate, isolated-vm/)
  })

  test('Ctrl and Enter run it too', async () => {
    await page.locator('#code').fill('return "by keyboard"')
    await page.locator('#input').fill('')
    await page.locator('#code').press('Control+Enter')
    await page.locator('#detail').getByText('by keyboard').first().waitFor()
  })

  test('What the code says is text, and never markup of the page', async () => {
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>'
    const code = `console.log(input); throw new Error(input)`
    assert.equal(await run(code, JSON.stringify(markup)), 'error')
    assert.match(await detail(), /<img src=x/)
    assert.equal(await page.locator('#detail img:not(.life), #detail b').count(), 0)
    assert.equal(await page.title(), 'Mayfly')
  })

  test('The picture of the life is shown, as an image that nothing in it can leave', async () => {
    await run('const until = Date.now() + 30; while (Date.now() < until); return 1')
    const image = page.locator('#detail img.life')
    const shown = await image.evaluate(async (element: Image) => {
      await element.decode()
      return { width: element.naturalWidth, source: element.src, text: element.alt }
    })
    const room = await page.locator('#detail').evaluate((element) => element.clientWidth)
    assert.equal(shown.width, room)
    assert.match(shown.source, /^data:image\/svg\+xml,/)
    assert.match(shown.text, /^A life, ok after .*Zone main\. Phase full/)
  })

  test('A finding leads to its place in the editor', async () => {
    await run('const a = 1\nreturn eval("a + 1")')
    await page.locator('#detail button.place').first().click()
    const selected = await page
      .locator('#code')
      .evaluate((area: Area) => area.value.slice(0, area.selectionStart))
    assert.equal(selected.split('\n').length, 2)
  })

  test('Input that is no JSON is said beside it, and nothing is sent', async () => {
    await page.locator('#input').fill('{a')
    await page.locator('#run').click()
    assert.match(await page.locator('#input-error').innerText(), /not JSON/)
  })

  test('A run can be stopped', async () => {
    await page.locator('#input').fill('')
    await page.locator('#code').fill('for (;;) {}')
    await page.locator('#run').click()
    await page.locator('#stop').click()
    await page.locator('#headline').getByText('You stopped it').waitFor()
    assert.equal(await page.locator('#run').isEnabled(), true)
  })

  test('Each example ends as its text says', async () => {
    const ends = ['ok', 'ok', 'timeout', 'limit', 'blocked']
    for (const [index, end] of ends.entries()) {
      await page.locator('#example').selectOption({ index })
      await page.locator('#headline').evaluate((element) => element.replaceChildren())
      await page.locator('#run').click()
      const badge = page.locator('#headline .badge')
      await badge.waitFor()
      assert.equal(await badge.innerText(), end, `example ${index}`)
    }
  })

  test('Nothing on the way was an error or a warning of the browser', () => {
    // A blocked job is 403, which a browser tells of by itself.
    assert.deepEqual(
      complaints.filter((text) => !text.includes('status of 403')),
      [],
    )
  })

  test('S0-19: the code of the seed, pasted as it is into a page of a site, gets its results', async () => {
    const site = mkdtempSync(join(tmpdir(), 'mayfly-site-'))
    chmodSync(site, 0o755)
    writeFileSync(join(site, 'index.html'), `<!doctype html><title>A site</title>${seedScript}`)
    writeFileSync(join(site, 'active.js'), 'return [1, 2, 3].map((n) => n * n)')
    const other = makePlace()
    try {
      await using own = await startServer(other, [site])
      await whenReady(own)
      const visitor = await browser.newPage()
      const said = visitor.waitForEvent('console', {
        predicate: (message) => message.text().startsWith('Active content results:'),
        timeout: waitMsMax,
      })
      await visitor.goto(own.static)
      const [, outcome] = await Promise.all((await said).args().map((arg) => arg.jsonValue()))
      assert.deepEqual([outcome.status, outcome.result], ['ok', [1, 4, 9]])
      await visitor.close()
      await own.stop()
    } finally {
      other.remove()
      rmSync(site, { recursive: true, force: true })
    }
  })
})

/** The seed's own code; `getSessionToken` is what the page brings. */
const seedScript = `<script>
function requestActiveContent(contentURL) {
    fetch(contentURL)
        .then(response => response.text())
        .then(activeContent => {
            // Package the active content and Session Token
            const requestPayload = {
                content: activeContent,
                sessionToken: getSessionToken() // Implement this function
            };

            // Send request to Active Content Endpoint
            fetch('/active-content', {
                method: 'POST',
                headers: { 'Content-Type': 'application/json' },
                body: JSON.stringify(requestPayload)
            })
            .then(response => response.json())
            .then(data => {
                // Process the results from the Active Content Endpoint
                console.log('Active content results:', data);
            });
        });
}
requestActiveContent('/active.js')
</script>`
