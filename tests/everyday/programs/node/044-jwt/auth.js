const jwt = require('jsonwebtoken');
const { generateKeyPairSync } = require('crypto');

const SECRET = 'only-for-this-demo';
const NOW = 1_700_000_000; // fixed clock

function login(user) {
  return jwt.sign({ sub: user.id, roles: user.roles, iat: NOW }, SECRET, { expiresIn: '15m', issuer: 'demo', audience: 'web' });
}

function check(token, at, opts = {}) {
  try {
    const claims = jwt.verify(token, SECRET, { clockTimestamp: at, issuer: 'demo', audience: 'web', ...opts });
    return `ok sub=${claims.sub} roles=${claims.roles}`;
  } catch (err) {
    return `${err.name}: ${err.message}`;
  }
}

const token = login({ id: 'u-17', roles: ['reader', 'writer'] });
const [header, payload] = token.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')));
console.log('header ', header);
console.log('payload', payload);
console.log('token  ', token);

console.log('now          ', check(token, NOW + 10));
console.log('after an hour', check(token, NOW + 3600));
console.log('wrong issuer ', check(token, NOW, { issuer: 'other' }));
console.log('tampered     ', check(token.replace(/\.[^.]+\./, '.' + Buffer.from('{"sub":"admin"}').toString('base64url') + '.'), NOW));
console.log('garbage      ', check('abc', NOW));
console.log('none alg     ', check(jwt.sign({ sub: 'x' }, null, { algorithm: 'none' }), NOW));

// asymmetric: sign with the private key, verify with the public one
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const es = jwt.sign({ hello: 'world' }, privateKey, { algorithm: 'ES256', noTimestamp: true });
console.log('ES256        ', jwt.verify(es, publicKey, { algorithms: ['ES256'] }));
