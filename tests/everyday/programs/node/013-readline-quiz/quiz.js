const readline = require('node:readline');

const questions = [
  { q: 'What is the capital of Portugal?', a: ['lisbon'] },
  { q: '7 x 8 = ?', a: ['56', 'fifty-six'] },
  { q: 'Which planet is known as the red planet?', a: ['mars'] },
  { q: 'In which year did people first land on the Moon?', a: ['1969'] },
];

const rl = readline.createInterface({ input: process.stdin, output: process.stdout, terminal: false });
const lines = rl[Symbol.asyncIterator]();

async function ask(prompt) {
  process.stdout.write(prompt + ' ');
  const { value, done } = await lines.next();
  if (done) return null;
  console.log(`> ${value}`);
  return value.trim();
}

async function main() {
  const name = (await ask("What's your name?")) || 'stranger';
  console.log(`Welcome, ${name}! ${questions.length} questions for you.\n`);

  let score = 0;
  for (let i = 0; i < questions.length; i++) {
    const { q, a } = questions[i];
    let answer = await ask(`${i + 1}) ${q}`);
    if (answer === null) {
      console.log('\n(no more input)');
      break;
    }
    if (a.includes(answer.toLowerCase())) {
      score++;
      console.log('   ✅ correct');
    } else {
      console.log(`   ❌ no, it is ${a[0]}`);
    }
  }
  console.log(`\n${name}, you scored ${score}/${questions.length} ${'⭐'.repeat(score)}`);
  rl.close();
}

main();
