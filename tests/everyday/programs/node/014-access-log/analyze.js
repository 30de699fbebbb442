#!/usr/bin/env node
'use strict';

const fs = require('fs');
const readline = require('readline');

const LINE = /^(?<ip>\S+) \S+ \S+ \[(?<time>[^\]]+)\] "(?<method>[A-Z]+) (?<url>\S+) HTTP\/[\d.]+" (?<status>\d{3}) (?<size>\d+|-)/;

async function analyze(file) {
  const stats = { total: 0, bad: 0, bytes: 0, status: {}, paths: new Map(), ips: new Map(), hours: new Array(24).fill(0) };
  const rl = readline.createInterface({ input: fs.createReadStream(file), crlfDelay: Infinity });

  for await (const line of rl) {
    if (!line.trim()) continue;
    stats.total++;
    const m = LINE.exec(line);
    if (!m) { stats.bad++; continue; }
    const { ip, time, url, status, size } = m.groups;
    stats.bytes += size === '-' ? 0 : Number(size);
    const cls = status[0] + 'xx';
    stats.status[cls] = (stats.status[cls] ?? 0) + 1;
    const p = url.split('?')[0];
    stats.paths.set(p, (stats.paths.get(p) ?? 0) + 1);
    stats.ips.set(ip, (stats.ips.get(ip) ?? 0) + 1);
    stats.hours[Number(time.split(':')[1])]++;
  }
  return stats;
}

const top = (map, n) => [...map].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, n);
const human = (n) => (n < 1024 ? `${n} B` : `${(n / 1024).toFixed(1)} KiB`);

(async () => {
  const s = await analyze('access.log');
  console.log(`${s.total} lines, ${s.bad} not understood, ${human(s.bytes)} sent`);
  console.log('Status:', Object.entries(s.status).sort().map(([k, v]) => `${k}=${v}`).join('  '));
  console.log('\nTop paths');
  top(s.paths, 4).forEach(([p, n]) => console.log(`  ${String(n).padStart(3)}  ${p}`));
  console.log('\nTop clients');
  top(s.ips, 3).forEach(([ip, n]) => console.log(`  ${String(n).padStart(3)}  ${ip}`));
  console.log('\nBy hour');
  s.hours.forEach((n, h) => n && console.log(`  ${String(h).padStart(2, '0')}h ${'#'.repeat(n)}`));
})();
