const { tokenize } = require('./lexer');
const { Parser } = require('./parser');
const { evaluate } = require('./interpreter');

const env = new Map([['pi', Math.PI], ['e', Math.E]]);
const source = require('fs').readFileSync(process.argv[2] ?? 'sums.txt', 'utf8');

source.split('\n').forEach((line, i) => {
  line = line.replace(/#.*/, '').trim();
  if (!line) return;
  try {
    const ast = new Parser(tokenize(line)).parse();
    const value = evaluate(ast, env);
    console.log(`${line}  =>  ${Number.isInteger(value) ? value : +value.toFixed(6)}`);
  } catch (err) {
    console.log(`${line}  =>  line ${i + 1}: ${err.message}`);
    if (err.pos !== undefined) console.log(' '.repeat(err.pos) + '^');
  }
});
