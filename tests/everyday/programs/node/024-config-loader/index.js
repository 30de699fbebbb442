'use strict';
const loadConfig = require('./src/load');
const { flatten } = require('./src/util');

const config = loadConfig({ env: process.env, prefix: 'SHOP_' });

for (const [key, { value, from }] of Object.entries(flatten(config))) {
  const shown = /password|secret/i.test(key) ? '*'.repeat(String(value).length) : JSON.stringify(value);
  console.log(`${key.padEnd(20)} ${shown.padEnd(24)} (${from})`);
}
