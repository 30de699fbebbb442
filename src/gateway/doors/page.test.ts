import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { pagePolicy, withBootstrap } from './page.ts'
import { refusedMarkup } from './refused-markup.ts'

test('The bootstrap goes first into the head, or where a head would begin', () => {
  const meta = '<meta name="mayfly-session" content="T"><script src="/mayfly.js"></script>'
  assert.equal(
    withBootstrap('<html><head lang="a"><title>', 'T'),
    `<html><head lang="a">${meta}<title>`,
  )
  assert.equal(
    withBootstrap('<!DOCTYPE html><HTML lang="en"><p>', 'T'),
    `<!DOCTYPE html><HTML lang="en">${meta}<p>`,
  )
  assert.equal(withBootstrap('<!doctype html><p>', 'T'), `<!doctype html>${meta}<p>`)
  assert.equal(withBootstrap('<header>', 'T'), `${meta}<header>`)
})

test('A page that loads the client itself gets the token alone', () => {
  const html = '<head><script src="/mayfly.js"></script></head>'
  assert.ok(
    withBootstrap(html, 'T').startsWith(
      '<head><meta name="mayfly-session" content="T"><script src',
    ),
  )
  assert.equal(withBootstrap(html, undefined), html)
})

test('The policy names inline blocks by their digest, with line ends as browsers read them', () => {
  const policy = pagePolicy(
    '<script>\r\na()\r\n</script><SCRIPT src="/x"></SCRIPT><style>b{}</style>',
    [],
  )
  assert.ok(policy.includes(`script-src 'self' 'sha256-${hash('sha256', '\na()\n', 'base64')}';`))
  assert.ok(policy.includes(`style-src 'self' 'sha256-${hash('sha256', 'b{}', 'base64')}';`))
})

test('Markup that the policy refuses is found, each kind with its first line, and nothing else', () => {
  const page = `<!doctype html><!-- <a onclick="x()"> --><link rel="canonical" href="https://a.example/">
<body onload="a > b">
<p style='x'>a < b <a href=" javascript:x()">on</a><a href="https://b.example" one="onclick=1">
<script>"<p onclick='x'>"</script><SCRIPT SRC="https://cdn.example/a.js"></script><script src="/b.js"></script>
<p style="y"><iframe src="/c"></iframe><link rel=stylesheet href=//fonts.example/c.css>`
  assert.deepEqual(
    refusedMarkup(page).map(({ line, what }) => `${line} ${what}`),
    [
      '2 "onload" of <body>',
      '3 "style" of <p>',
      '3 a "javascript:" address of <a>',
      '4 <script> of cdn.example',
      '5 <iframe>',
      '5 <link> of fonts.example',
    ],
  )
  for (const odd of ['<p ="', '<p x="', '<', '<!--', '<script', '<p <p onclick'])
    assert.ok(refusedMarkup(odd.repeat(20_000)).length <= 1, odd)
})

test('A page of many opening tags is read in one pass', () => {
  assert.ok(pagePolicy('<script>'.repeat(100_000), []).length < 1000)
  assert.ok(pagePolicy('<script>a</script><script>b</script>'.repeat(1000), []).length < 1000)
})

test('The client of a page passes each option on, so that the server refuses what a page may not ask for', async () => {
  const bodies: object[] = []
  const page = {
    document: { querySelector: () => ({ content: 'T' }) },
    fetch: (_url: string, { body }: { body: string }) => {
      bodies.push(JSON.parse(body))
      return Promise.resolve(Response.json({ status: 422 }))
    },
  }
  const client = new URL('../../web/client/mayfly.js', import.meta.url)
  runInNewContext(readFileSync(client, 'utf8'), page)
  const { runActiveContent } = page as unknown as {
    runActiveContent: (content: string, options?: object) => Promise<unknown>
  }
  await runActiveContent('1', { limits: { memory: '1GB' }, content: '2', on: undefined })
  assert.deepEqual(bodies, [{ limits: { memory: '1GB' }, content: '1', sessionToken: 'T' }])
})
