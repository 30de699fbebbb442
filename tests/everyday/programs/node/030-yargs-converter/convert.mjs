#!/usr/bin/env node
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';

const LENGTH = { mm: 0.001, cm: 0.01, m: 1, km: 1000, in: 0.0254, ft: 0.3048, mi: 1609.344 };
const toK = { c: (v) => v + 273.15, f: (v) => (v + 459.67) * (5 / 9), k: (v) => v };
const fromK = { c: (k) => k - 273.15, f: (k) => k * 1.8 - 459.67, k: (k) => k };

const digits = (v, n) => Number(v.toFixed(n)).toString();

await yargs(hideBin(process.argv))
  .scriptName('convert')
  .usage('$0 <cmd> [args]')
  .option('digits', { alias: 'd', type: 'number', default: 2, describe: 'digits after the point' })
  .command(
    'length <values..>',
    'convert lengths',
    (y) =>
      y
        .positional('values', { type: 'number' })
        .option('from', { choices: Object.keys(LENGTH), demandOption: true })
        .option('to', { choices: Object.keys(LENGTH), demandOption: true, array: true }),
    (argv) => {
      for (const v of argv.values) {
        const out = argv.to.map((u) => `${digits((v * LENGTH[argv.from]) / LENGTH[u], argv.digits)} ${u}`);
        console.log(`${v} ${argv.from} = ${out.join(' = ')}`);
      }
    }
  )
  .command('temp <value> <from> <to>', 'convert a temperature', {}, (argv) => {
    const k = toK[argv.from](Number(argv.value));
    console.log(`${argv.value}°${argv.from.toUpperCase()} = ${digits(fromK[argv.to](k), argv.digits)}°${argv.to.toUpperCase()}`);
  })
  .demandCommand(1)
  .strict()
  .parse();
