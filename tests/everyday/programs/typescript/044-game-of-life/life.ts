type Cell = 0 | 1;
type Grid = Cell[][];

const seed = `
..........
...#......
....#.....
..###.....
..........
.......#..
.......#..
.......#..
`;

let grid: Grid = seed.trim().split("\n").map((line) => [...line].map((c) => (c === "#" ? 1 : 0)));
const height = grid.length;
const width = grid[0].length;

function neighbours(g: Grid, y: number, x: number): number {
  let n = 0;
  for (let dy = -1; dy <= 1; dy++)
    for (let dx = -1; dx <= 1; dx++)
      if (dy || dx) n += g[(y + dy + height) % height][(x + dx + width) % width];
  return n;
}

function step(g: Grid): Grid {
  return g.map((row, y) =>
    row.map((cell, x): Cell => {
      const n = neighbours(g, y, x);
      return n === 3 || (cell === 1 && n === 2) ? 1 : 0;
    })
  );
}

function print(g: Grid, gen: number) {
  console.log(`gen ${gen}, alive ${g.flat().reduce((a: number, b) => a + b, 0)}`);
  for (const row of g) console.log(row.map((c) => (c ? "🟩" : "⬛")).join(""));
}

for (let gen = 0; gen <= 12; gen++) {
  if (gen % 4 === 0) print(grid, gen);
  grid = step(grid);
}
