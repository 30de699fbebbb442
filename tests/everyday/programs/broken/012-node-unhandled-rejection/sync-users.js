const http = require('http');

// stands in for the real API
const server = http.createServer((req, res) => {
  res.setHeader('content-type', 'application/json');
  if (req.url === '/users') res.end(JSON.stringify({ data: { users: [{ id: 1, name: 'kim' }] } }));
  else res.writeHead(404).end('{"error":"gone"}');
});

function createClient(base) {
  return {
    async getUsers() {
      const res = await fetch(`${base}/users`);
      const body = await res.json();
      return body.data.users;
    },
  };
}

async function main() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = createClient(`http://127.0.0.1:${server.address().port}`);
  console.log('syncing users...');
  const users = await client.getUsers();
  console.log('users:', users.map((u) => u.name).join(', '));
  for (const user of users) {
    await client.updateUser(user.id, { synced: true });
  }
  server.close();
}

main();
