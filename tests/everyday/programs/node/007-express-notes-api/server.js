const createApp = require('./app');

const app = createApp();
const server = app.listen(0, '127.0.0.1', async () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  console.log('Notes API is up');

  async function call(method, path, body) {
    const res = await fetch(base + path, {
      method,
      headers: body ? { 'content-type': 'application/json' } : undefined,
      body: body && JSON.stringify(body),
    });
    const text = await res.text();
    console.log(`${method.padEnd(6)} ${path.padEnd(18)} -> ${res.status} ${text}`);
    return res;
  }

  try {
    await call('GET', '/health');
    await call('POST', '/notes', { title: 'Groceries', body: 'milk, eggs', tags: ['home'] });
    await call('POST', '/notes', { title: 'Retro', tags: ['work', 'team'] });
    await call('POST', '/notes', { body: 'no title' });
    await call('GET', '/notes?tag=work');
    await call('GET', '/notes/1');
    await call('DELETE', '/notes/1');
    await call('GET', '/notes/1');
    await call('PATCH', '/notes');
    console.log('requests handled:', app.locals.hits);
  } finally {
    server.close(() => console.log('closed'));
  }
});
