import chalk, { Chalk } from 'chalk';
import Table from 'cli-table3';
import results from './results.json' with { type: 'json' };

const c = new Chalk({ level: process.env.FORCE_COLOR === undefined ? chalk.level : Number(process.env.FORCE_COLOR) });

const symbols = { pass: c.green('✓'), fail: c.red('✗'), skip: c.yellow('-') };

for (const suite of results) {
  console.log(c.bold.underline(suite.name));
  for (const t of suite.tests) {
    console.log(`  ${symbols[t.status]} ${t.status === 'skip' ? c.dim(t.title) : t.title}`);
    if (t.error) console.log(c.red(`      ${t.error}`));
  }
}

const table = new Table({ head: ['suite', 'pass', 'fail', 'skip'], style: { head: ['cyan'], border: [] }, colAligns: ['left', 'right', 'right', 'right'] });
const count = (s, st) => s.tests.filter((t) => t.status === st).length;
for (const s of results) table.push([s.name, count(s, 'pass'), count(s, 'fail') ? c.bgRed.white(count(s, 'fail')) : 0, count(s, 'skip')]);
console.log(table.toString());

const failed = results.flatMap((s) => s.tests).filter((t) => t.status === 'fail').length;
console.log(failed ? c.hex('#ff8800').bold(`${failed} failing`) : c.green('all good'));
process.exit(failed > 0 ? 1 : 0);
