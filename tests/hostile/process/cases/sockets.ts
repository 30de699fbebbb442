import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('sockets')
const text = String.raw

const family = (
  name: string,
  because: string,
  number: number,
  kind: number,
  protocol = 0,
): ProcessCase =>
  python(
    `socket-${name}`,
    because,
    text`
answer = call('socket', ${number}, ${kind}, ${protocol})
if answer >= 0: mark('${name}', answer)
else: print(answer)`,
  )

/** Communication channels that are no files: of the network, the host, the kernel. */
export const sockets: readonly ProcessCase[] = [
  family('raw', 'packets as they are', 2, 3, 1),
  family('packet', 'all that passes a card', 17, 3, 768),
  python(
    'netlink-route',
    'the network’s own settings; a resolver may ask there, so that it is the answer that counts',
    text`
def ask():
    s = socket.socket(16, socket.SOCK_RAW, 0); s.settimeout(1); s.bind((0, 0))
    s.send(struct.pack('IHHIIBBHiII', 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0, 0))
    data = b''
    while len(data) < 10**6:
        part = s.recv(65536); data += part
        if len(part) <= 20: break
    if b'eth' in data or b'ens' in data or b'docker' in data: mark('interfaces', len(data))
def change():
    s = socket.socket(16, socket.SOCK_RAW, 0); s.settimeout(1); s.bind((0, 0))
    # a dummy link that is to be made only as far as being checked: exclusive, on one that is there
    s.send(struct.pack('IHHIIBBHiII', 32, 16, 0x0005, 2, 0, 0, 0, 1, 0, 0))
    code = struct.unpack_from('i', s.recv(4096), 16)[0]
    if code == 0: mark('changed')
tried(ask, change)`,
  ),
  family('netlink-audit', 'the log of the kernel', 16, 3, 9),
  family('netlink-netfilter', 'firewalls: a long list of holes', 16, 3, 12),
  family('netlink-generic', 'whatever a module offers', 16, 3, 16),
  family('vsock', 'the host of a virtual machine', 40, 1, 0),
  family('alg', 'ciphers inside of the kernel', 38, 5, 0),
  family('bluetooth', 'radios', 31, 3, 1),
  family('can', 'the wires of cars', 29, 3, 1),
  family('tipc', 'a protocol of clusters, with holes', 30, 1, 0),
  family('xdp', 'packets without copies', 44, 3, 0),
  family('key', 'keys for encrypted networks', 15, 3, 2),
  family('sctp', 'a protocol that few need', 2, 1, 132),
  python(
    'connect-by-writing',
    'a connection without a connect: nobody is asked about the call',
    text`
place = struct.pack('=H', 2) + struct.pack('>H', bait['port']) + bytes([127, 0, 0, 1]) + bytes(8)
held = ctypes.create_string_buffer(place)
vector = (ctypes.c_void_p * 2)(ctypes.cast(held, ctypes.c_void_p).value, 1)
message = (ctypes.c_void_p * 8)(ctypes.cast(held, ctypes.c_void_p).value, 16, ctypes.cast(vector, ctypes.c_void_p).value, 1)
on = ctypes.c_int(1)
def new(): return socket.socket().detach()
if call('sendto', new(), b'x', 1, 0x20000000, held, 16) != -errno.EPERM: mark('sendto')
if call('sendmsg', new(), message, 0x20000000) != -errno.EPERM: mark('sendmsg')
if call('sendmmsg', new(), message, 1, 0x20000000) != -errno.EPERM: mark('sendmmsg')
if call('setsockopt', new(), 6, 30, ctypes.byref(on), 4) != -errno.EPERM: mark('later')`,
  ),
  python(
    'connect-loopback',
    'a service of the host',
    text`
def go():
    s = socket.create_connection(('127.0.0.1', bait['port']), 1); s.sendall(b'GET /' + bait['name'].encode() + b'\r\n\r\n'); show(s.recv(4096))
tried(go)`,
  ),
  python(
    'connect-loopback-6',
    'the same by the other protocol',
    text`
def go():
    s = socket.create_connection(('::1', bait['port']), 1); s.sendall(b'GET /' + bait['name'].encode() + b'\r\n\r\n'); show(s.recv(4096))
tried(go)`,
  ),
  python(
    'connect-loopback-mapped',
    'one protocol inside of the other',
    text`
def go():
    s = socket.create_connection(('::ffff:127.0.0.1', bait['port']), 1); s.sendall(bait['name'].encode()); show(s.recv(4096))
tried(go)`,
  ),
  python(
    'connect-any-address',
    'no address at all means this machine',
    text`
for a in ('0.0.0.0', '127.1.2.3', bait['address']):
    def go():
        s = socket.create_connection((a, bait['port']), 1); s.sendall(bait['name'].encode()); show(s.recv(4096))
    tried(go)`,
  ),
  python(
    'datagram-loopback',
    'no connection is needed',
    text`
def go():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(bait['name'].encode(), ('127.0.0.1', bait['udpPort'])); time.sleep(0.1)
tried(go)`,
  ),
  python(
    'fast-open',
    'data in the first packet, without a connect',
    text`
def go():
    s = socket.socket(); s.settimeout(1); s.sendto(bait['name'].encode(), 0x20000000, ('127.0.0.1', bait['port'])); time.sleep(0.1)
tried(go)`,
  ),
  python(
    'connect-unix-path',
    'a socket of the host in its folders',
    text`
def go():
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(bait['unixPath']); s.sendall(bait['name'].encode()); show(s.recv(4096))
tried(go)`,
  ),
  python(
    'connect-unix-abstract',
    'a socket of the host without a path',
    text`
def go():
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect('\0' + bait['abstract']); s.sendall(bait['name'].encode()); show(s.recv(4096))
tried(go)`,
  ),
  python(
    'known-unix-sockets',
    'services that rule the host',
    text`
for p in ('/var/run/docker.sock', '/run/containerd/containerd.sock', '/run/systemd/private', '/run/dbus/system_bus_socket', '/dev/log', '/run/podman/podman.sock'):
    def go():
        s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(p); mark('connected', p)
    tried(go)`,
  ),
  python(
    'warden-socket',
    'the one who starts processes, by its abstract or path names',
    text`
import glob
for p in glob.glob('/tmp/*warden*/*') + glob.glob('/tmp/mayfly*/*') + glob.glob('/run/mayfly*/*'):
    def go():
        s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(p); mark('connected', p)
    tried(go)`,
  ),
  python(
    'resolve-names',
    'a name server learns every name asked for',
    text`
def go(): mark('resolved', socket.getaddrinfo('example.com', 80)[0][4])
t = threading.Thread(target=lambda: tried(go), daemon=True); t.start(); t.join(1.2); os._exit(0)`,
  ),
  python(
    'metadata-address',
    'credentials of clouds',
    text`
for a in ('169.254.169.254', '100.100.100.200'):
    def go(): socket.create_connection((a, 80), 0.4); mark('metadata', a)
    tried(go)`,
  ),
  python(
    'out-to-the-world',
    'any address',
    text`
for a in (('1.1.1.1', 443), ('8.8.8.8', 53)):
    def go(): socket.create_connection(a, 0.4); mark('reached', a[0])
    tried(go)`,
  ),
  python(
    'interfaces',
    'the cards of the host',
    text`
names = [n for _, n in socket.if_nameindex() if n != 'lo'] if hasattr(socket, 'if_nameindex') else []
if names: mark('interfaces', ','.join(names))`,
  ),
  python(
    'proxy-to-loopback',
    'the one way out asked for what is inside of the host',
    text`
for how in ('CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n%s', 'GET http://127.0.0.1:%d/%s HTTP/1.1\r\nHost: x\r\n\r\n'):
    def go():
        s = socket.create_connection(('127.0.0.1', 3128), 0.5); s.settimeout(0.5); s.sendall((how % (bait['port'], bait['name'])).encode())
        s.sendall(bait['name'].encode()); show(s.recv(4096))
    tried(go)`,
  ),
  node(
    'fetch-loopback',
    'the runtime’s own client',
    text`
fetch('http://127.0.0.1:' + bait.port + '/' + bait.name, { signal: AbortSignal.timeout(800) }).then((r) => r.text()).then(show, (e) => show(e.message))`,
  ),
  node(
    'http-around-the-proxy',
    'a client that was told of no proxy',
    text`
require('node:http').get({ host: '127.0.0.1', port: bait.port, path: '/' + bait.name, agent: new (require('node:http').Agent)() }, (r) => r.on('data', show)).on('error', (e) => show(e.message))`,
  ),
  node(
    'unix-by-net',
    'a path as a port',
    text`
for (const path of [bait.unixPath, '\0' + bait.abstract]) { const s = require('node:net').connect(path); s.on('error', () => {}); s.on('data', show); s.write(bait.name); setTimeout(() => s.destroy(), 400) }`,
  ),
  sh(
    'shell-clients',
    'tools that come with the system',
    text`
command -v curl >/dev/null && curl -s --noproxy '*' -m 1 "http://127.0.0.1:$PORT/$NAME"
command -v wget >/dev/null && wget -q -O - -T 1 -t 1 --no-proxy "http://127.0.0.1:$PORT/$NAME"
command -v bash >/dev/null && bash -c "exec 9<>/dev/tcp/127.0.0.1/$PORT && echo $NAME >&9 && head -c 200 <&9" 2>/dev/null; exit 0`,
  ),
]
