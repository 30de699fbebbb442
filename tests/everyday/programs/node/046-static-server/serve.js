const http = require('http');
const fs = require('fs');
const path = require('path');
const mime = require('mime-types');
const qs = require('qs');

const ROOT = path.join(__dirname, 'public');

const server = http.createServer((req, res) => {
  const [pathname, query] = req.url.split('?');
  if (pathname === '/echo') {
    res.setHeader('content-type', mime.contentType('json'));
    return res.end(JSON.stringify(qs.parse(query)));
  }

  const file = path.join(ROOT, decodeURIComponent(pathname.endsWith('/') ? pathname + 'index.html' : pathname));
  if (!file.startsWith(ROOT + path.sep)) {
    res.statusCode = 403;
    return res.end('Forbidden');
  }
  fs.stat(file, (err, st) => {
    if (err || !st.isFile()) {
      res.statusCode = 404;
      return res.end('Not found');
    }
    res.setHeader('content-type', mime.contentType(path.extname(file)) || 'application/octet-stream');
    res.setHeader('content-length', st.size);
    if (req.method === 'HEAD') return res.end();
    fs.createReadStream(file).pipe(res);
  });
});

server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address();
  const request = (method, p) =>
    new Promise((resolve, reject) => {
      http.request({ port, host: '127.0.0.1', method, path: p, agent: false }, (res) => {
        let body = '';
        res.setEncoding('utf8').on('data', (d) => (body += d)).on('end', () => resolve({ status: res.statusCode, type: res.headers['content-type'], length: res.headers['content-length'], body }));
      }).on('error', reject).end();
    });

  const query = qs.stringify({ filter: { size: ['s', 'm'], color: 'dark blue' }, page: 2 });
  console.log(query);
  for (const [m, p] of [['GET', '/'], ['GET', '/style.css'], ['HEAD', '/img/dot.svg'], ['GET', '/data.bin'], ['GET', '/../serve.js'], ['GET', '/nope'], ['GET', '/echo?' + query]]) {
    const r = await request(m, p);
    console.log(`${m} ${p.slice(0, 20)} -> ${r.status} ${r.type ?? '-'} ${r.length ?? '-'} ${JSON.stringify(r.body)}`);
  }
  server.close();
});
