import { readFile } from 'node:fs/promises';
import { SignupSchema, formatIssues } from './schema.js';

const raw = JSON.parse(await readFile(new URL('./signups.json', import.meta.url), 'utf8'));

const good = [];
let bad = 0;

for (const [i, entry] of raw.entries()) {
  const result = SignupSchema.safeParse(entry);
  if (result.success) {
    good.push(result.data);
    console.log(`#${i} ok    ${result.data.email}`);
  } else {
    bad++;
    console.log(`#${i} BAD`);
    for (const line of formatIssues(result.error)) console.log(`         - ${line}`);
  }
}

console.log();
console.log(`${good.length} accepted, ${bad} rejected`);
console.log(good);

if (bad > good.length) process.exitCode = 1;
