const url = require('url');
const querystring = require('querystring');
const path = require('path');
const util = require('util');
const os = require('os');

function clean(link, base) {
  const u = new URL(link, base);
  for (const key of [...u.searchParams.keys()]) if (/^utm_|^fbclid$/.test(key)) u.searchParams.delete(key);
  u.searchParams.sort();
  u.hash = '';
  u.pathname = path.posix.normalize(u.pathname);
  return u.href;
}

const links = [
  'https://Example.com:443/a/../b/./c?z=1&utm_source=news&a=2#top',
  '/relative?q=caf\u00e9 au lait',
  '//cdn.example.net/lib.js?v=1&v=2',
  'mailto:someone@example.com',
  'http://m\u00fcller.example/%7Euser/',
  'http://[::1]:8080/x?fbclid=123',
];
links.forEach((l) => console.log(clean(l, 'https://site.example/dir/page.html')));

console.log(URL.canParse('not a url'), URL.canParse('a', 'http://b'), URL.parse('::')?.href ?? null);
try {
  new URL('http://bad host/');
} catch (e) {
  console.log(e.code, '-', e.message);
}

const { username, password, host, port, pathname, search } = new URL('ftp://user:p%40ss@files.example:2121/pub/x.tar.gz?mode=bin');
console.log({ username, password: decodeURIComponent(password), host, port, pathname, search });

const params = new URLSearchParams([['tag', 'a'], ['tag', 'b c'], ['empty', '']]);
params.append('x', '1+1=2');
console.log(params.toString(), params.getAll('tag'), params.has('tag', 'a'), params.size);
console.log(querystring.parse('a=1&a=2&b=%20x'), querystring.stringify({ k: ['v1', 'v2'], n: 5 }));
console.log(url.fileURLToPath('file:///srv/some%20file.txt'), url.pathToFileURL('/srv/a#b.txt').href);

console.log(path.parse('/home/site/index.test.js'));
console.log(path.relative('/a/b/c', '/a/d'), path.resolve('/x', '../y', './z'), path.join('a', '..', '..', 'b'), path.extname('.bashrc') === '');
console.log(path.win32.basename('C:\\temp\\f.txt'), path.posix.isAbsolute('a/b'), path.matchesGlob?.('src/a.js', 'src/*.js'));
console.log(util.format('%s has %d items: %j %%', 'cart', 3, { a: 1 }), util.inspect({ deep: { er: { est: { x: 1 } } } }, { depth: 1, compact: true }));
console.log(util.types.isPromise(Promise.resolve()), util.isDeepStrictEqual({ a: [1] }, { a: [1] }), util.styleText('red', 'x', { validateStream: false }).length, os.EOL === '\n');
