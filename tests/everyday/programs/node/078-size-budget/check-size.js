#!/usr/bin/env node
const fs = require('fs');
const path = require('path');
const { gzipSync } = require('zlib');

const config = JSON.parse(fs.readFileSync(path.join(__dirname, 'budget.json'), 'utf8'));

function parseSize(s) {
  const m = /^([\d.]+)\s*(b|kb|mb)$/i.exec(s);
  if (!m) throw new Error(`bad size in budget.json: ${s}`);
  return Math.round(parseFloat(m[1]) * { b: 1, kb: 1024, mb: 1024 * 1024 }[m[2].toLowerCase()]);
}

let over = 0;
for (const { file, max, gzip = false } of config.files) {
  const full = path.join(__dirname, config.dir, file);
  if (!fs.existsSync(full)) {
    console.log(`?  ${file}: missing`);
    over++;
    continue;
  }
  const data = fs.readFileSync(full);
  const size = gzip ? gzipSync(data).length : data.length;
  const limit = parseSize(max);
  const ok = size <= limit;
  if (!ok) over++;
  const bar = '#'.repeat(Math.min(20, Math.round((size / limit) * 20))).padEnd(20, '.');
  // compressed sizes may change with the zlib version, print only the verdict
  console.log(`${ok ? 'OK' : '!!'} ${file.padEnd(12)} ${gzip ? 'gzip'.padEnd(20) : bar} ${gzip ? '' : size + ' of '}${limit} bytes`);
}

if (over) {
  console.error(`${over} file(s) over budget`);
  process.exit(1);
}
console.log('all within budget');
