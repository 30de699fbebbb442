import assert from 'node:assert/strict'
import { mkdir, readdir, readlink, symlink, writeFile } from 'node:fs/promises'
import { hash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { call, folder, openDoor, raw, statusOf, tokenOf } from './http-door.ts'

async function site() {
  const made = await folder()
  const write = (path: string, text: string) => writeFile(join(made.path, path), text)
  await mkdir(join(made.path, 'sub'))
  await mkdir(join(made.path, '.git'))
  await write(
    'index.html',
    '<!doctype html><html><head><title>A</title></head><body>Hello</body></html>',
  )
  await write('sub/index.html', '<p>Sub')
  await write('app.js', 'export {}')
  await write('style.css', 'a{}')
  await write('data.json', '{}')
  await write('blob', 'x')
  await write('.env', 'SECRET=1')
  await write('.git/config', 'SECRET=1')
  await symlink('/etc/passwd', join(made.path, 'out'))
  await symlink('/etc', join(made.path, 'etc'))
  await symlink('.env', join(made.path, 'inside'))
  await symlink('app.js', join(made.path, 'alias.js'))
  return made
}

test('S0-2: a folder is served with the right types, a content policy and nosniff', async () => {
  await using files = await site()
  await using door = await openDoor({ site: files.path })
  // A page gets a token of the server beside its own text.
  const served = {
    '/': ['text/html; charset=utf-8', />Hello</],
    '/index.html': ['text/html; charset=utf-8', />Hello</],
    '/sub/': ['text/html; charset=utf-8', /<p>Sub/],
    '/app.js': ['text/javascript; charset=utf-8', /^export \{\}$/],
    '/alias.js': ['text/javascript; charset=utf-8', /^export \{\}$/],
    '/style.css': ['text/css; charset=utf-8', /^a\{\}$/],
    '/data.json': ['application/json', /^\{\}$/],
    '/blob': ['application/octet-stream', /^x$/],
    '/mayfly.js': ['text/javascript; charset=utf-8', /runActiveContent/],
  } as const
  for (const [path, [type, text]] of Object.entries(served)) {
    const answer = await call(door.gateway.staticUrl + path)
    assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, type], path)
    assert.match(answer.text, text, path)
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    assert.match(answer.headers.get('content-security-policy') ?? '', /^default-src '(none|self)'/)
  }
})

test('No file of the state folder is served, if it is the site, inside it, or behind a link', async () => {
  await using files = await site()
  const state = join(files.path, 'state')
  await mkdir(join(state, 'attach'), { recursive: true })
  await writeFile(join(state, 'audit.key'), 'SECRET=1')
  await writeFile(join(state, 'attach', 'one.key'), 'SECRET=1')
  await symlink('state', join(files.path, 'linked'))
  await symlink(files.path, join(state, 'around'))
  await using door = await openDoor({ site: files.path, state: join(files.path, 'linked') })
  const paths = [
    'state/audit.key',
    'state/attach/one.key',
    'linked/audit.key',
    'state/around/app.js',
  ]
  for (const path of ['state', ...paths.slice(0, 3)])
    assert.equal((await call(`${door.gateway.staticUrl}/${path}`)).status, 404, path)
  assert.equal((await call(`${door.gateway.staticUrl}/${paths[3]}`)).status, 200)
  await using whole = await openDoor({ site: state, state })
  assert.equal((await call(`${whole.gateway.staticUrl}/audit.key`)).status, 404)
})

test('S0-2: an unchanged file is 304, by its ETag', async () => {
  await using files = await site()
  await using door = await openDoor({ site: files.path })
  for (const path of ['/app.js', '/']) {
    const url = door.gateway.staticUrl + path
    const etag = (await call(url)).headers.get('etag') ?? ''
    const again = await call(url, { headers: { 'if-none-match': `"x", ${etag}` } })
    assert.deepEqual([again.status, again.text], [304, ''])
    assert.equal((await call(url, { headers: { 'if-none-match': '"x"' } })).status, 200)
  }
  const url = `${door.gateway.staticUrl}/app.js`
  const etag = (await call(url)).headers.get('etag') ?? ''
  await writeFile(join(files.path, 'app.js'), 'export { }')
  assert.equal((await call(url, { headers: { 'if-none-match': etag } })).status, 200)
  const longer = (await call(url)).headers.get('etag') ?? ''
  // More than a tick of the slowest kernel, by which the times of a file are kept.
  await wait(50)
  await writeFile(join(files.path, 'app.js'), 'export {;}')
  assert.equal((await call(url, { headers: { 'if-none-match': longer } })).status, 200)
})

