require('dotenv').config({ quiet: true, path: 'app.env' });
const ms = require('ms');

const required = ['APP_NAME', 'CACHE_TTL', 'API_URL'];
const missing = required.filter((k) => !process.env[k]);
if (missing.length) {
  console.error('Missing settings: ' + missing.join(', '));
  process.exit(1);
}

const settings = {
  name: process.env.APP_NAME,
  greeting: process.env.GREETING,
  apiUrl: new URL(process.env.API_URL),
  cacheTtl: ms(process.env.CACHE_TTL),
  sessionTtl: ms(process.env.SESSION_TTL || '1h'),
  flags: (process.env.FLAGS || '').split(',').map((s) => s.trim()).filter(Boolean),
  debug: process.env.DEBUG_MODE === 'yes',
};

console.log(`${settings.name} starting`);
console.log(settings.greeting);
console.log('host:', settings.apiUrl.host, 'path:', settings.apiUrl.pathname);
console.log('cache for', settings.cacheTtl, 'ms =', ms(settings.cacheTtl, { long: true }));
console.log('session for', ms(settings.sessionTtl));
console.log('flags:', settings.flags);
console.log('debug:', settings.debug);
console.log('region (from the real environment wins):', process.env.REGION);
