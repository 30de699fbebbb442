const fs = require('fs');
const path = require('path');

const STOP_WORDS = new Set(['the', 'a', 'an', 'and', 'of', 'to', 'in', 'it', 'was', 'is', 'on', 'at']);

function countWords(text) {
  const counts = {};
  const words = text.toLowerCase().match(/[a-z']+/g) || [];
  words.forEach((word) => {
    if (STOP_WORDS.has(word)) return;
    counts[word] = (counts[word] || 0) + 1;
  });
  return counts;
}

const file = process.argv[2] || path.join(__dirname, 'story.txt');
const topN = Number(process.argv[3] ?? 10);

const text = fs.readFileSync(file, 'utf8');
const counts = countWords(text);

const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));

console.log(`Top ${topN} words in ${path.basename(file)}`);
console.log('-'.repeat(30));
for (const [word, n] of sorted.slice(0, topN)) {
  console.log(word.padEnd(14) + String(n).padStart(4) + '  ' + '█'.repeat(n));
}
console.log('-'.repeat(30));
console.log('distinct:', sorted.length, ' total:', sorted.reduce((s, [, n]) => s + n, 0));