test('S0-2: dotfiles, links that lead out or to dotfiles, and folders without a page are 404', async () => {
  await using files = await site()
  await mkdir(join(files.path, 'empty'))
  await using door = await openDoor({ site: files.path })
  for (const path of [
    '/.env',
    '/.git/config',
    '/out',
    '/etc',
    '/etc/passwd',
    '/inside',
    '/empty/',
    '/nope',
    '/app.js/',
    '/app.js/x',
    '/%2Eenv',
    `${'/..'.repeat(9)}/etc/passwd`,
    `${'/%2e%2E'.repeat(9)}/etc/passwd`,
    `/${'..%2f'.repeat(9)}etc%2fpasswd`,
  ]) {
    const answer = await raw(door.staticPort, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    assert.equal(statusOf(answer), 404, path)
    assert.ok(!answer.includes('SECRET') && !answer.includes('root:'))
  }
})

test('A missing path is a page for a browser, that of the site if it has one, and a problem for any other client', async () => {
  await using files = await site()
  await using door = await openDoor({ site: files.path })
  await using own = await openDoor()
  const asBrowser = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }
  for (const url of [door.gateway.staticUrl, own.gateway.staticUrl])
    for (const path of ['/nope', '/sub/nope.html', '/sub/nope/']) {
      const page = await call(url + path, {
        headers: { ...asBrowser.headers, 'if-none-match': '*' },
      })
      assert.equal(page.status, 404, path)
      assert.match(page.text, /<h1>Not found<\/h1>/, path)
      assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
      assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'/)
      assert.deepEqual([page.headers.get('etag'), /mfs_/.test(page.text)], [null, false])
      const asked = await call(url + path)
      assert.deepEqual([asked.status, asked.json['code']], [404, 'NOT_FOUND'], path)
    }
  await writeFile(join(files.path, '404.html'), '<h1>Lost, <a href="/">home</a></h1>')
  const page = await call(`${door.gateway.staticUrl}/nope`, asBrowser)
  assert.deepEqual([page.status, /Lost, /.test(page.text)], [404, true])
  const head = await call(`${door.gateway.staticUrl}/nope`, { ...asBrowser, method: 'HEAD' })
  assert.deepEqual([head.status, head.text], [404, ''])
})

test('A folder without its slash is redirected to itself, on this host', async () => {
  await using files = await site()
  await using door = await openDoor({ site: files.path })
  const answer = await call(`${door.gateway.staticUrl}/sub?a=1`)
  assert.deepEqual([answer.status, answer.headers.get('location')], [308, '/sub/?a=1'])
})

test('HEAD gives the headers of GET and no body', async () => {
  await using files = await site()
  await using door = await openDoor({ site: files.path })
  for (const path of ['/', '/app.js']) {
    const [get, head] = [
      await call(door.gateway.staticUrl + path),
      await call(door.gateway.staticUrl + path, { method: 'HEAD' }),
    ]
    assert.deepEqual([head.status, head.text], [200, ''])
    assert.equal(head.headers.get('content-length'), String(Buffer.byteLength(get.text)))
  }
})

test('A large file arrives whole, and its fd is closed if the client does not read to its end', async () => {
  await using files = await site()
  const bytes = Buffer.alloc(5_000_000, 'abcdefg')
  await writeFile(join(files.path, 'large.txt'), bytes)
  await using door = await openDoor({ site: files.path })
  const url = `${door.gateway.staticUrl}/large.txt`
  assert.equal(hash('sha256', (await call(url)).text), hash('sha256', bytes))
  for (let i = 0; i < 5; i++) {
    const response = await fetch(url)
    await response.body?.cancel()
  }
  const large = join(files.path, 'large.txt')
  while ((await openFiles()).includes(large)) await wait(10)
})

/** Paths of the files this process holds open. */
async function openFiles(): Promise<readonly string[]> {
  const ids = await readdir('/proc/self/fd')
  return Promise.all(ids.map((id) => readlink(`/proc/self/fd/${id}`).catch(() => '')))
}

test('S0-8: every load of a page gets a new token, and no cache may store it', async () => {
  await using door = await openDoor()
  const tokens = new Set<string>()
  for (let i = 0; i < 50; i++) tokens.add(await tokenOf(door))
  assert.equal(tokens.size, 50)
  assert.ok(!tokens.has(''), 'a page without a token')
  assert.equal((await call(door.gateway.staticUrl)).headers.get('cache-control'), 'no-store')
})

test('A page of a site gets the token and the client before its own scripts, and its inline scripts may run', async () => {
  await using files = await site()
  const inline = '\n  requestActiveContent("/app.js")\n'
  await writeFile(
    join(files.path, 'page.html'),
    `<html><head><script>${inline}</script></head></html>`,
  )
  await using door = await openDoor({ site: files.path })
  const page = await call(`${door.gateway.staticUrl}/page.html`)
  assert.match(
    page.text,
    /<head><meta name="mayfly-session" content="mfs_[^"]+"><script src="\/mayfly.js"><\/script><script>/,
  )
  const policy = page.headers.get('content-security-policy') ?? ''
  assert.ok(policy.includes(`script-src 'self' 'sha256-${hash('sha256', inline, 'base64')}'`))
  assert.ok(!policy.includes('unsafe-inline'))
  assert.ok(policy.includes(`connect-src 'self' ${door.gateway.activeUrl}`))
})

test('A file of a site cannot replace the browser client', async () => {
  await using files = await site()
  await writeFile(join(files.path, 'mayfly.js'), 'evil()')
  await using door = await openDoor({ site: files.path })
  assert.ok(!(await call(`${door.gateway.staticUrl}/mayfly.js`)).text.includes('evil'))
})

test('The built-in page references no missing file and no other host', async () => {
  await using door = await openDoor()
  const page = await call(door.gateway.staticUrl)
  const links = [...page.text.matchAll(/(?:src|href)="([^"#]+)"/g)].map((match) => match[1]!)
  assert.ok(links.length >= 3)
  for (const link of links) {
    assert.match(link, /^\//)
    assert.equal((await call(door.gateway.staticUrl + link)).status, 200, link)
  }
})
