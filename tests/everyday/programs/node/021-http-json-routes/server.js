const http = require('http');

const books = [
  { id: 1, title: 'The Long Road', year: 1994 },
  { id: 2, title: 'Salt and Stone', year: 2011 },
];

function readBody(req) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    req.on('data', (c) => chunks.push(c));
    req.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString() || 'null'));
      } catch (e) {
        reject(Object.assign(e, { statusCode: 400 }));
      }
    });
  });
}

const routes = [
  ['GET', /^\/books$/, async (req, m, url) => {
    const since = Number(url.searchParams.get('since') || 0);
    return [200, books.filter((b) => b.year >= since)];
  }],
  ['GET', /^\/books\/(\d+)$/, async (req, [, id]) => {
    const b = books.find((x) => x.id === +id);
    return b ? [200, b] : [404, { error: 'no such book' }];
  }],
  ['POST', /^\/books$/, async (req) => {
    const data = await readBody(req);
    const book = { id: books.length + 1, ...data };
    books.push(book);
    return [201, book];
  }],
];

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://localhost');
  let status = 404, body = { error: 'not found' };
  try {
    for (const [method, re, handler] of routes) {
      const m = re.exec(url.pathname);
      if (m && method === req.method) {
        [status, body] = await handler(req, m, url);
        break;
      }
    }
  } catch (err) {
    status = err.statusCode ?? 500;
    body = { error: err.name };
  }
  res.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', Connection: 'close' });
  res.end(JSON.stringify(body));
});

server.listen(0, async () => {
  const { port } = server.address();
  console.log('server listening');
  const get = async (p, init) => {
    const r = await fetch(`http://localhost:${port}${p}`, init);
    console.log(init?.method ?? 'GET', p, '=>', r.status, await r.json());
  };
  await get('/books');
  await get('/books?since=2000');
  await get('/books/2');
  await get('/books/99');
  await get('/books', { method: 'POST', body: JSON.stringify({ title: 'Zwölf Boxkämpfer', year: 2020 }) });
  await get('/books', { method: 'POST', body: '{oops' });
  await get('/nowhere');
  server.close();
});
server.on('close', () => console.log('bye'));
