const net = require('net');
const { once } = require('events');

const clients = new Map();

function broadcast(from, text) {
  for (const [name, socket] of clients) if (name !== from) socket.write(text + '\n');
}

const server = net.createServer((socket) => {
  let name = null;
  let buffered = '';
  socket.setEncoding('utf8');
  socket.on('data', (data) => {
    buffered += data;
    let nl;
    while ((nl = buffered.indexOf('\n')) >= 0) {
      onLine(buffered.slice(0, nl).trim());
      buffered = buffered.slice(nl + 1);
    }
  });
  socket.on('close', () => {
    clients.delete(name);
    broadcast(null, `* ${name} left`);
    if (clients.size === 0) server.close();
  });

  function onLine(line) {
    if (!name) {
      name = line;
      clients.set(name, socket);
      socket.write(`* welcome ${name}, ${clients.size} here\n`);
      broadcast(name, `* ${name} joined`);
    } else if (line === '/quit') {
      socket.end('* bye\n');
    } else if (line.startsWith('/shout ')) {
      broadcast(null, `<${name}> ${line.slice(7).toUpperCase()}`);
    } else {
      broadcast(name, `<${name}> ${line}`);
    }
  }
});

class Client {
  lines = [];
  constructor(port) {
    this.socket = net.connect(port, '127.0.0.1').setEncoding('utf8');
    this.rest = '';
    this.socket.on('data', (d) => {
      const parts = (this.rest + d).split('\n');
      this.rest = parts.pop();
      this.lines.push(...parts);
      this.socket.emit('lines');
    });
  }
  say(text) {
    this.socket.write(text + '\n');
  }
  async expect(pattern) {
    while (!this.lines.some((l) => pattern.test(l))) await once(this.socket, 'lines');
  }
}

async function main() {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();

  const ann = new Client(port);
  ann.say('ann');
  await ann.expect(/welcome/);
  const bob = new Client(port);
  bob.say('bob');
  await bob.expect(/welcome/);
  await ann.expect(/bob joined/);

  ann.say('hello there');
  await bob.expect(/hello there/);
  bob.say('/shout hi ann');
  await ann.expect(/HI ANN/);
  await bob.expect(/HI ANN/);
  bob.say('/quit');
  await ann.expect(/bob left/);
  ann.say('/quit');
  await once(server, 'close');

  console.log('ann saw:', ann.lines);
  console.log('bob saw:', bob.lines);
}

main();
