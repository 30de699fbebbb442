const ROWS = 10, COLS = 24, GENERATIONS = 10;

const pattern = `
.O......................
..O.......OOO...........
OOO.....................
........................
....................OO..
.....OO.............OO..
.....OO.................
........................
.............O.O........
..............O.........
`.trim().split('\n');

let grid = pattern.map((line) => Array.from(line, (c) => c === 'O'));

const neighbours = (g, r, c) => {
  let n = 0;
  for (let dr = -1; dr <= 1; dr++)
    for (let dc = -1; dc <= 1; dc++)
      if ((dr || dc) && g[(r + dr + ROWS) % ROWS][(c + dc + COLS) % COLS]) n++;
  return n;
};

const step = (g) => g.map((row, r) => row.map((alive, c) => {
  const n = neighbours(g, r, c);
  return n === 3 || (alive && n === 2);
}));

const draw = (g) => g.map((row) => row.map((x) => (x ? '██' : '· ')).join('').trimEnd()).join('\n');

const seen = new Map();
for (let gen = 0; gen <= GENERATIONS; gen++) {
  const alive = grid.flat().filter(Boolean).length;
  if (gen % 5 === 0) console.log(`Generation ${gen} (${alive} alive)\n${draw(grid)}\n`);
  const key = grid.map((r) => r.map(Number).join('')).join('/');
  if (seen.has(key)) {
    console.log(`cycle: generation ${gen} equals ${seen.get(key)}`);
    break;
  }
  seen.set(key, gen);
  grid = step(grid);
}
