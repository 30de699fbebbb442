import http from 'http';
import axios from 'axios';

let attempts = 0;
const server = http.createServer((req, res) => {
  if (req.url.startsWith('/flaky')) {
    attempts += 1;
    if (attempts < 3) {
      res.writeHead(503, { 'Content-Type': 'text/plain' });
      return res.end('busy');
    }
  }
  if (req.url === '/missing') {
    res.writeHead(404).end();
    return;
  }
  let body = '';
  req.on('data', (c) => (body += c));
  req.on('end', () => {
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ method: req.method, url: req.url, apiKey: req.headers['x-api-key'], body: body || null }));
  });
});

await new Promise((r) => server.listen(0, '127.0.0.1', r));

const api = axios.create({
  baseURL: `http://127.0.0.1:${server.address().port}`,
  timeout: 2000,
  proxy: false,
  headers: { 'X-Api-Key': 'demo' },
});

api.interceptors.response.use(undefined, async (error) => {
  const { config, response } = error;
  config.retries ??= 0;
  if (response?.status === 503 && config.retries < 5) {
    config.retries++;
    console.log(`  got 503, retry ${config.retries}`);
    await new Promise((r) => setTimeout(r, 20 * config.retries));
    return api(config);
  }
  throw error;
});

try {
  console.log('GET /flaky');
  const { data, status } = await api.get('/flaky', { params: { page: 2, q: 'red shoes' } });
  console.log(' ', status, data);

  console.log('POST /items');
  const created = await api.post('/items', { name: 'Teapot', qty: 2 });
  console.log(' ', created.data);

  console.log('GET /missing');
  await api.get('/missing');
} catch (err) {
  if (axios.isAxiosError(err)) console.log('  failed:', err.message);
  else throw err;
} finally {
  server.close();
}
